"""JSON Schema 2020-12 over values from strangers: no network, no backtracking, no endless references.

jsonschema searches `pattern` and `patternProperties` with Python's backtracking engine, compares unique items each with
each, and would fetch remote references. Here patterns run on RE2, items are compared by hash, and a schema that needs
anything from outside is refused when it is read. What is left to the schema's author: alternatives that each descend
into the same recursive definition double the work with every level.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, FormatChecker, SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from traces import BadPattern, Pattern

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ONE: Final = (
    *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_SEVERAL: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
"""Keywords that hold a schema, a list of schemas, schemas by name. What other keywords hold is data."""

_NO_FORMATS: Final = FormatChecker(())
"""Patterns are checked by RE2: Python's engine knows less (`\\p{L}`) and more (look-arounds)."""

_TOO_DEEP: Final = "is nested too deeply to be checked"


class BadSchema(ValueError):
    """A document is not a JSON Schema we can use; the message says where and why."""


@lru_cache(maxsize=512)
def _pattern(text: str) -> Pattern:
    return Pattern.parse(text)


def _check_pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and _pattern(pattern).search(value) is None:
        yield ValidationError("does not match")


def _check_properties(
    validator: Any, properties: Mapping[str, Any], value: Any, _schema: Any
) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for key, schema in properties.items():
            if key in value:
                yield from _property(validator, value[key], schema, key)


def _check_pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, _schema: Any
) -> Iterator[ValidationError]:
    for pattern, schema in patterns.items() if isinstance(value, dict) else ():
        for key in value:
            if _pattern(pattern).search(key) is not None:
                yield from _property(validator, value[key], schema, key)


