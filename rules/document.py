"""The reference page of rule kinds, written from the classes themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from io import StringIO
from textwrap import dedent
from typing import Any, Final

from ruamel.yaml import YAML

from rules.base import Rule
from traces import json_text

_INTRODUCTION: Final = '''\
# Rules

*Generated from the classes in `rules/`; edit those.*

A rule is a check in code: it costs nothing, so it usually runs on every trace. Its definition in `config/rules.yaml` \
has a `name` (the name of the score), a `rule` (the kind, below), optionally `when`, `sample` and `description`, and \
the kind's own parameters. A BOOLEAN score is 1 when the check passed. The score's comment says what was found and \
where. A trace that a rule has nothing to say about (no such value, no cost recorded) gets no score, and is counted \
as skipped with the reason.

With `target: observation` and `observe: {type: TOOL}` a rule checks each such observation and gives each a score: it \
sees the observation as if it were a trace, and looks at its output where it would look at the answer \
([targets](targets.md)).

Values are chosen with JSONPath (RFC 9535) over the whole trace: `$.root.output` is the answer, \
`$.observations[?@.type == 'TOOL'].output` the results of all tools.

A list of phrases may stand in a file beside `rules.yaml`: `phrases: {file: competitors.txt}`, one phrase on each \
line, `#` begins a remark. Kinds that measure come in pairs: one gives the number as a NUMERIC score (`groundedness`), \
the other passes or fails at a limit (`min_groundedness`).

A kind of your own is a class in a Python file of the folder that `rules_path` names: a subclass of `rules.Rule` (or \
`rules.TextRule`) whose fields are its parameters and whose `check(trace)` answers `rules.passed(...)`, \
`rules.failed(...)`, `rules.measured(...)` or `traces.NotApplicable(...)`:

```python
from pydantic import Field

from rules import TextRule, failed, passed
from traces import Verdict


class MaxQuestions(TextRule):
    """The answer does not ask the user too many questions."""

    most: int = Field(default=2, ge=0, description="how many question marks are allowed")

    def check_text(self, text: str) -> Verdict:
        asked = text.count("?")
        return passed(f"{asked} asked") if asked <= self.most else failed(f"{asked} asked, {self.most} allowed")
```

In `rules.yaml` this is `- {name: few-questions, rule: max_questions, most: 1}`. Rules for several services belong \
into a package; wherever it is installed its kinds are known, when its `pyproject.toml` names the module they are in:

```toml
[project.entry-points."evaluator.rules"]
acme = "acme_rules"
```

Two rules of one name are refused with both places. `evaluator rules` lists every kind, your own too, \
`evaluator rules KIND` shows one, `--json` gives both to programs. A rule is pure: no network, no clock, no files, and \
the trace stays as it is: other evaluators look at it too (a type checker tells). One \
that raises gives no score, nor does one that takes more than 2 CPU seconds, and one that does so three times in a row \
rests for ten minutes. Each is counted and named (`rule_error`, `rule_slow`), and no other rule notices.
'''


_FOUND: Final = """\
## What rules find in real runs

[tau-bench](https://github.com/sierra-research/tau-bench) has 200 runs of a gpt-4o agent that serves the customers of \
an airline: 50 tasks, four times each, 116 of them failed (the reservation in the database was not what it should be). \
Each rule looked at every run as Langfuse would show it. A finding is a run that the rule fails; the table says how \
often the task failed with it and without, the surest sign of failure first (by the lower end of the interval). \
Intervals are Newcombe's, as if the 200 runs were of 200 tasks: four runs of one task are alike, so read those that \
come near zero as no sign. A negative difference is a sign of success: here the right end is often to hand over to a \
person, which `ends_with_answer` knows once `final` names that tool.

<!-- findings -->
{}
<!-- /findings -->

`python docs/findings.py` writes the table anew."""


def markdown(kinds: Mapping[str, type[Rule]], findings: str = "") -> str:
    """Return the page: one section a kind, with its documentation, its parameters and an example.

    `findings` is the table of what rules found in recorded runs.
    """
    index = "\n".join(f"| [{name}](#{name}) | {rule.gives} | {_first_line(rule)} |" for name, rule in kinds.items())
    table = f"| rule | gives | |\n|---|---|---|\n{index}\n"
    sections = (section(rule) for rule in kinds.values())
    return "\n".join([_INTRODUCTION, table, _FOUND.format(findings) + "\n", *sections])


def inside(page: str, mark: str) -> str:
    """Return what stands on a page between two marks, such as `<!-- findings -->` and `<!-- /findings -->`."""
    return page.partition(f"<!-- {mark} -->\n")[2].partition(f"\n<!-- /{mark} -->")[0]


def section(rule: type[Rule]) -> str:
    """Return what the page says of one kind."""
    parts = [f"## {rule.kind}", f"Gives {rule.gives}.", _documentation(rule), _parameters(rule)]
    if rule.example:
        parts.append(f"```yaml\n{_yaml([dict(rule.example)])}```")
    return "\n\n".join(part for part in parts if part) + "\n"


def _documentation(rule: type[Rule]) -> str:
    """Return the class's own docstring, never that of a base."""
    return inspect.cleandoc(rule.__doc__ or "")


def _parameters(rule: type[Rule]) -> str:
    schema = rule.model_json_schema(by_alias=True)
    required = set(schema.get("required", ()))
    rows = [
        f"| `{name}` | {_type(spec)} | {_default(name, spec, required)} | {_cell(spec.get('description', ''))} |"
        for name, spec in schema["properties"].items()
    ]
    return "\n".join(["| parameter | type | default | |", "|---|---|---|---|", *rows]) if rows else ""


def _type(spec: Mapping[str, Any]) -> str:
    if "enum" in spec:
        return " or ".join(f"`{value}`" for value in spec["enum"])
    if "anyOf" in spec:
        return " or ".join(_type(one) for one in _without_null(spec["anyOf"]))
    if spec.get("type") == "array":
        return f"list of {_type(spec.get('items', {}))}"
    return str(spec.get("format") or spec.get("type", "any"))


def _without_null(specs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [spec for spec in specs if spec.get("type") != "null"]


def _default(name: str, spec: Mapping[str, Any], required: set[str]) -> str:
    if name in required:
        return "required"
    return f"`{json_text(spec['default'])}`" if spec.get("default") not in (None, []) else "none"


def _first_line(rule: type[Rule]) -> str:
    return _cell(_documentation(rule).split("\n\n")[0])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _yaml(value: Any) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    yaml.dump(value, out)
    return dedent(out.getvalue())
