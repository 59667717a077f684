"""Alerts and digests as messages (Block Kit): pure functions of what happened."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from evaluator.messages.blame import blamed
from evaluator.messages.blocks import (
    Message,
    buttons,
    context,
    cut,
    entities,
    escaped,
    link,
    plain,
    post,
    remark,
    section,
)
from evaluator.messages.figures import change, day, dimension, percent_change, size, value
from monitors import (
    Alert,
    Attribution,
    Change,
    Contribution,
    DropTest,
    Event,
    WeekMean,
    WorstTrace,
    sparkline,
)

Url = Callable[[str], str]

_MOST_ROWS: Final = 3
_COMMENT: Final = 280
_NOTABLE_MIX: Final = 0.1
"""A mix that moved the mean by more than this share of the drop is mentioned."""


@dataclass(frozen=True, slots=True)
class Urls:
    """Where people read more: addresses of a trace, a session and a prompt by their ids and names, and of all scores.

    What has no address is not linked.
    """

    trace: Url
    session: Url = str
    prompt: Url | None = None
    scores: str = ""


def message(alert: Alert, urls: Urls) -> Message:
    """Return what people read about an alert."""
    if alert.event in {Event.FELL, Event.GREW} and alert.test is not None:
        return _fell(alert, alert.test, urls)
    title = {
        Event.FELL: f"{alert.score} fell",
        Event.GREW: f"{alert.score} fell further",
        Event.RESOLVED: f"{alert.score} has recovered",
        Event.NEW_NORMAL: f"{alert.score} stays low: this is the new normal",
        Event.REMEASURED: f"{alert.score} is measured differently now",
        Event.EXPECTED: f"{alert.score} changed as expected",
        Event.LOST: f"{alert.score} cannot be followed any more",
    }[alert.event]
    story = _later(alert)
    course = f"\n{trend(alert.line)}" if alert.line else ""
    return post(title, [section(f"{entities(story)}{course}")], f"{plain(title)}. {story}")


def notice(title: str, facts: Sequence[str]) -> Message:
    """Return a message of plain facts, one a line; names in them are to be `escaped`."""
    # Names are escaped in the facts already, and `post` escapes its text.
    text = html.unescape(" ".join(facts).replace("`", ""))
    return post(title, [section("\n".join(facts))], f"{plain(title)}. {text}")


def model_closed(model: str, why: str) -> Message:
    """Return what people read when a judge model takes no calls any more."""
    title = f"Judge model {model} takes no calls"
    story = (
        f"{why[:1].upper()}{why[1:]}. Its questions wait and cost nothing; rules and other models go on. It is tried "
        "again every few minutes, and goes on by itself when it answers."
    )
    return post(title, [section(entities(story))], f"{plain(title)}. {plain(story)}")


def headline(alert: Alert, test: DropTest) -> str:
    """Return the whole finding in one sentence of plain text."""
    return (
        f"{_verb(alert)} {value(test.baseline, alert.binary)} → {value(test.now, alert.binary)} "
        f"({size(test, alert.binary)}); {_sample(test)}"
    )


def _fell(alert: Alert, test: DropTest, urls: Urls) -> Message:
    before, now = value(test.baseline, alert.binary), value(test.now, alert.binary)
    sample = f"{_sample(test)}; effective sample size {test.effective:,.0f}"
    facts = f"*{before} → {now}* ({size(test, alert.binary)})\n{sample}"
    blocks = [section(facts), section(trend(alert.line))]
    if test.span > 1:
        blocks.append(section(f"A small fall that lasts: {test.span} weeks together are low, none of them by itself."))
    if (mix := _mix(test, alert.binary)) is not None:
        blocks.append(section(mix))
    if by := blamed(test, alert.binary):
        blocks.append(section(by))
    if alert.by_people:
        blocks.append(section(f"{entities(alert.by_people)}."))
    if alert.attribution is not None:
        blocks.append(section(_who(alert.attribution, alert, test)))
    if alert.changes:
        blocks.append(section(_changed(alert.changes)))
    if alert.attribution is not None:
        blocks.extend(_worst(alert.attribution, alert.binary, urls))
    blocks.append(context(f"{_how_sure(test)}. {_course(alert)}"))
    blocks.extend(buttons(_links(alert, urls)))
    known = "Known already? `evaluator alert snooze` tells it later, `evaluator alert expect` says that it was meant."
    blocks.append(context(known))
    fell = _verb(alert)
    short = f"{fell} {before} → {now} ({percent_change(-_share(test))})" if test.baseline > 0 else fell
    said = f". {by.replace('*', '')}" if by else ""
    return post(short, blocks, plain(f"{headline(alert, test)}{said}"))


def _how_sure(test: DropTest) -> str:
    if test.evidence is None:
        return f"p = {test.p:.2g}, fires below {test.alpha:.2g}"
    return f"evidence {test.evidence:,.3g} to 1, fires above {test.needed:,.0f}"


def _verb(alert: Alert) -> str:
    return f"{alert.score} fell further" if alert.event is Event.GREW else f"{alert.score} fell"


def _course(alert: Alert) -> str:
    """Return where an open alert stands."""
    known = "" if alert.opened is None or alert.opened == alert.at else f"First to be seen on {day(alert.opened)}. "
    if alert.event is Event.GREW and alert.told is not None:
        known += f"It had fallen by {change(alert.told, alert.binary)} when last told. "
    return f"{known}Open until the week is no longer low."


def _sample(test: DropTest) -> str:
    when = "this week" if test.span == 1 else f"in the last {test.span} weeks"
    of = f" of about {test.population:,.0f}" if round(test.population) > test.n else ""
    return f"{test.n:,}{of} scored {when} against {test.n_baseline:,} in the {test.weeks} weeks before"


def _mix(test: DropTest, binary: bool) -> str | None:
    if abs(test.mix) < _NOTABLE_MIX * abs(test.drop):
        return None
    direction = "up" if test.mix > 0 else "down"
    if test.mean >= test.baseline:
        return (
            f"The plain mean did not fall, it is {value(test.mean, binary)}: the mix of traffic moved too and took it "
            f"up by {change(test.mix, binary)}, which hides the fall."
        )
    return (
        f"The mix of traffic moved too and took the plain mean {direction} by {change(abs(test.mix), binary)}, "
        f"to {value(test.mean, binary)}; the figures above are at an unchanged mix."
    )


def _who(found: Attribution, alert: Alert, test: DropTest) -> str:
    binary = alert.binary
    new = "new since it fell" if alert.event is Event.GREW else "new this week"
    if not found.rows:
        lines = ["*Who did it:* no segment stands out, the fall is spread evenly."]
    else:
        lines = [f"*Who did it:* {dimension(found.dimension)}"]
        lines.extend(f"• {_segment(row, test, binary, new)}" for row in found.rows[:_MOST_ROWS])
        rest = found.rest + sum(row.points for row in found.rows[_MOST_ROWS:])
        lines.append(f"• everything else: {change(rest, binary, sign=True)}")
    if found.alike:
        others = ", ".join(f"{dimension(name)} {escaped(which)}" for name, which in found.alike)
        lines.append(f"Cannot be told apart from {others}: they hold the same traces.")
    for row in found.new[:_MOST_ROWS]:
        if (row.dimension, row.value) not in found.alike:
            lines.append(f"Also new: {dimension(row.dimension)} {_segment(row, test, binary, new)}")
    return "\n".join(lines)


def _segment(row: Contribution, test: DropTest, binary: bool, new: str) -> str:
    now = "no traffic" if row.mean is None else value(row.mean, binary)
    if row.mean_before is None:
        course = f"{new}, {now}; {row.share:.0%} of traffic"
    else:
        course = f"{value(row.mean_before, binary)} → {now}; {row.share:.0%} of traffic ({row.share_before:.0%} before)"
    part = f", {row.points / -test.drop:.0%} of the fall" if test.drop > 0 else ""
    interval = f"{change(row.low, binary, sign=True)} to {change(row.high, binary, sign=True)}"
    return f"{escaped(row.value)}: {course}{part} ({change(row.points, binary, sign=True)}, 95 % {interval})"


def _worst(found: Attribution, binary: bool, urls: Urls) -> list[Message]:
    if not found.worst:
        return []
    blocks = [section("*Read these first:*")]
    for trace in found.worst:
        known = trace.session_id or trace.trace_id
        label = link(_address(trace, urls), f"{value(trace.value, binary)} · {known[:12]}")
        blocks.append(remark(label, cut(plain(trace.comment) or "no comment", _COMMENT)))
    return blocks


def _address(trace: WorstTrace, urls: Urls) -> str:
    return urls.session(trace.session_id) if trace.session_id else urls.trace(trace.trace_id)


def _changed(changes: Sequence[Change]) -> str:
    lines = [
        f"• {dimension(each.dimension)} {escaped(each.value)}: since {day(each.at)}, {each.share:.0%} of traffic"
        for each in changes[:_MOST_ROWS]
    ]
    if len(changes) > _MOST_ROWS:
        lines.append(f"• and {len(changes) - _MOST_ROWS} more")
    return "\n".join(["*New in that week:*", *lines])


def _links(alert: Alert, urls: Urls) -> list[tuple[str, str]]:
    found = alert.attribution
    links = []
    if found is not None and found.worst:
        what = "session" if found.worst[0].session_id else "trace"
        links.append((f"Read the worst {what}", _address(found.worst[0], urls)))
    if urls.scores:
        links.append(("All scores", urls.scores))
    if found is not None and found.dimension == "prompt_version" and urls.prompt is not None:
        name, _, version = found.rows[0].value.rpartition(":")
        if name and version.isdigit():
            links.append((f"Prompt {name}", urls.prompt(name)))
    return links


def _later(alert: Alert) -> str:
    """Return what a message that follows a fall (or needs none) says."""
    if alert.event in {Event.REMEASURED, Event.EXPECTED, Event.LOST} or alert.test is None:
        return plain(alert.note)
    now = f"{value(alert.test.now, alert.binary)}, against {value(alert.test.baseline, alert.binary)} before the fall"
    since = "" if alert.opened is None else f" It fell in the week to {day(alert.opened)}."
    if alert.event is Event.RESOLVED:
        by = blamed(alert.test, alert.binary).replace("*", "")
        return f"Back at {now}; {alert.test.n:,} scored this week.{since}{f' {by}' if by else ''}"
    return f"At {now}.{since} From now on it is compared with the weeks since then."


def trend(line: Sequence[WeekMean]) -> str:
    """Return a score's weeks as a line of bars."""
    first = f"{day(line[0].start)} " if line else ""
    return f"{first}`{sparkline([week.mean for week in line])}` now"


def _share(test: DropTest) -> float:
    return test.relative(test.drop) or 0.0
