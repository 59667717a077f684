"""A watch with everything around it in memory: Langfuse, the fleet's state, Slack and a clock turned by hand."""

from __future__ import annotations

import contextlib
import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from evaluator.alerts.ports import Judges
from evaluator.definitions.service_config import Digests
from evaluator.errors import Unavailable
from evaluator.langfuse import Capabilities, SessionRoots, Window
from evaluator.messages.blocks import Message
from evaluator.messages.delivery import Delivery, Letter
from evaluator.state.alert_memory import DONE, Mark
from evaluator.state.monitor_records import MonitorRecord
from evaluator.watch import Watch
from monitors import Alert, MonitorSpec
from traces import RecordedScore, TraceRoot, Usage

START = datetime(2026, 3, 30, 6, 0, tzinfo=UTC)


class HandClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class FakeLangfuse:
    """Scores in memory; pages are small, so that paging is part of every test."""

    def __init__(self) -> None:
        self.held: list[RecordedScore] = []
        self.traces: dict[str, TraceRoot] = {}
        self.asked: list[tuple[Window, tuple[str, ...]]] = []
        self.joined: list[Sequence[str]] = []
        self.broken: set[str] = set()
        self.linking: Callable[[], None] = lambda: None
        self.reading: Callable[[], object] = lambda: None

    def capabilities(self) -> Capabilities:
        return Capabilities("4.59.0", "proj", "Project", batch_scores=True)

    def scores(
        self, window: Window, *, names: Sequence[str] = (), trace_ids: Sequence[str] = ()
    ) -> Iterator[list[RecordedScore]]:
        assert not trace_ids
        self.reading()
        if self.broken.intersection(names):
            raise Unavailable("Langfuse does not answer")
        self.asked.append((window, tuple(names)))
        found = [s for s in self.held if s.name in names and window.start <= s.timestamp < window.end]
        for first in range(0, len(found), 100):
            yield found[first : first + 100]

    def roots(self, trace_ids: Sequence[str], window: Window) -> dict[str, TraceRoot]:
        self.joined.append(trace_ids)
        known = (self.traces[i] for i in trace_ids if i in self.traces)
        return {root.ref.id: root for root in known if window.start <= root.ref.started < window.end}

    def session_roots(self, since: Mapping[str, datetime], *, most: int) -> dict[str, SessionRoots]:
        self.joined.append(list(since))
        known: dict[str, SessionRoots] = {}
        for root in sorted(self.traces.values(), key=lambda each: each.ref.started):
            session = root.session_id
            if session is not None and session in since and root.ref.started >= since[session]:
                known[session] = SessionRoots((root,) * most, more=False)
        return known

    def session_url(self, session_id: str) -> str:
        return f"https://langfuse.example/project/proj/sessions/{session_id}"

    def prompt_url(self, name: str) -> str:
        return f"https://langfuse.example/project/proj/prompts/{name}"

    def scores_url(self) -> str:
        return "https://langfuse.example/project/proj/scores"

    def trace_url(self, trace_id: str) -> str:
        self.linking()
        return f"https://langfuse.example/project/proj/traces/{trace_id}"


