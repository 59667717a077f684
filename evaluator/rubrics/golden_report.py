"""What golden tests came to: a table for people, JSON for scripts, JUnit XML for CI systems."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evaluator.messages.words import answer_of, is_priced, is_unasked, reason_of, shortened, usage_of, usd
from evaluator.rubrics.golden import Result, Trial
from evaluator.telemetry.logs import spelled_out
from judges import Rubric
from traces import Outcome, Usage

_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, in whatever spelling."""

_MARKS: Final = {
    Result.PASSED: "[green]ok[/green]",
    Result.FAILED: "[red]FAIL[/red]",
    Result.NOT_ASKED: "[yellow]?[/yellow]",
}


def show(tested: Sequence[Trial], out: Console) -> None:
    """Print a table for each rubric, and what all of them came to."""
    for rubric, examples in _by_rubric(tested):
        passed = sum(each.result is Result.PASSED for each in examples)
        models = ", ".join(dict.fromkeys(rubric.spec.judge.models))
        head = f"[bold]{escape(rubric.name)}[/bold] {passed} of {len(examples)} as expected"
        out.print(f"{head} [dim]({escape(models)}, version {rubric.version})[/dim]", highlight=False)
        out.print(_table(examples))
        out.print()
    out.print(_summary(tested), highlight=False)
    unasked = Counter(f"{o.kind}: {o.reason}" for each in tested for o in each.outcomes if is_unasked(o))
    for reason, number in unasked.most_common():
        out.print(f"{number:>6,} not asked: {spelled_out(reason)}", style="yellow", markup=False, highlight=False)


def _table(examples: Sequence[Trial]) -> Table:
    repeated = len(examples[0].outcomes) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("example", max_width=24)
    table.add_column("expected", no_wrap=True)
    table.add_column("got", max_width=24)
    table.add_column("ok", no_wrap=True)
    if repeated:
        table.add_column("share", justify="right", no_wrap=True)
    table.add_column("cost, USD", justify="right", no_wrap=True)
    table.add_column("reasoning", ratio=1)
    for each in examples:
        share = [f"{each.passes}/{len(each.outcomes)}"] if repeated else []
        cost = usd(each.usage, priced=all(map(is_priced, each.outcomes)))
        wanted, got = escape(each.example.expect.wanted), escape(_got(each))
        table.add_row(escape(each.name), wanted, got, _MARKS[each.result], *share, cost, _reason(each))
    return table


def _reason(each: Trial) -> Text:
    """Of what went well a glance is enough, what did not is read; what nobody was asked is told below, once."""
    if each.result is Result.NOT_ASKED:
        return Text()
    if each.result is Result.PASSED:
        return Text(reason_of(each.telling), no_wrap=True, overflow="ellipsis", style="dim")
    return Text(shortened(reason_of(each.telling), 400))


def _got(each: Trial) -> str:
    return f"{each.got} (spread {each.spread:g})" if each.spread else each.got


def _summary(tested: Sequence[Trial]) -> str:
    counts = {result: sum(each.result is result for each in tested) for result in Result}
    used = sum((each.usage for each in tested), Usage())
    said = [f"{counts[Result.PASSED]} of {len(tested)} examples as expected"]
    if counts[Result.FAILED]:
        said.append(f"[red]{counts[Result.FAILED]} not[/red]")
    if counts[Result.NOT_ASKED]:
        said.append(f"[yellow]{counts[Result.NOT_ASKED]} could not be asked[/yellow]")
    if flaky := sum(each.is_flaky for each in tested):
        said.append(f"[yellow]{flaky} flaky[/yellow]: not the same answer each time")
    priced = all(is_priced(outcome) for each in tested for outcome in each.outcomes)
    cost = f"{used.usd:.4f} USD" if priced else f"at least {used.usd:.4f} USD (a model has no price)"
    return f"{', '.join(said)}; {used.calls:,} judge calls, {cost}"


def as_json(tested: Sequence[Trial]) -> dict[str, Any]:
    """Return everything as plain JSON; the cost in USD."""
    used = sum((each.usage for each in tested), Usage())
    return {
        "rubrics": [
            {
                "name": rubric.name,
                "version": rubric.version,
                "models": list(dict.fromkeys(rubric.spec.judge.models)),
                "examples": [_example(each) for each in examples],
            }
            for rubric, examples in _by_rubric(tested)
        ],
        **{result.value.replace(" ", "_"): sum(each.result is result for each in tested) for result in Result},
        "flaky": sum(each.is_flaky for each in tested),
        "judge": _used(used),
    }


def _example(each: Trial) -> dict[str, Any]:
    return {
        "number": each.number,
        "name": each.name,
        "expected": each.example.expect.model_dump(exclude_none=True),
        "result": each.result.value,
        "passes": each.passes,
        "spread": each.spread,
        "answers": [_answer(outcome) for outcome in each.outcomes],
    }


def _answer(outcome: Outcome) -> dict[str, Any]:
    return {
        "got": getattr(outcome, "value", answer_of(outcome)),
        "kind": type(outcome).__name__.lower(),
        "reasoning": outcome.reason,
        "judge": _used(usage_of(outcome)),
    }


def _used(used: Usage) -> dict[str, Any]:
    tokens = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
    return {"calls": used.calls, **tokens, "usd": round(used.usd, 8)}


def junit(tested: Sequence[Trial], *, seconds: float, started: str) -> str:
    """Return a JUnit XML report: a suite for each rubric, a case for each example.

    What was not as expected is a failure, what could not be asked an error.

    Args:
        tested: what was tested.
        seconds: how long all of it took.
        started: when, as ISO 8601 has it, in UTC.
    """
    root = ET.Element("testsuites", {"name": "evaluator rubric test", **_totals(tested, seconds)})
    for rubric, examples in _by_rubric(tested):
        longest = max(each.seconds for each in examples)
        about = {"name": f"rubric {rubric.name}", **_totals(examples, longest)}
        about |= {"skipped": "0", "timestamp": started, "hostname": "localhost"}
        suite = ET.SubElement(root, "testsuite", _legal(about))
        for each in examples:
            case = {"classname": f"rubric.{rubric.name}", "name": each.name, "time": f"{each.seconds:.3f}"}
            _add_result(ET.SubElement(suite, "testcase", _legal(case)), each)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _add_result(case: ET.Element, each: Trial) -> None:
    if each.result is not Result.PASSED:
        tag = "failure" if each.result is Result.FAILED else "error"
        said = f"expected {each.example.expect.wanted}, got {each.got}"
        about = {"message": said, "type": "not-as-expected" if tag == "failure" else answer_of(each.telling)}
        ET.SubElement(case, tag, _legal(about)).text = _xml(each.telling.reason)
    answers = "\n\n".join(f"{answer_of(outcome)}: {outcome.reason}" for outcome in each.outcomes)
    ET.SubElement(case, "system-out").text = _xml(f"{each.passes} of {len(each.outcomes)}\n\n{answers}")


def _totals(tested: Sequence[Trial], seconds: float) -> dict[str, str]:
    return {
        "tests": str(len(tested)),
        "failures": str(sum(each.result is Result.FAILED for each in tested)),
        "errors": str(sum(each.result is Result.NOT_ASKED for each in tested)),
        "time": f"{seconds:.3f}",
    }


def _legal(attributes: dict[str, str]) -> dict[str, str]:
    return {name: _xml(value) for name, value in attributes.items()}


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _by_rubric(tested: Sequence[Trial]) -> Iterator[tuple[Rubric, list[Trial]]]:
    for _, group in groupby(tested, key=lambda each: each.rubric.name):
        examples = list(group)
        yield examples[0].rubric, examples
