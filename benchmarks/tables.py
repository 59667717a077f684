"""The tables, in Markdown: ratios first, since absolute figures are one machine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.comparing import Row
from benchmarks.running import SCORES_A_TRACE, STOPPED, Contender, Run
from benchmarks.workers import Fleet


def comparison(rows: Sequence[Row], *, slow: bool) -> str:
    """Return what contenders need, against the first of them; `slow` when the model took its time."""
    first = rows[0].figures
    head = ["", "CPU", "speed", "CPU a trace", "traces/s", "at once", "start", "memory"]
    lines = []
    for row in rows:
        found = row.figures
        if found is None or first is None:
            lines.append([row.contender.name, row.reason, *[""] * (len(head) - 2)])
            continue
        lines.append(
            [
                row.contender.name,
                _times(found.cpu / first.cpu),
                _times(found.rate / first.rate),
                f"{1000 * found.cpu:.2f} ms",
                f"{found.rate:,.0f}",
                f"{row.contender.at_once_slow if slow else row.contender.at_once:,}",
                f"{found.start:.1f} s",
                f"{found.large.megabytes:.0f} MB",
            ]
        )
    return table(head, lines)


def refusals(found: Sequence[tuple[Contender, Run | str]]) -> str:
    """Return what arrived of the scores while the model refused now and then."""
    lines = []
    for contender, done in found:
        if isinstance(done, str):
            lines.append([contender.name, done, "", ""])
            continue
        lost = f"{done.lost:,} of {SCORES_A_TRACE * done.traces:,}" if done.lost else "none"
        if done.failed.startswith(STOPPED):
            lines.append([contender.name, f"no figure: {done.failed}", "", ""])
            continue
        if done.failed:
            lost += f" ({done.failed})"
        speed = f"{done.traces / done.seconds:,.0f}" if done.seconds > 0 else "none"
        lines.append([contender.name, lost, f"{done.calls / done.traces:.2f}", speed])
    return table(["", "scores lost", "calls a trace", "traces/s"], lines)


def fleets(cases: Mapping[str, Sequence[Sequence[Fleet]]]) -> str:
    """Return what a second worker process adds, by case; of each fleet there are a small and a large run."""
    lines = []
    for name, runs in cases.items():
        rates = []
        for small, large in runs:
            more = large.traces - small.traces
            rates.append(more / (large.seconds - small.seconds))
            figures = [
                _times(rates[-1] / rates[0]),
                f"{rates[-1]:,.0f}",
                f"{1000 * (large.cpu - small.cpu) / more:.2f} ms",
            ]
            lines.append([f"{name}, {large.workers} process{'es' * (large.workers > 1)}", *figures])
    return table(["", "speed", "traces/s", "CPU a trace"], lines)


def breakdown(seconds: Mapping[str, float], cpu: float) -> str:
    """Return where the CPU goes: shares, and what they come to of the `cpu` seconds a trace costs without the books."""
    whole = sum(seconds.values())
    shares = sorted(((used / whole, line) for line, used in seconds.items()), reverse=True)
    return table(
        ["", "share", "of a trace's CPU"],
        [[line, f"{share:.1%}", f"{1e6 * share * cpu:,.0f} µs"] for share, line in shares],
    )


def ceilings(rates: Mapping[str, float]) -> str:
    """Return what the stand-ins can do."""
    return table(["", "requests/s"], [[name, f"{rate:,.0f}"] for name, rate in rates.items()])


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column holds words, the others figures."""
    under = ["---", *(["---:"] * (len(head) - 1))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, under, *lines))


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"
