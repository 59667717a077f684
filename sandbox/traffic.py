"""Sample traffic of a support assistant, the same for the same seed: weeks of good work, then a bad prompt version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from sandbox.plans import ScorePlan, SpanPlan, TracePlan, stable_id
from sandbox.scenes import EVASION, SYSTEM_PROMPT, TICKETS, TOPICS, Topic

BAD_VERSION: Final = 4
GOOD_VERSION: Final = 3
PROMPT: Final = "support-answer"
GROUND_TRUTH: Final = "task-success"
_CHECKED: Final = 0.3
"""Share of traces of which somebody found out later whether they did what was asked."""

_MISJUDGED: Final = 0.05
"""Share of those of which they found the wrong thing: no ground truth is quite true."""

_HOURS: Final = (1, 1, 1, 1, 1, 2, 4, 7, 10, 12, 12, 11, 10, 11, 11, 10, 9, 8, 7, 6, 5, 4, 2, 1)
"""How busy each hour of a day is, UTC."""

_PRICES: Final = {"gpt-5.4-mini": (0.25, 2.0), "gpt-5.4": (1.25, 10.0)}


@dataclass(frozen=True, slots=True)
class _Person:
    """Who asks, and where from."""

    user: str | None
    session: str
    tags: tuple[str, ...]


def traffic(weeks: int, per_week: int, end: datetime, seed: int = 7) -> Iterator[TracePlan]:
    """Give traces of `weeks` weeks up to `end`, oldest first, `per_week` a week.

    In the last seven days half of the answers come from a new prompt version that adds claims no document supports.
    """
    random = Random(seed)
    start = end - timedelta(weeks=weeks)
    moments = sorted(_moment(random, start + timedelta(weeks=week)) for week in range(weeks) for _ in range(per_week))
    person = _person(random, 0)
    for number, moment in enumerate(moments):
        at = min(moment, end - timedelta(seconds=60))
        if random.random() < 0.45:
            person = _person(random, number)
        recent = end - at <= timedelta(days=7)
        plan = (
            _agent_run(random, number, at, person)
            if random.random() < 0.25
            else _answer(random, number, at, person, recent)
        )
        yield _with_surroundings(random, plan, int((at - start + timedelta(weeks=1)) / timedelta(weeks=2)))


def _moment(random: Random, week: datetime) -> datetime:
    day = random.choices(range(7), weights=(10, 10, 10, 10, 9, 6, 5))[0]
    hour = random.choices(range(24), weights=_HOURS)[0]
    midnight = (week + timedelta(days=day)).replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + timedelta(hours=hour, seconds=random.uniform(0, 3600))
    # The first and the last day of a week are parts of two calendar days.
    return at + timedelta(days=7) if at < week else at


def _person(random: Random, number: int) -> _Person:
    user = None if random.random() < 0.03 else f"user-{random.randrange(180):03d}"
    plan = "plan:pro" if random.random() < 0.3 else "plan:free"
    channel = random.choice(("channel:web", "channel:app"))
    return _Person(user, f"session-{number:05d}", (channel, plan))


def _answer(random: Random, number: int, at: datetime, person: _Person, recent: bool) -> TracePlan:
    topic = random.choice(TOPICS)
    version = BAD_VERSION if recent and random.random() < 0.5 else GOOD_VERSION
    failed = random.random() < 0.02
    text, good = _text(random, topic, version)
    text = EVASION if failed else text
    model = "gpt-5.4" if random.random() < 0.2 else "gpt-5.4-mini"
    question = random.choice(topic.questions)
    took = random.lognormvariate(0.6, 0.4) * (12 if random.random() < 0.03 else 1)
    searched = at + timedelta(seconds=0.05 + 0.1 * random.random())
    trace, root = stable_id(32, "answer", number), stable_id(16, "root", number)
    end = at + timedelta(seconds=took)
    messages = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": "\n".join(("Documents:", *topic.documents, "", question))},
    ]
    spans = (
        SpanPlan(root, "SPAN", "answer-user-query", at, end, None, {"question": question}, text),
        SpanPlan(
            stable_id(16, "search", number), "RETRIEVER", "search-docs", at, searched, root, question,
            list(topic.documents),
        ),
        _generation(
            stable_id(16, "generation", number), "write-answer", searched, end, root, messages, text, model,
            version=version, failed=failed,
        ),
    )  # fmt: skip
    return TracePlan(
        trace, spans, "answer-user-query", user_id=person.user, session_id=person.session, tags=person.tags,
        scores=(*_feedback(random, 0.05 if failed else good), *_outcome(trace, right=good > 0.6 and not failed)),
    )  # fmt: skip


def _text(random: Random, topic: Topic, version: int) -> tuple[str, float]:
    """Return an answer and how likely it pleases."""
    sentences = list(topic.answers[: random.randint(2, len(topic.answers))])
    inventive = 0.9 if version == BAD_VERSION else 0.06
    if random.random() < inventive:
        sentences.insert(random.randint(1, len(sentences)), random.choice(topic.inventions))
        return " ".join(sentences), 0.55
    return " ".join(sentences), 0.85


def _generation(
    id_: str, name: str, start: datetime, end: datetime, parent: str, messages: list[dict[str, str]], text: str,
    model: str, *, version: int | None = None, failed: bool = False,
) -> SpanPlan:  # fmt: skip
    read, written = sum(len(m["content"]) for m in messages) // 4, max(1, len(text) // 4)
    dear = _PRICES[model]
    return SpanPlan(
        id_, "GENERATION", name, start, end, parent, messages, {"role": "assistant", "content": text},
        level="ERROR" if failed else "DEFAULT",
        status_message="upstream timed out after 10 s" if failed else None,
        model=model,
        usage={"input": read, "output": written, "total": read + written},
        cost=(read * dear[0] + written * dear[1]) / 1e6,
        prompt_name=PROMPT if version else None,
        prompt_version=version,
    )  # fmt: skip


def _agent_run(random: Random, number: int, at: datetime, person: _Person) -> TracePlan:
    order = 1000 + random.randrange(9000)
    wish, tool, details = random.choice(TICKETS)
    loops = random.random() < 0.05
    calls: list[tuple[str, dict[str, object], dict[str, object]]] = [
        ("find_order", {"order": order}, {"order": order, "status": "delivered", "total": 49})
    ] * (4 if loops else 1)
    calls.append((tool, {"order": order, **details}, {"ok": True, "order": order}))
    trace, root = stable_id(32, "ticket", number), stable_id(16, "ticket-root", number)
    spans: list[SpanPlan] = []
    moment = at
    asked = wish.format(order=order)
    for step, (name, arguments, result) in enumerate(calls):
        thought = moment + timedelta(seconds=0.4 + random.random())
        messages = [
            {"role": "system", "content": "Resolve the ticket with the tools."},
            {"role": "user", "content": asked},
        ]
        said = f"I call {name} for order {order}."
        spans.append(
            _generation(
                stable_id(16, "think", number, step), "plan", moment, thought, root, messages, said, "gpt-5.4-mini"
            )
        )
        moment = thought + timedelta(seconds=0.1 + 0.4 * random.random())
        spans.append(
            SpanPlan(stable_id(16, "tool", number, step), "TOOL", name, thought, moment, root, arguments, result)
        )
    final = f"Done: {asked.rstrip('.')[0].lower()}{asked.rstrip('.')[1:]}. Order {order} is taken care of."
    top = SpanPlan(root, "AGENT", "resolve-ticket", at, moment, None, {"question": asked}, final)
    return TracePlan(
        trace, (top, *spans), "resolve-ticket", user_id=person.user, session_id=person.session, tags=person.tags,
        scores=(*_feedback(random, 0.4 if loops else 0.85), *_outcome(trace, right=not loops)),
    )  # fmt: skip


def _feedback(random: Random, good: float) -> tuple[ScorePlan, ...]:
    if random.random() >= 0.25:
        return ()
    return (ScorePlan("user-feedback", float(random.random() < good), "BOOLEAN"),)


def _outcome(trace: str, *, right: bool) -> tuple[ScorePlan, ...]:
    """Return what was found out later. It has chances of its own: what everything else is does not hang on it."""
    random = Random(f"outcome of {trace}")
    if random.random() >= _CHECKED:
        return ()
    return (ScorePlan(GROUND_TRUTH, float(right != (random.random() < _MISJUDGED)), "BOOLEAN"),)


def _with_surroundings(random: Random, plan: TracePlan, fortnight: int) -> TracePlan:
    draw = random.random()
    environment = "staging" if draw < 0.03 else "llm-as-a-judge" if draw < 0.05 else "production"
    return replace(plan, environment=environment, release=f"2026.{fortnight + 1}")
