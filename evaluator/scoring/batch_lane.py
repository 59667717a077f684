"""Judge calls through the provider's batch API: sent, followed, collected, and sent again when they expire.

One process of the fleet does this at a time. A batch is written down before it is sent, so that one whose answer was
lost is found again by its label; replies are kept before their jobs return to the queue, and only then is the batch
forgotten. A crash anywhere repeats a step and loses none.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from evaluator.clock import Clock
from evaluator.errors import Refused
from evaluator.model import BatchApi
from evaluator.model.batches import MOST_LINES, Answers, Progress
from evaluator.money.batches import NO_ROOM, RESERVED, SPENT, BatchMoney, Wanted
from evaluator.sampling.jobs import Enqueue, Job
from evaluator.scoring.batched import Prepared, fits_a_batch
from evaluator.state.batch_room import Asked, BatchRoom, Pair, Sent
from evaluator.state.fleet import State
from judges import Prompt

TRIES: Final = 3
"""Batches a question may be in, in vain; then it is asked alone, at full price."""

LEASE: Final = timedelta(minutes=5)
_LOST_AFTER: Final = timedelta(minutes=1)
"""A batch nobody confirmed is looked for after so long: its request may still be under way."""

_FULL: Final = timedelta(minutes=15)
_NO_MONEY: Final = timedelta(minutes=5)
"""How long nothing is sent when there is no room or no money; less when a batch ends before."""

_TOO_MUCH: Final = "token_limit_exceeded"
_JOBS_AT_ONCE: Final = 50

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BatchLane:
    """What moves batches on.

    Attributes:
        room: Where questions wait.
        api: The provider's files and batches.
        state: Holds the lease of who does this.
        clock: The time.
        questions: What judges would be asked about jobs now.
        every: How long a question waits for others to be sent with.
        size: Traces of one message to the queue.
        money: Where the money for batches comes from; None when nobody counts it.
    """

    room: BatchRoom
    api: BatchApi
    state: State
    clock: Clock
    questions: Callable[[Sequence[Job]], list[Prepared]]
    every: timedelta
    size: int = 50
    money: BatchMoney | None = None

    def step(self, enqueue: Enqueue, owner: str, *, at_once: bool = False) -> int:
        """Collect what is there and send what is due; return how many questions are still on their way.

        Args:
            enqueue: takes the jobs whose replies came, or that are to be asked alone.
            owner: who does this.
            at_once: send what waits without waiting for more.

        Raises:
            Unavailable, Refused: the provider, Langfuse or Redis; nothing is lost, the next step goes on.
        """
        if self.state.lease("batches", owner, LEASE):
            try:
                for sent in self.room.sent():
                    self._follow(sent, enqueue)
                self._send(enqueue, at_once=at_once)
            finally:
                self.state.release("batches", owner)
        return self.room.waiting()[0] + self.room.asked()

    # -- what was sent -----------------------------------------------------------------------------------------------

    def _follow(self, sent: Sent, enqueue: Enqueue) -> None:
        lines = self.room.lines(sent.label)
        if not sent.batch:
            self._recover(sent, lines)
            return
        progress: Progress | None = None
        try:
            progress = self.api.look(sent.batch)
            if not progress.ended:
                return
            if progress.refused == _TOO_MUCH:
                _log.warning("the provider takes no more batches now", again_in=str(_FULL))
                self.room.pause(_FULL)
                self._forget(sent, [line.pair for line in lines.values()])
                return
            models = {name: line.model for name, line in lines.items()}
            heard = self.api.answers(progress.files, models)
        except Refused as error:
            _log.warning("a batch is gone, its questions are sent again", batch=sent.batch, reason=str(error))
            heard = Answers({})
            progress = None
        self._collect(sent, lines, heard, enqueue)
        if progress is not None:
            self.api.discard(progress)

    def _recover(self, sent: Sent, lines: Mapping[str, Asked]) -> None:
        """Find out whether a batch was made whose answer was lost."""
        if self.clock.now() - sent.at < _LOST_AFTER:
            return
        found = self.api.find(sent.label)
        if found is not None:
            self.room.confirm(sent, found)
        else:
            self._forget(sent, [line.pair for line in lines.values()])

    def _collect(self, sent: Sent, lines: Mapping[str, Asked], heard: Answers, enqueue: Enqueue) -> None:
        """Keep the replies; a pair returns to the queue when all of its questions have one, or are asked alone."""
        replies = heard.replies
        missing = [
            (line, line.pair.tries + (name not in heard.misunderstood))
            for name, line in lines.items()
            if name not in replies
        ]
        alone = [line for line, tries in missing if tries >= TRIES]
        again = {line.pair.name: replace(line.pair, tries=tries) for line, tries in missing if tries < TRIES}
        self.room.answer([(lines[name], reply) for name, reply in replies.items()])
        self.room.answer([(line, None) for line in alone])
        every = {line.pair.name: line.pair for line in lines.values()}
        self._enqueue([pair for name, pair in every.items() if name not in again], enqueue)
        self._forget(
            sent, list(again.values()), [(_payer(lines[name]), reply.usage.usd) for name, reply in replies.items()]
        )
        self.room.go_on()
        _log.info("a batch ended", batch=sent.batch, answered=len(replies), again=len(again), alone=len(alone))

    def _forget(self, sent: Sent, again: Sequence[Pair], paid: Sequence[tuple[str, float]] = ()) -> None:
        """Forget a batch; its money is settled first, which a crash in between may repeat."""
        if self.money is not None:
            self.money.settle(sent.label, sent.at, paid)
        self.room.end(sent, again, self.clock.now())

    # -- what waits --------------------------------------------------------------------------------------------------

    def _send(self, enqueue: Enqueue, *, at_once: bool) -> None:
        number, since = self.room.waiting()
        is_due = since is not None and self.clock.now() - since >= self.every
        if not (number >= MOST_LINES or is_due or (at_once and number)) or self.room.is_paused():
            return
        lines, prompts, done = self._asked(self.room.first(MOST_LINES))
        self._give_back(done, enqueue)
        for model in dict.fromkeys(line.model for line in lines.values()):
            # A provider refuses a batch whose questions are for several models.
            self._send_to({name: line for name, line in lines.items() if line.model == model}, prompts, enqueue)

    def _send_to(self, lines: dict[str, Asked], prompts: Mapping[str, Prompt], enqueue: Enqueue) -> None:
        sent = Sent(uuid.uuid4().hex, self.clock.now())
        lines, unpaid = self._funded(sent, lines, prompts)
        self._give_back(unpaid, enqueue)
        if not lines:
            return
        self.room.begin(sent.label, lines, sent.at)
        try:
            self.room.confirm(sent, self.api.submit({name: prompts[name] for name in lines}, sent.label))
        except Refused as error:
            _log.warning("the provider takes no batch, its questions are asked alone", reason=str(error))
            self.room.answer([(line, None) for line in lines.values()])
            self._enqueue(list({line.pair.name: line.pair for line in lines.values()}.values()), enqueue)
            self._forget(sent, [])
            return
        _log.info("a batch was sent", questions=len(lines))

    def _asked(self, pairs: Sequence[Pair]) -> tuple[dict[str, Asked], dict[str, Prompt], list[Pair]]:
        """Return the questions of pairs and their prompts by id, and the pairs that have none to send any more.

        Those return to the queue as they are: what became of them is found out there.
        """
        lines: dict[str, Asked] = {}
        prompts: dict[str, Prompt] = {}
        for start in range(0, len(pairs), _JOBS_AT_ONCE):
            lot = {
                (pair.job.ref.id, pair.job.samples[0].evaluator): pair for pair in pairs[start : start + _JOBS_AT_ONCE]
            }
            known = self.room.answers({ref_id for ref_id, _ in lot})
            for found in self.questions([pair.job for pair in lot.values()]):
                pair = lot[found.ref_id, found.evaluator]
                if (found.ref_id, found.memory) in known or not fits_a_batch(found.question):
                    continue
                key = f"{pair.name}@{found.memory}".encode(errors="replace")
                name = hashlib.blake2b(key, digest_size=16).hexdigest()
                prompt = prompts[name] = found.question.prompt
                lines[name] = Asked(pair, prompt.model, found.memory)
        going = {line.pair.name for line in lines.values()}
        return lines, prompts, [pair for pair in pairs if pair.name not in going]

    def _funded(
        self, sent: Sent, lines: dict[str, Asked], prompts: Mapping[str, Prompt]
    ) -> tuple[dict[str, Asked], list[Pair]]:
        """Return the questions that there is money for, and the pairs that have none left today.

        Those return to the queue, where it is decided what becomes of them; what only has no room beside other
        reservations waits.
        """
        if self.money is None or not lines:
            return lines, []
        wanted = [Wanted(prompts[name].payers, self.api.most(prompts[name])) for name in lines]
        answers = dict(zip(lines, self.money.reserve(sent.label, sent.at, wanted), strict=True))
        funded = {name: line for name, line in lines.items() if answers[name] == RESERVED}
        going = {line.pair.name for line in funded.values()}
        spent = {lines[name].pair.name: lines[name].pair for name, answer in answers.items() if answer == SPENT}
        if NO_ROOM in answers.values():
            _log.info("questions for batches wait for money that others have reserved", sent=len(funded))
            self.room.pause(_NO_MONEY)
        return funded, [pair for name, pair in spent.items() if name not in going]

    def _give_back(self, pairs: Sequence[Pair], enqueue: Enqueue) -> None:
        self._enqueue(pairs, enqueue)
        self.room.drop(pairs)

    def _enqueue(self, pairs: Sequence[Pair], enqueue: Enqueue) -> None:
        jobs: dict[tuple[str, int], Job] = {}
        for job in (pair.job for pair in pairs):
            known = jobs.get((job.ref.id, job.attempt))
            jobs[job.ref.id, job.attempt] = replace(job, samples=known.samples + job.samples) if known else job
        every = list(jobs.values())
        for start in range(0, len(every), self.size):
            enqueue(every[start : start + self.size])


def _payer(line: Asked) -> str:
    return line.pair.job.samples[0].evaluator
