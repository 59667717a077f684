"""The promises, checked from outside: in Redis, at the stand-ins, and in Slack."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import redis

from evaluator.errors import Unavailable
from evaluator.sampling.jobs import Lane
from sandbox.faults import FaultKind
from tests.matrix.plan import Plan
from tests.matrix.world import EVALUATORS, EVERYWHERE, JUDGED, NAMESPACE, World

_BEFORE = {"filtered", "sampled_out", "shed"}
_MOST_SHOWN = 5

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Books:
    """What a run left behind."""

    world: World
    plan: Plan
    ids: tuple[str, ...]

    def settled(self) -> dict[Pair, str]:
        """Return the terminal state with its reason, by trace and evaluator, of this run's traces."""
        client, found = self.world.client, dict[Pair, str]()
        for key in client.scan_iter(f"{NAMESPACE}:settled:*"):
            for name, state in cast("dict[bytes, bytes]", client.hgetall(key)).items():
                trace, _, evaluator = name.decode().partition("/")
                found[trace, evaluator] = state.decode()
        wanted = set(self.ids)
        return {pair: state for pair, state in found.items() if pair[0] in wanted}

    def scores(self) -> Counter[Pair]:
        """Return how many scores Langfuse holds, by trace and name."""
        wanted = set(self.ids)
        rows = self.world.sandbox.langfuse.all_scores()
        pairs = ((row["traceId"], row["name"]) for row in rows if row["name"] in EVALUATORS)
        return Counter(pair for pair in pairs if pair[0] in wanted)

    def waiting(self) -> dict[str, int]:
        """Return how many messages are in each queue, in a worker's hand or not."""
        queues = [f"{NAMESPACE}:queue:{lane}{delayed}" for lane in Lane for delayed in ("", ".DQ")]
        sizes = {queue: self.world.client.hlen(f"{queue}.msgs") for queue in queues}
        return {queue: size for queue, size in sizes.items() if size}

    def wasted(self) -> int:
        """Return how many good answers of judges were paid for and neither became a score nor were refused as one."""
        used = sum(
            name in JUDGED and state in {"scored", "failed/score_refused"}
            for (_, name), state in self.settled().items()
        )
        return self.world.sandbox.model.usable - used

    def states(self) -> Counter[str]:
        """Return how many pairs reached each state."""
        return Counter(state.partition("/")[0] for state in self.settled().values())


def is_settled(books: Books) -> bool:
    """Whether every trace was found, every sampled pair has its state, nothing waits, and no message is unsent."""
    with contextlib.suppress(Unavailable, redis.RedisError):
        settled = books.settled()
        return (
            all((trace, name) in settled for trace in books.ids for name in EVERYWHERE)
            and not _unbalanced(books)
            and not books.waiting()
            and not books.world.state.outbox()
            and (not books.plan.alerts or books.plan.wipes or bool(books.world.sandbox.slack.messages))
        )
    return False


def check(books: Books) -> list[str]:
    """Return every promise that was broken."""
    return [
        *_missing(books),
        *_scored_once(books),
        *_unbalanced(books),
        *(f"{size} messages are left in {queue}" for queue, size in books.waiting().items()),
        *_buried(books),
        *_wasted(books),
        *_told_once(books),
    ]


def _missing(books: Books) -> Iterator[str]:
    settled = books.settled()
    missing = [(trace, name) for trace in books.ids for name in EVERYWHERE if (trace, name) not in settled]
    if missing:
        yield f"{len(missing)} pairs have no state: {missing[:_MOST_SHOWN]}"


def _scored_once(books: Books) -> Iterator[str]:
    settled, scores = books.settled(), books.scores()
    scored = {pair for pair, state in settled.items() if state == "scored"}
    if wrong := [pair for pair in scored if scores[pair] != 1]:
        yield f"{len(wrong)} pairs are scored and have not one score: {wrong[:_MOST_SHOWN]}"
    # Before the wipe it may have been scored, after it the judge may have failed.
    if not books.plan.wipes and (
        odd := [(pair, settled[pair]) for pair in settled if pair not in scored and scores[pair]]
    ):
        yield f"{len(odd)} pairs are not scored and have scores: {odd[:_MOST_SHOWN]}"
    if bare := [pair for pair, state in settled.items() if pair not in scored and "/" not in state]:
        yield f"{len(bare)} pairs are not scored, without a reason: {bare[:_MOST_SHOWN]}"
    if unknown := set(scores) - set(settled):
        yield f"{len(unknown)} scores of pairs without a state: {sorted(unknown)[:_MOST_SHOWN]}"
    if doubled := books.world.sandbox.langfuse.counts()["duplicates"]:
        yield f"{doubled} scores are doubled"


def _unbalanced(books: Books) -> list[str]:
    """Compare what was sampled with what became of it, over everything Redis remembers."""
    funnel = books.world.state.funnel()
    claimed = sum(int(books.world.client.scard(key)) for key in books.world.client.scan_iter(f"{NAMESPACE}:claimed:*"))
    problems = []
    for name in {evaluator for evaluator, _, _ in funnel}:
        by_state: Counter[str] = Counter()
        for (evaluator, state, _), number in funnel.items():
            if evaluator == name:
                by_state[state] += number
        sampled = by_state.pop("sampled", 0)
        left = sum(by_state.pop(state, 0) for state in _BEFORE)
        if sampled + left != claimed:
            problems.append(f"{name}: {claimed} traces claimed, {sampled} sampled and {left} not")
        if sampled != by_state.total():
            problems.append(f"{name}: {sampled} sampled, {by_state.total()} counted as {dict(by_state)}")
    return problems


def _buried(books: Books) -> Iterator[str]:
    failed = {pair for pair, state in books.settled().items() if state.startswith("failed/")}
    wanted = set(books.ids)
    letters = {
        (letter.job.ref.id, sampled.evaluator)
        for letter in books.world.state.dead_letters()
        for sampled in letter.job.samples
        if letter.job.ref.id in wanted
    }
    if failed != letters:
        yield f"failed pairs and dead letters differ: {sorted(failed ^ letters)[:_MOST_SHOWN]}"


def _wasted(books: Books) -> Iterator[str]:
    model = books.world.sandbox.model.faults.happened
    allowed = sum(strike.fault.wasted for strike in books.plan.strikes)
    allowed += model[FaultKind.LOST_ANSWER] + model[FaultKind.HANG]
    wasted = books.wasted()
    if wasted > allowed and not books.plan.wipes:
        yield f"{wasted} judge calls were wasted, {allowed} may be"


def _told_once(books: Books) -> Iterator[str]:
    if not books.plan.alerts:
        return
    messages = [message["text"] for message in books.world.sandbox.slack.messages]
    allowed = 1 + sum(strike.fault.repeated for strike in books.plan.strikes)
    if not messages and not books.plan.wipes:
        yield "the alert was not sent"
    if len(messages) > allowed or len(set(messages)) > 1:
        yield f"{len(messages)} messages in Slack, {allowed} may be: {messages}"
