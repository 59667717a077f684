"""Writes the parts of the documentation that follow from the code; `--check` only says whether they are fresh."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import rules
from evaluator import starter
from evaluator.definitions import Definitions, load, schemas
from evaluator.preview.forecast import ASSUMED_OUTPUT
from evaluator.settings import variables
from evaluator.status.metrics import METRICS
from judges import BooleanScale, CategoricalScale, ChecklistScale, NumericScale, Question, Rubric
from rules.document import inside, markdown
from traces import json_text
from traces.lengths import tokens

DOCS = Path(__file__).parent
_CODE = "0123456789abcdef01234567"


def pages() -> dict[Path, str]:
    """Return every generated page."""
    return {
        DOCS / "rules.md": markdown(
            rules.collect(), inside((DOCS / "rules.md").read_text(encoding="utf-8"), "findings")
        ),
        DOCS / "settings.md": _settings(),
        DOCS / "rubrics.md": _rubrics((DOCS / "rubrics.md").read_text(encoding="utf-8")),
        DOCS / "operations.md": _with_tables(
            (DOCS / "operations.md").read_text(encoding="utf-8"), {"metrics": _metrics()}
        ),
    }


def main() -> int:
    """Write the pages, or with `--check` return 1 when one is stale."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            sys.stderr.write(f"docs/{path.name} is stale: run `make docs`\n")
        else:
            path.write_text(pages()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in sys.argv)


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        "Environment variables say where the services are; what is evaluated is in the config folder.",
        "Each may also be given as `NAME_FILE`, the path of a file that holds the value.",
        "",
        "| variable | default | what it is |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {f'`{default}`' if default else ''} | {what} |" for name, default, what in variables()]
    return "\n".join(lines) + "\n"


def _rubrics(page: str) -> str:
    """Return the page on rubrics with its tables written anew; what stands around them is written by hand."""
    definitions = load(starter.folder())
    schema = schemas(starter.folder())["rubric.schema.json"]
    return _with_tables(page, {"library": _library(definitions), "keys": _keys(schema)})


def _metrics() -> Iterator[str]:
    yield "| metric | kind | labels | what it is |"
    yield "|---|---|---|---|"
    for each in METRICS:
        yield f"| `{each.name}` | {each.kind} | {', '.join(each.labels)} | {each.what} |"


def _with_tables(page: str, tables: Mapping[str, Iterable[str]]) -> str:
    """Return a page with what stands between its marks written anew."""
    for name, lines in tables.items():
        text = "\n".join(lines)
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        page = f"{before}<!-- {name} -->\n{text}\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
    return page


def _library(definitions: Definitions) -> Iterator[str]:
    yield "| rubric | asks | answer | sees | USD for 1,000 calls | when to use it |"
    yield "|---|---|---|---|---:|---|"
    rubrics = [each.rubric for each in (*definitions.evaluators, *definitions.off) if each.rubric is not None]
    for rubric in rubrics:
        spec = rubric.spec
        name = f"**{rubric.name}**" if spec.enabled else rubric.name
        asks = spec.criteria.partition("\n")[0]
        usd = _usd(rubric, definitions)
        yield f"| {name} | {asks} | {_scale(rubric)} | {_sees(rubric)} | {usd:.2f} | {spec.description} |"
    yield ""
    for model in dict.fromkeys(rubric.spec.judge.model for rubric in rubrics):
        price = definitions.prices[model]
        yield (
            f"Cost with {model} at {price.input:.2f} USD for a million tokens in and {price.output:.2f} out, an answer "
            f"of {ASSUMED_OUTPUT} tokens, and material as short as in the examples; each further 1,000 tokens of it "
            f"add {price.input:.2f} USD. `evaluator plan` knows your own traffic."
        )


def _usd(rubric: Rubric, definitions: Definitions) -> float:
    """Return what a thousand calls cost whose material is as long as the examples' on average."""
    examples = rubric.spec.examples
    # Random codes would make another estimate each time.
    plain = Rubric(rubric.spec, lambda: _CODE)
    asked = [question for each in examples if isinstance(question := plain.question_from(each.inputs), Question)]
    prompts = [question.prompt for question in asked]
    read = sum(tokens(prompt.system + prompt.user + json_text(dict(prompt.schema))) for prompt in prompts)
    return 1000 * definitions.prices[rubric.spec.judge.model].cost(round(read / len(prompts)), ASSUMED_OUTPUT)


def _scale(rubric: Rubric) -> str:
    match rubric.spec.score:
        case NumericScale() as scale:
            levels = [f"{level:g}" for level in scale.levels]
            return ", ".join(levels) if 0 < len(levels) < 4 else f"{scale.min:g} to {scale.max:g}"
        case BooleanScale():
            return "true or false"
        case CategoricalScale() as scale:
            return " / ".join(scale.labels)
        case ChecklistScale() as scale:
            return f"checklist of {len(scale.criteria)}"


def _sees(rubric: Rubric) -> str:
    inputs = rubric.spec.inputs.items()
    return ", ".join(name.replace("_", " ") + ("" if source.skips else " (if there)") for name, source in inputs)


def _keys(schema: dict[str, Any]) -> Iterator[str]:
    """Give a table for the rubric itself and one for each of its parts; scales have a page of their own."""
    for path, properties, required in _parts(schema):
        yield f"### {f'`{path}`' if path else 'The file'}"
        yield ""
        yield "| key | default | what it is |"
        yield "|---|---|---|"
        for name, told in properties.items():
            default = "needed" if name in required else _default(told.get("default"))
            yield f"| `{name}` | {default} | {told.get('description', '')} |"
        yield ""


def _parts(schema: dict[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Iterable[str]]]:
    waiting = [("", schema)]
    seen: set[str] = set()
    while waiting:
        path, part = waiting.pop(0)
        yield path, part["properties"], part.get("required", ())
        for name, told in part["properties"].items():
            if "discriminator" in told:
                continue
            for behind, reference in _references(told, f"{path}.{name}".removeprefix(".")):
                definition = schema["$defs"][reference]
                forms = [form for form in definition.get("anyOf", [definition]) if "properties" in form]
                if reference not in seen and forms:
                    seen.add(reference)
                    waiting.append((behind, forms[0]))


def _references(told: Any, path: str) -> Iterator[tuple[str, str]]:
    """Give what a part of a schema refers to, with where it stands in the file."""
    for key, inner in told.items() if isinstance(told, dict) else ():
        if key == "$ref":
            yield path, inner.rsplit("/", 1)[-1]
        elif key == "anyOf":
            for one in inner:
                yield from _references(one, path)
        elif key == "items":
            yield from _references(inner, f"{path}[]")
        elif key in {"patternProperties", "additionalProperties"}:
            for one in inner.values() if key == "patternProperties" else [inner]:
                yield from _references(one, f"{path}.NAME")


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if value in (None, "") or isinstance(value, dict | list) else f"`{value}`"


if __name__ == "__main__":
    sys.exit(main())
