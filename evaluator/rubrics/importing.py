"""Langfuse's own evaluators and evaluation rules become rubrics; what cannot be carried over is said.

A rule of Langfuse judges one observation by itself, at once, and knows nothing of its trace; a rubric judges a trace,
or observations of it, when it has finished. So a rule on observations of a type or name becomes a rubric of these, one
on roots a rubric of traces. What a rubric has no word for is a note, in the file and for whoever imports.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from evaluator.telemetry.logs import spelled_out
from judges import RubricSpec, without_variables

_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9]+")
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_LONGEST_NAME: Final = 35

_WHEN: Final = {
    "environment": "environment", "traceName": "trace_name", "tags": "tags", "traceTags": "tags",
    "userId": "user_id", "sessionId": "session_id", "release": "release", "version": "version",
}  # fmt: skip
"""Columns of filters that are conditions of `when`."""

_OF_OBSERVATIONS: Final = {"type": "type", "name": "name"}
_ROOT: Final = "parentObservationId"

_SOURCES: Final = {"input": "$.root.input", "output": "$.root.output", "metadata": "$.root.metadata"}
_TOOL_CALLS: Final = "$.observations[?@.type == 'TOOL']"

_GUESSES: Final = {
    "output": ("output", "answer", "response", "generation", "completion", "result"),
    "input": ("input", "question", "query", "prompt", "request"),
}


@dataclass(slots=True)
class Imported:
    """One evaluator: the rubric it becomes, as YAML; empty when it becomes none. `notes` say what is not as it was."""

    evaluator: str
    name: str
    text: str = ""
    notes: list[str] = field(default_factory=list)


def imported(evaluators: Iterable[Mapping[str, Any]], rules: Sequence[Mapping[str, Any]]) -> list[Imported]:
    """Return what each evaluator becomes.

    Args:
        evaluators: rows of `v2/evaluators`.
        rules: rows of `v2/evaluation-rules`.
    """
    found: list[Imported] = []
    for row in evaluators:
        own = [
            (rule, each)
            for rule in rules
            for each in rule.get("evaluatorAssignments") or ()
            if each.get("evaluatorId") == row.get("id")
        ]
        one = Imported(str(row.get("name")), _free(str(row.get("name")), {each.name for each in found}))
        found.append(one)
        if row.get("type") != "llm_as_judge":
            one.notes.append("it is code: write a rule (docs/rules.md), or keep it in Langfuse")
        else:
            _write(one, _rubric(row, own, one))
    return found


def _write(one: Imported, rubric: dict[str, Any]) -> None:
    try:
        RubricSpec.model_validate(rubric)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)[:3])
        one.notes.append(f"no rubric can be made of it: {said}")
        return
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.dump({**rubric, "criteria": LiteralScalarString(rubric["criteria"])}, out)
    # Names come from Langfuse: a line break in one would end the comment.
    notes = "".join(f"# * {spelled_out(note)}\n" for note in one.notes)
    one.text = f"# Imported from Langfuse. Not as it was there:\n{notes}{out.getvalue()}"


def _rubric(
    row: Mapping[str, Any], own: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], one: Imported
) -> dict[str, Any]:
    mapping = next((each["variableMapping"] for _, each in own if each.get("variableMapping")), None)
    if len({repr(each.get("variableMapping")) for _, each in own}) > 1:
        one.notes.append("its rules map variables differently: the mapping of the first rule that has one is used")
    inputs = _inputs(row, mapping or row.get("variableMapping"), one)
    if row.get("status") == "paused":
        one.notes.append(f"it is paused in Langfuse: {row.get('pausedReason') or 'no reason is told'}")
    one.notes.append("enabled: false, so that it does not judge beside Langfuse; switch it on when that one is off")
    return {
        "name": one.name,
        "description": str(row.get("description") or f"{one.evaluator}, version {row.get('version')} in Langfuse."),
        "enabled": False,
        **_which(own, one),
        "inputs": inputs,
        "criteria": _criteria(row, inputs, one),
        "score": _score(row.get("outputDefinition") or {}, one),
        **_judge(row.get("modelConfig"), one),
    }


def _which(own: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], one: Imported) -> dict[str, Any]:
    """Return target and sample of the rules of an evaluator."""
    lines: list[dict[str, Any]] = []
    observed: list[dict[str, Any]] = []
    for rule, _ in own:
        if not rule.get("enabled"):
            one.notes.append(f"rule {rule.get('name')!r} is off in Langfuse and left out")
            continue
        when, observe = _conditions(rule, one)
        observed.append(observe)
        lines.append({**({"when": when} if when else {}), "rate": float(rule.get("sampling", 1))})
    if not own:
        one.notes.append("no rule uses it in Langfuse: 5 % of all traces")
    kinds = [each for each in observed if each]
    if kinds and len(kinds) == len(observed) and all(each == kinds[0] for each in kinds):
        return {"target": "observation", "observe": kinds[0], "sample": lines}
    if kinds:
        one.notes.append("its rules look at different observations: it judges traces; split it where that is not meant")
    return {"sample": lines} if lines else {}


def _conditions(rule: Mapping[str, Any], one: Imported) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `when` and `observe` of a rule's filters."""
    when: dict[str, Any] = {}
    observe: dict[str, Any] = {}
    is_root = False
    for each in rule.get("filter") or ():
        column, operator, value = (each.get(key) for key in ("column", "operator", "value"))
        values = value if isinstance(value, list) else [value]
        if column == _ROOT and operator == "is null":
            is_root = True
        elif operator in {"any of", "="} and column in _WHEN and not each.get("key"):
            when[_WHEN[column]] = values
        elif operator in {"any of", "="} and column in _OF_OBSERVATIONS:
            observe[_OF_OBSERVATIONS[column]] = values
        else:
            key = f".{each['key']}" if each.get("key") else ""
            what = f"{column}{key} {operator} {value}".rstrip()
            one.notes.append(f"rule {rule.get('name')!r}: the filter {what!r} is not carried over")
    if not is_root and not observe:
        one.notes.append(f"rule {rule.get('name')!r} judges every observation; the rubric the root of each trace")
    return when, {} if is_root else observe


