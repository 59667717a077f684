"""Finding traces by the thousand: each once, whatever the storage shows twice, and with a memory that is bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from evaluator.app import App
from evaluator.clock import SystemClock
from evaluator.discovery.idle_sessions import IdleSessions
from evaluator.discovery.sweep import Discovery
from evaluator.errors import Unavailable
from evaluator.langfuse import scanning
from evaluator.langfuse.reading import Row, row_of
from evaluator.langfuse.scanning import Window
from evaluator.sampling import sampler as sampling
from evaluator.sampling.jobs import Enqueue, Job
from evaluator.sampling.sampler import Sampler
from tests.serving import OpenService
from traces import SampleRule, TraceRef, TraceRoot, When

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def root(number: int, ended: datetime, name: str = "root") -> TraceRoot:
    return TraceRoot(TraceRef(f"{number:032x}", name, "production", ended - timedelta(seconds=2), ended))


class Listing:
    """Stands for Langfuse where only the listing of roots is asked for."""

    def __init__(self, pages: Sequence[list[TraceRoot]]) -> None:
        self.pages = pages

    def finished_roots(self, window: Window, **_: object) -> Iterator[list[TraceRoot]]:
        del window
        return iter(self.pages)


def finder(app: App, listing: Listing, enqueue: Enqueue) -> Discovery:
    idle = IdleSessions(app.definitions, app.langfuse, app.state, app.sessions, app.money.rations, SystemClock())
    return Discovery(app.definitions, listing, app.state, idle, app.money.rations, SystemClock(), enqueue)  # type: ignore[arg-type] # a part of it


def test_every_trace_is_taken_once_though_its_roots_come_on_other_pages_and_in_other_hours(
    service: OpenService,
) -> None:
    roots = [root(n, NOW - timedelta(seconds=4 * n)) for n in range(3_000)]
    # A second root of each tenth trace, half an hour older: another page, and often another hour.
    roots += [root(n, NOW - timedelta(seconds=4 * n + 1800), "older") for n in range(0, 3_000, 10)]
    roots.sort(key=lambda each: each.ref.started, reverse=True)
    jobs: list[Job] = []
    with service() as app:
        cut = (roots[start : start + 100] for start in range(0, len(roots), 100))
        # Within a page the client tells them apart.
        listing = Listing([list({each.ref.id: each for each in page}.values()) for page in cut])
        discovery = finder(app, listing, jobs.extend)
        found = discovery.sweep(Window(NOW - timedelta(hours=5), NOW))
        again = discovery.sweep(Window(NOW - timedelta(hours=5), NOW))
        counted = app.state.funnel()
    assert found.traces == 3_000
    assert (again.traces, again.enqueued) == (0, 0)
    assert max(Counter(job.ref.id for job in jobs).values()) == 1
    for evaluator in app.definitions.evaluators:
        assert sum(n for (name, _, _), n in counted.items() if name == evaluator.name) == 3_000


def test_a_crash_between_queue_and_claim_repeats_one_batch_and_no_more(service: OpenService) -> None:
    listing = Listing([[root(n, NOW - timedelta(seconds=n)) for n in range(500)]])
    jobs: list[Job] = []

    def dies_behind_the_third(batch: Sequence[Job]) -> None:
        jobs.extend(batch)
        if len(jobs) == 150:
            raise Unavailable("the scheduler died")

    with service() as app:
        dying = finder(app, listing, dies_behind_the_third)
        with pytest.raises(Unavailable):
            dying.sweep(Window(NOW - timedelta(hours=1), NOW))
        next_one = finder(app, listing, jobs.extend)
        next_one.sweep(Window(NOW - timedelta(hours=1), NOW))
    enqueued = Counter(job.ref.id for job in jobs)
    assert len(enqueued) == 500
    assert sum(enqueued.values()) == 500 + app.definitions.service.batch_size


def test_a_scan_remembers_no_more_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{n:032x}" for n in range(5_000)]

    async def ended(*_: object) -> AsyncIterator[list[Row]]:
        for start in range(0, len(rows), 100):
            # Each page shows the one before it again, as rows do that are not merged yet.
            yield [
                row_of({"id": i, "traceId": i, "startTime": NOW.isoformat(), "endTime": NOW.isoformat()})
                for i in rows[max(0, start - 100) : start + 100]
            ]

    async def read() -> tuple[list[str], int]:
        found: list[str] = []
        most = 0
        pages = scanning.root_pages(None, Window(NOW, NOW), timedelta(hours=1), ())  # type: ignore[arg-type] # not asked
        async for page in pages:
            found += [root.ref.id for root in page]
            held = pages.ag_frame.f_locals  # type: ignore[attr-defined] # an async generator has it
            most = max(most, len(held["seen"]) + len(held["before"]))
        return found, most

    monkeypatch.setattr(scanning, "_ended", ended)
    monkeypatch.setattr(scanning, "_REMEMBERED", 500)
    found, most = asyncio.run(read())
    assert found == rows
    assert most <= 2 * (500 + 200)


def test_sixteen_evaluators_hash_a_trace_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    position = sampling._position

    def counted(keyed: Any, trace_id: str) -> float:
        hashed.append(trace_id)
        return position(keyed, trace_id)

    monkeypatch.setattr(sampling, "_position", counted)
    evaluators = [Sampling(f"e{n}", When(), (SampleRule(rate=0.5),)) for n in range(16)]
    choices = Sampler(evaluators, "salt").choose(root(1, NOW))
    assert [choice.evaluator for choice in choices] == [f"e{n}" for n in range(16)]
    assert len({type(choice.decision) for choice in choices}) == 1
    assert len(hashed) == 1


class Sampling(NamedTuple):
    name: str
    when: When
    sample: tuple[SampleRule, ...]
    in_pass: frozenset[str] = frozenset()