def _check_additional_properties(
    validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    patterns = [_pattern(text) for text in schema.get("patternProperties", ())]
    for key in value:
        if key not in schema.get("properties", {}) and all(p.search(key) is None for p in patterns):
            yield from _property(validator, value[key], wanted, key)


def _check_unique_items(_validator: Any, unique: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if unique and isinstance(value, list) and len({_identity(item) for item in value}) < len(value):
        yield ValidationError("repeats an item")


def _identity(value: Any) -> Hashable:
    """Return something equal for values that JSON Schema calls equal: 1 is 1.0 but not true."""
    if isinstance(value, dict):
        return "object", frozenset((key, _identity(item)) for key, item in value.items())
    if isinstance(value, list):
        return "array", tuple(map(_identity, value))
    return isinstance(value, bool), value


def _property(validator: Any, value: Any, schema: Any, key: str) -> Iterator[ValidationError]:
    """Check one property; jsonschema itself does not say which one a `false` forbids."""
    if schema is False:
        yield ValidationError("not allowed", path=[key], validator="false", validator_value=False)
    else:
        yield from validator.descend(value, schema, path=key)


_Validator: Final = extend(  # type: ignore[no-untyped-call]  # the stubs leave it untyped
    Draft202012Validator,
    {
        "pattern": _check_pattern,
        "properties": _check_properties,
        "patternProperties": _check_pattern_properties,
        "additionalProperties": _check_additional_properties,
        "uniqueItems": _check_unique_items,
    },
)


class Schema:
    """A JSON Schema ready to check values. Safe for many threads."""

    def __init__(self, document: Mapping[str, Any] | bool) -> None:
        """Take a schema as parsed JSON.

        Raises:
            BadSchema: it is not a JSON Schema 2020-12, or one that could stall, loop or reach out.
        """
        _refuse_what_is_no_schema(document)
        self._document = document
        _refuse_what_is_unsafe(document)
        self._validator = _Validator(document, registry=Registry())
        probes: tuple[Any, ...] = ({}, [], "", 0, None)
        for probe in probes:
            if self.problem(probe) == f"$ {_TOO_DEEP}":
                raise BadSchema("the schema refers to itself without end")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and other._document == self._document

    __hash__ = None  # type: ignore[assignment]  # a document is a dict: it has no hash either

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with `value` and where, in one line without its content; None when it fits."""
        try:
            errors = list(islice(self._validator.iter_errors(value), 2))
        except (RecursionError, OverflowError):
            return f"$ {_TOO_DEEP}"
        if not errors:
            return None
        return _said(errors[0]) + (", and more" if len(errors) > 1 else "")


def _refuse_what_is_no_schema(document: Mapping[str, Any] | bool) -> None:
    dialect = document.get("$schema", _DIALECT) if isinstance(document, Mapping) else _DIALECT
    if str(dialect).rstrip("#") != _DIALECT:
        raise BadSchema(f"$schema is {dialect!r}; only JSON Schema 2020-12 ({_DIALECT}) is supported")
    try:
        Draft202012Validator.check_schema(document, format_checker=_NO_FORMATS)
    except SchemaError as error:
        place = "".join(f"[{part!r}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        raise BadSchema(f"not a JSON Schema (2020-12): ${place}: {error.message[:200]}") from error
    except RecursionError as error:
        raise BadSchema("the schema is nested too deeply") from error


def _refuse_what_is_unsafe(document: Mapping[str, Any] | bool) -> None:
    """Look at every schema in the document for patterns RE2 does not know and references that lead out or nowhere."""
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(document))
    left: list[tuple[str, Any]] = [("$", document)]
    seen: dict[int, Any] = {}
    keywords: set[str] = set()
    while left:
        where, schema = left.pop()
        if not isinstance(schema, Mapping) or id(schema) in seen:
            continue
        seen[id(schema)] = schema
        keywords.update(schema)
        _check_patterns(schema, where)
        left.extend(_referred(schema, resolver, where))
        left.extend(_inside(schema, where))
    if {"patternProperties", "unevaluatedProperties"} <= keywords:
        raise BadSchema("patternProperties together with unevaluatedProperties is not supported")


def _inside(schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    for key in _ONE:
        yield f"{where}.{key}", schema.get(key)
    for key in _SEVERAL:
        yield from ((f"{where}.{key}[{index}]", item) for index, item in enumerate(schema.get(key, ())))
    for key in _NAMED:
        yield from ((f"{where}.{key}.{name}", item) for name, item in schema.get(key, {}).items())


def _referred(schema: Mapping[str, Any], resolver: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Return what a schema refers to, which may stand where no keyword expects a schema."""
    if where != "$" and "$id" in schema:
        raise BadSchema(f"{where}.$id: a schema inside the schema may not have its own $id")
    for key in ("$ref", "$dynamicRef"):
        target = schema.get(key)
        if target is None:
            continue
        if not target.startswith("#"):
            raise BadSchema(f"{where}.{key}: {target!r} leads outside; put it under $defs and say #/$defs/NAME")
        try:
            found = resolver.lookup(target).contents
            Draft202012Validator.check_schema(found, format_checker=_NO_FORMATS)
        except Unresolvable as error:
            raise BadSchema(f"{where}.{key}: {target!r} leads nowhere") from error
        except SchemaError as error:
            raise BadSchema(f"{where}.{key}: {target!r} does not lead to a JSON Schema") from error
        yield target, found


def _check_patterns(schema: Mapping[str, Any], where: str) -> None:
    by_name = schema.get("patternProperties")
    texts = [schema.get("pattern"), *(by_name if isinstance(by_name, Mapping) else ())]
    for text in texts:
        if isinstance(text, str):
            try:
                _pattern(text)
            except BadPattern as error:
                raise BadSchema(f"{where}: {error}") from error


def _said(error: ValidationError) -> str:
    keyword, wanted = str(error.validator), error.validator_value
    place = error.json_path
    if wanted is False or error.validator is None:
        return f"{place} is not allowed"
    if keyword in {"required", "dependentRequired"}:
        return f"{place}: {error.message}"
    if keyword == "type":
        return f"{place} is {_type_name(error.instance)}, expected {wanted}"
    return f"{place} breaks {keyword}: {str(wanted)[:80]}"


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
