"""The tables, in Markdown: ratios first, since absolute figures are one machine's."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparing import Row


def comparison(rows: Sequence[Row]) -> str:
    """Return what contenders need, against the first of them."""
    first = rows[0].figures
    lines = []
    for row in rows:
        if (found := row.figures) is None or first is None:
            lines.append([row.contender.name, row.reason.splitlines()[0], "", "", "", "", ""])
            continue
        lines.append(
            [
                row.contender.name,
                f"{found.cpu / first.cpu:.2f}",
                f"{1000 * found.cpu:.2f} ms",
                f"{found.rate / first.rate:.2f}",
                f"{found.rate:,.0f}",
                f"{found.start:.1f} s",
                f"{found.large.megabytes:.0f} MB",
            ]
        )
    head = [
        "",
        "CPU, x the service's",
        "CPU a trace",
        "speed, x the service's",
        "traces/s",
        "CPU of its start",
        "memory",
    ]
    return table(head, lines)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column holds words, the others figures."""
    under = ["---", *(["---:"] * (len(head) - 1))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, under, *lines))
