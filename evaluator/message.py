"""Alerts and digests as Slack messages (Block Kit): pure functions of what happened.

Names of segments and the judge's comments come from strangers. In mrkdwn they are escaped and shown as code; longer
texts go into `plain_text`, which Slack neither formats nor links nor resolves to mentions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from monitors import Alert, Attribution, Contribution, DropTest, Event, NotEnoughHistory, WeekMean, sparkline

Url = Callable[[str], str]

Message = dict[str, Any]
"""`text` (what notifications show) and `blocks`."""

_MINUS: Final = "\N{MINUS SIGN}"
_MOST_ROWS: Final = 3
_MOST_LINES: Final = 40
_HEADER: Final = 150
_COMMENT: Final = 280
_NAME: Final = 80
_NO_MARKUP: Final = str.maketrans("|`*_~", "/'...")
_OF_URLS: Final = ":/?#[]@!$&'()*+,;=%"
_NOTABLE_MIX: Final = 0.1
"""A mix that moved the mean by more than this share of the drop is mentioned."""


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One watched score in the weekly digest; `opened` is when its open alert fired."""

    score: str
    binary: bool
    line: tuple[WeekMean, ...]
    test: DropTest | NotEnoughHistory
    opened: datetime | None = None


def message(alert: Alert, trace_url: Url, session_url: Url = str) -> Message:
    """Return what people read about an alert; the urls give the addresses of a trace and of a session by their ids."""
    if alert.event in {Event.FELL, Event.GREW} and alert.test is not None:
        return _fell(alert, alert.test, trace_url, session_url)
    title = {
        Event.FELL: f"{alert.score} fell",
        Event.GREW: f"{alert.score} fell further",
        Event.RESOLVED: f"{alert.score} has recovered",
        Event.NEW_NORMAL: f"{alert.score} stays low: this is the new normal",
        Event.REMEASURED: f"{alert.score} is measured differently now",
        Event.EXPECTED: f"{alert.score} changed as expected",
    }[alert.event]
    return _post(title, [_section(f"{_later(alert)}\n{_trend(alert.line)}")], f"{_plain(title)}. {_later(alert)}")


