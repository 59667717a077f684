"""JSON Schema 2020-12 over values from strangers: no network, no backtracking, no endless references.

jsonschema searches `pattern` and `patternProperties` with Python's backtracking engine and would fetch remote
references; here patterns run on RE2, and a schema that needs anything from outside is refused when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from traces import BadPattern, Pattern

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DATA: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose contents are values, not schemas."""

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
        resource = DRAFT202012.create_resource(document)
        _refuse_what_is_unsafe(document, Registry().resolver_with_root(resource), "$")
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
        Draft202012Validator.check_schema(document)
    except SchemaError as error:
        place = "".join(f"[{part!r}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        raise BadSchema(f"not a JSON Schema (2020-12): ${place}: {error.message[:200]}") from error
    except RecursionError as error:
        raise BadSchema("the schema is nested too deeply") from error


def _refuse_what_is_unsafe(schema: Any, resolver: Any, where: str) -> None:
    """Walk a schema for patterns RE2 does not know and for references that lead outside or nowhere."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            _refuse_what_is_unsafe(item, resolver, f"{where}[{index}]")
    if not isinstance(schema, Mapping):
        return
    _check_reference(schema, resolver, where)
    _check_patterns(schema, where)
    for key, item in schema.items():
        if key not in _DATA:
            _refuse_what_is_unsafe(item, resolver, f"{where}.{key}")


def _check_reference(schema: Mapping[str, Any], resolver: Any, where: str) -> None:
    if where != "$" and isinstance(schema.get("$id"), str):
        raise BadSchema(f"{where}.$id: a schema inside the schema may not have its own $id")
    for key in ("$ref", "$dynamicRef"):
        target = schema.get(key)
        if not isinstance(target, str):
            continue
        try:
            if not target.startswith("#"):
                raise BadSchema(f"{where}.{key}: {target!r} leads outside; put it under $defs and say #/$defs/NAME")
            resolver.lookup(target)
        except Unresolvable as error:
            raise BadSchema(f"{where}.{key}: {target!r} leads nowhere") from error


def _check_patterns(schema: Mapping[str, Any], where: str) -> None:
    by_name = schema.get("patternProperties")
    if isinstance(by_name, Mapping) and "unevaluatedProperties" in schema:
        raise BadSchema(f"{where}: patternProperties beside unevaluatedProperties is not supported")
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