class FakeState:
    """The fleet's state; `saved` runs right after a save, where a test may let the process die."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}
        self.waiting: dict[str, dict[str, Any]] = {}
        self.saved: Callable[[], None] = lambda: None
        self.counted: Counter[tuple[str, str, str]] = Counter()
        self.spent: dict[str, Usage] = {}

    def funnel(self) -> Counter[tuple[str, str, str]]:
        return self.counted

    def spending(self) -> dict[str, Usage]:
        return self.spent

    @contextlib.contextmanager
    def monitor(self, name: str) -> Iterator[MonitorRecord]:
        record = MonitorRecord(copy.deepcopy(self.states.get(name)))
        yield record
        self.states[name] = json.loads(json.dumps(record.state))
        self.waiting.update(json.loads(json.dumps(record.outbox)))
        if record.outbox:
            self.saved()

    def outbox(self) -> dict[str, dict[str, Any]]:
        return dict(self.waiting)

    def sent(self, message: str) -> None:
        del self.waiting[message]


class FakeSlack:
    """Takes messages, or fails as told; as a bot it finds those it `keeps`."""

    takes_charts = True

    def __init__(self, name: str = "Slack") -> None:
        self.name = name
        self.got: list[Message] = []
        self.letters: list[Letter] = []
        self.charts: list[bytes | None] = []
        self.failing: Exception | None = None
        self.tries = 0
        self.finds = True

    def take(self, letter: Letter) -> str | None:
        self.tries += 1
        if self.failing is not None:
            raise self.failing
        self.got.append(letter.content)
        self.letters.append(letter)
        self.charts.append(letter.chart)
        return f"place of {letter.key}"

    def probe(self) -> str:
        return "in memory"

    def find(self, key: str, since: datetime) -> str | None:
        del since
        return f"place of {key}" if self.finds and any(letter.key == key for letter in self.letters) else None


class FakeMemory:
    """What is remembered of alerts."""

    def __init__(self) -> None:
        self.said: list[Mark] = []
        self.places: dict[str, str] = {}
        self.went: dict[tuple[str, str], str] = {}

    def marks(self) -> list[Mark]:
        return self.said

    def place(self, alert: str) -> str | None:
        return self.places.get(alert)

    def keep_place(self, alert: str, place: str) -> None:
        self.places[alert] = place

    def deliveries(self) -> dict[tuple[str, str], str]:
        return dict(self.went)

    def delivered(self, destination: str, message: str, said: str = DONE) -> None:
        self.went[destination, message] = said

    def forget_deliveries(self, message: str, destinations: Iterable[str]) -> None:
        for each in destinations:
            self.went.pop((each, message), None)


class Killed(BaseException):
    """The process dies."""


def die() -> None:
    raise Killed


class House:
    """A watch with everything around it."""

    def __init__(
        self,
        *specs: MonitorSpec,
        slack: bool = True,
        digests: Digests = "changes",
        total: float | None = None,
        judges: Judges | None = None,
    ) -> None:
        self.langfuse, self.state, self.slack, self.clock = FakeLangfuse(), FakeState(), FakeSlack(), HandClock()
        self.memory = FakeMemory()
        self.specs: tuple[MonitorSpec, ...] = specs or (MonitorSpec(score="faithfulness"),)
        self.to: list[FakeSlack] = [self.slack] if slack else []
        self.digests: Digests = digests
        self.total = total
        self.judges = judges
        self.watch = self.started()

    def started(self) -> Watch:
        delivery = Delivery(self.state, self.memory, self.to, self.clock)
        at, total = self.langfuse, self.total
        around = (at, self.state, self.specs, delivery, self.memory, self.clock, self.digests)
        return Watch(*around, false_alerts_per_year=total, judges=self.judges)

    def wipe(self) -> None:
        """Redis forgets everything, and the service starts anew."""
        self.state, self.memory = FakeState(), FakeMemory()
        self.watch = self.started()

    def fill(self, first: int, last: int, *, low: float = 0.0, seed: int = 0, **fields: Any) -> None:
        """Write scores for days `first` to `last` before now (0 is today), 50 a day."""
        for day in range(first, last):
            self.day(START - timedelta(days=day + 1), low=low, seed=seed + day, **fields)

    def day(self, start: datetime, *, low: float = 0.0, seed: int = 0, bad: str = "answer:4", **fields: Any) -> None:
        rng = np.random.default_rng([seed, start.toordinal()])
        for i in range(50):
            fallen = low > 0 and i % 2 == 0
            level = 4.2 - (low if fallen else 0) + 0.7 * rng.standard_normal()
            prompt = bad if fallen else "answer:3"
            at = start + timedelta(minutes=28 * i)
            self.langfuse.held.append(
                recorded(float(np.clip(round(level), 1, 5)), at, f"{at:%m%d}-{i}", prompt, **fields)
            )

    def look(self) -> list[Alert]:
        return self.watch.look()

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.slack.got]


def recorded(value: float | str, at: datetime, trace: str, prompt: str = "answer:3", **fields: Any) -> RecordedScore:
    metadata = {
        "evaluator_version": "v1",
        "inclusion_probability": 0.5,
        "session_id": f"session-{trace}",
        "judge_model": "gpt",
        "segments": {"prompt_version": prompt, "model": "m", "trace_name": "answer", "tags": "a,b"},
        **fields.pop("metadata", {}),
    }
    defaults = {"name": "faithfulness", "data_type": "NUMERIC", "source": "API", "comment": f"because {trace}"}
    settings = {**defaults, "metadata": metadata, **fields}
    name = settings["name"]
    return RecordedScore(id=f"{trace}-{name}", value=value, timestamp=at, trace_id=trace, **settings)