def digest(lines: Sequence[DigestLine], at: datetime) -> Message:
    """Return the weekly overview: each watched score with its trend, sample and open alert."""
    title = f"Quality this week, {_day(at)} {at.year}"
    blocks = [_section(_digest_line(line)) for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        blocks.append(_section(f"… and {len(lines) - _MOST_LINES} more scores"))
    falling = [line.score for line in lines if line.opened is not None]
    summary = f"{len(lines)} scores watched, " + (f"low: {', '.join(falling)}" if falling else "no open alert")
    return _post(title, blocks, f"{title}: {_plain(summary)}")


def notice(title: str, facts: Sequence[str]) -> Message:
    """Return a message of plain facts, one a line; names in them are to be `escaped`."""
    return _post(title, [_section("\n".join(facts))], f"{_plain(title)}. {' '.join(facts)}".replace("`", ""))


def model_closed(model: str, why: str) -> Message:
    """Return what people read when a judge model takes no calls any more."""
    title = f"Judge model {model} takes no calls"
    story = (
        f"{why[:1].upper()}{why[1:]}. Its questions wait and cost nothing; rules and other models go on. It is tried "
        "again every few minutes, and goes on by itself when it answers."
    )
    return _post(title, [_section(_entities(story))], f"{_plain(title)}. {_plain(story)}")


def headline(alert: Alert, test: DropTest) -> str:
    """Return the whole finding in one sentence of plain text."""
    return (
        f"{_verb(alert)} {value(test.baseline, alert.binary)} → {value(test.now, alert.binary)} "
        f"({_size(test, alert.binary)}); {_sample(test)}"
    )


def value(points: float, binary: bool) -> str:
    """Return a score as people write it: pass rates in percent."""
    return f"{100 * points:.1f} %" if binary else f"{points:,.2f}"


def escaped(text: str) -> str:
    """Return a stranger's text for mrkdwn, as inline code: it can neither link, ping nor format."""
    one_line = _plain(text).replace("`", "'")
    cut = one_line if len(one_line) <= _NAME else one_line[: _NAME - 1] + "…"
    return f"`{_entities(cut) or '?'}`"


def _fell(alert: Alert, test: DropTest, trace_url: Url, session_url: Url) -> Message:
    before, now = value(test.baseline, alert.binary), value(test.now, alert.binary)
    sample = f"{_sample(test)}; effective sample size {test.effective:,.0f}"
    facts = f"*{before} → {now}* ({_size(test, alert.binary)})\n{sample}"
    blocks = [_section(facts), _section(_trend(alert.line))]
    if (mix := _mix(test, alert.binary)) is not None:
        blocks.append(_section(mix))
    if alert.attribution is not None:
        blocks.append(_section(_who(alert.attribution, test, alert.binary)))
        blocks.extend(_worst(alert.attribution, alert.binary, trace_url, session_url))
    blocks.append(_context(f"p = {test.p:.2g}, fires below {test.alpha:.2g}. {_course(alert)}"))
    fell = _verb(alert)
    short = f"{fell} {before} → {now} ({_percent(-_share(test))})" if test.baseline > 0 else fell
    return _post(short, blocks, _plain(headline(alert, test)))


def _verb(alert: Alert) -> str:
    return f"{alert.score} fell further" if alert.event is Event.GREW else f"{alert.score} fell"


def _course(alert: Alert) -> str:
    """Return where an open alert stands."""
    known = "" if alert.opened is None or alert.opened == alert.at else f"First to be seen on {_day(alert.opened)}. "
    if alert.event is Event.GREW and alert.told is not None:
        known += f"It was {_points(alert.told, alert.binary)} when last told. "
    return f"{known}Open until the week is no longer low."


def _size(test: DropTest, binary: bool) -> str:
    """Return the fall with its interval: points for pass rates, percent of the baseline for the rest."""
    if binary or test.baseline <= 0:
        unit, factor, digits = ("points", 100.0, 1) if binary else ("points", 1.0, 2)
        drop, low, high = (_signed(-x * factor, digits) for x in (test.drop, test.low, test.high))
        return f"{drop} {unit}, 95 % interval {low} to {high} {unit}"
    drop, low, high = (_signed(-100 * x / test.baseline, 0) for x in (test.drop, test.low, test.high))
    return f"{drop} %, 95 % interval {low} to {high} %"


def _sample(test: DropTest) -> str:
    return f"{test.n:,} scored this week against {test.n_baseline:,} in the {test.weeks} weeks before"


def _mix(test: DropTest, binary: bool) -> str | None:
    if abs(test.mix) < _NOTABLE_MIX * abs(test.drop):
        return None
    direction = "up" if test.mix > 0 else "down"
    return (
        f"The mix of traffic moved too and took the plain mean {direction} by {_points(abs(test.mix), binary)}, "
        f"to {value(test.mean, binary)}; the figures above are at an unchanged mix."
    )


def _who(found: Attribution, test: DropTest, binary: bool) -> str:
    if not found.rows:
        lines = ["*Who did it:* no segment stands out, the fall is spread evenly."]
    else:
        lines = [f"*Who did it:* {_dimension(found.dimension)}"]
        lines.extend(f"• {_segment(row, test, binary)}" for row in found.rows[:_MOST_ROWS])
        rest = found.rest + sum(row.points for row in found.rows[_MOST_ROWS:])
        lines.append(f"• everything else: {_points(rest, binary, sign=True)}")
    if found.alike:
        others = ", ".join(f"{_dimension(name)} {escaped(which)}" for name, which in found.alike)
        lines.append(f"Cannot be told apart from {others}: they hold the same traces.")
    for row in found.new[:_MOST_ROWS]:
        if (row.dimension, row.value) not in found.alike:
            lines.append(f"Also new: {_dimension(row.dimension)} {_segment(row, test, binary)}")
    return "\n".join(lines)


def _segment(row: Contribution, test: DropTest, binary: bool) -> str:
    now = "no traffic" if row.mean is None else value(row.mean, binary)
    if row.mean_before is None:
        course = f"new this week, {now}; {row.share:.0%} of traffic"
    else:
        course = f"{value(row.mean_before, binary)} → {now}; {row.share:.0%} of traffic ({row.share_before:.0%} before)"
    part = f", {row.points / -test.drop:.0%} of the fall" if test.drop > 0 else ""
    interval = f"{_points(row.low, binary, sign=True)} to {_points(row.high, binary, sign=True)}"
    return f"{escaped(row.value)}: {course}{part} ({_points(row.points, binary, sign=True)}, 95 % {interval})"


def _worst(found: Attribution, binary: bool, trace_url: Url, session_url: Url) -> list[Message]:
    if not found.worst:
        return []
    blocks = [_section("*Read these first:*")]
    for trace in found.worst:
        known = trace.session_id or trace.trace_id
        address = session_url(known) if trace.session_id else trace_url(known)
        link = _link(address, f"{value(trace.value, binary)} · {known[:12]}")
        reason = _plain(trace.comment) or "no comment"
        cut = reason if len(reason) <= _COMMENT else reason[: _COMMENT - 1] + "…"
        blocks.append(
            {"type": "context", "elements": [_mrkdwn(link), {"type": "plain_text", "text": cut, "emoji": False}]}
        )
    return blocks


def _later(alert: Alert) -> str:
    """Return what a message that follows a fall (or needs none) says."""
    if alert.event in {Event.REMEASURED, Event.EXPECTED} or alert.test is None:
        return _entities(_plain(alert.note))
    now = f"{value(alert.test.now, alert.binary)}, against {value(alert.test.baseline, alert.binary)} before the fall"
    since = "" if alert.opened is None else f" It fell in the week to {_day(alert.opened)}."
    if alert.event is Event.RESOLVED:
        return f"Back at {now}; {alert.test.n:,} scored this week.{since}"
    return f"At {now}.{since} From now on it is compared with the weeks since then."


def _digest_line(line: DigestLine) -> str:
    test = line.test
    mean = test.mean
    shown = "no scores this week" if mean is None else f"*{value(mean, line.binary)}* from {test.n:,} scored"
    parts = [f"{escaped(line.score)} {shown}", _trend(line.line)]
    if isinstance(test, NotEnoughHistory):
        parts.append(f"not compared: {_entities(test.reason)}")
    else:
        parts.append(f"{_points(-test.drop, line.binary, sign=True)} against the {test.weeks} weeks before")
    if line.opened is not None:
        parts.append(f":small_red_triangle_down: low since the week to {_day(line.opened)}")
    return "\n".join(parts)


def _trend(line: Sequence[WeekMean]) -> str:
    first = f"{_day(line[0].start)} " if line else ""
    return f"{first}`{sparkline([week.mean for week in line])}` now"


def _post(title: str, blocks: Sequence[Mapping[str, Any]], text: str) -> Message:
    heading = _plain(title)
    cut = heading if len(heading) <= _HEADER else heading[: _HEADER - 1] + "…"
    head = {"type": "header", "text": {"type": "plain_text", "text": cut, "emoji": False}}
    return {"text": _entities(text), "blocks": [head, *blocks], "unfurl_links": False, "unfurl_media": False}


def _section(text: str) -> Message:
    return {"type": "section", "text": _mrkdwn(text)}


def _context(text: str) -> Message:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> Message:
    # verbatim: Slack must not turn names and addresses in the text into links or mentions.
    return {"type": "mrkdwn", "text": text[:2900], "verbatim": True}


def _link(url: str, label: str) -> str:
    safe = _entities(quote(url, safe=_OF_URLS))
    return f"<{safe}|{_entities(_plain(label)).translate(_NO_MARKUP)}>"


def _dimension(name: str | None) -> str:
    return (name or "").replace("_", " ")


def _points(points: float, binary: bool, *, sign: bool = False) -> str:
    number = points * 100 if binary else points
    digits = 1 if binary else 2
    return (_signed(number, digits) if sign else f"{number:,.{digits}f}") + (" points" if binary else "")


def _percent(share: float) -> str:
    return f"{_signed(100 * share, 0)} %"


def _share(test: DropTest) -> float:
    return test.relative(test.drop) or 0.0


def _signed(number: float, digits: int) -> str:
    """Return a number with its sign, a true minus for negative ones and none for what rounds to 0."""
    text = f"{abs(number):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return (_MINUS if number < 0 else "+") + text


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b}"


def _plain(text: str) -> str:
    """Return text on one line, without control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]+|\s+", " ", text).strip()


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