def _inputs(row: Mapping[str, Any], mapping: Any, one: Imported) -> dict[str, Any]:
    known = {each.get("variable"): each for each in mapping or () if isinstance(each, Mapping)}
    inputs: dict[str, Any] = {}
    for variable in row.get("variables") or ():
        path = _path(known[variable], variable, one) if variable in known else _guess(str(variable), one)
        if path:
            inputs[_label(str(variable))] = path
    return inputs


def _path(mapped: Mapping[str, Any], variable: str, one: Imported) -> str:
    source = str(mapped.get("source") or mapped.get("langfuseColumn") or "")
    base = _SOURCES.get(source) or (_TOOL_CALLS if source == "tool_calls" else "")
    name = mapped.get("objectName")
    if base and isinstance(name, str):
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        base = base.replace("$.root", f"$.observations[?@.name == '{quoted}']")
    if not base:
        one.notes.append(f"variable {variable!r} is filled from {source!r}, which no trace has: it is left out")
        return ""
    deeper = str(mapped.get("jsonPath") or "").strip()
    if deeper and not deeper.startswith("$"):
        one.notes.append(f"variable {variable!r}: the path {deeper!r} is not carried over")
        deeper = ""
    return base + deeper.removeprefix("$")


def _guess(variable: str, one: Imported) -> str:
    lowered = variable.lower()
    source = next((name for name, words in _GUESSES.items() if any(word in lowered for word in words)), "")
    if not source:
        one.notes.append(f"variable {variable!r} is filled from nothing in Langfuse: it is left out")
        return ""
    one.notes.append(f"variable {variable!r} has no mapping: taken from the root's {source}")
    return _SOURCES[source]


def _criteria(row: Mapping[str, Any], inputs: Mapping[str, Any], one: Imported) -> str:
    output = row.get("outputDefinition") or {}
    prompt = row.get("prompt")
    messages = prompt if isinstance(prompt, list) else [{"content": prompt}]
    parts = [str(each.get("content") or "") for each in messages if isinstance(each, Mapping)]
    parts += [str(output[key]) for key in ("scoreReasoningInstructions", "scoreValueInstructions") if output.get(key)]
    text = _PLACEHOLDER.sub(lambda found: f"{{{{{_label(found[1])}}}}}", "\n\n".join(parts))
    text = without_variables(text, inputs)
    if left := sorted(set(_PLACEHOLDER.findall(text))):
        one.notes.append(f"the criteria still name what is not shown: {', '.join(left)}")
    if re.search(r"(?i)\bjson\b|score\s*:", text):
        one.notes.append("the criteria ask for a form of answer: delete that, the judge has one")
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _score(output: Mapping[str, Any], one: Imported) -> dict[str, Any]:
    kind = output.get("dataType")
    if kind == "CATEGORICAL":
        several = {"several": True} if output.get("shouldAllowMultipleMatches") else {}
        return {"type": "categorical", "labels": list(output.get("categories") or ()), **several}
    if kind == "BOOLEAN":
        return {"type": "boolean"}
    low, high = output.get("minValue"), output.get("maxValue")
    if low is None or high is None:
        one.notes.append("its scale has no bounds in Langfuse: 0 to 1 is assumed where one is missing")
    return {"type": "numeric", "min": 0 if low is None else low, "max": 1 if high is None else high}


def _judge(config: Any, one: Imported) -> dict[str, Any]:
    if not isinstance(config, Mapping) or not config.get("model"):
        one.notes.append("it uses the project's default model in Langfuse: set judge.model, or ours is used")
        return {}
    if config.get("provider") != "openai":
        one.notes.append(f"its model is of {config.get('provider')!r}: say under models.entries where that is")
    return {"judge": {"model": str(config["model"])}}


def _label(variable: str) -> str:
    """Return a variable as the name of an input."""
    cleaned = re.sub(r"[^A-Za-z0-9 _-]", "_", variable).lstrip("_-0123456789 ")[:40]
    return cleaned or "input"


def _free(name: str, taken: set[str]) -> str:
    """Return a score's name that nobody has yet."""
    base = _NOT_IN_A_NAME.sub("-", name.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "imported"
    number = 2
    found = base
    while found in taken:
        found, number = f"{base}-{number}"[:_LONGEST_NAME], number + 1
    return found
