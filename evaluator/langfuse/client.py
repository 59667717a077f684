"""The facade: blocking methods that any thread may call, all IO on the process's one event loop."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

from evaluator.clock import Clock
from evaluator.errors import EvaluatorError, Overtaxed, Refused
from evaluator.langfuse.grouping import Grouped
from evaluator.langfuse.media import MediaStore
from evaluator.langfuse.native import rows_of
from evaluator.langfuse.paging import PageSize
from evaluator.langfuse.prompts import read_prompt
from evaluator.langfuse.reviews import (
    DatasetItem,
    QueueItem,
    archive_item,
    dataset_items,
    enqueue,
    is_queued,
    make_queue,
    put_dataset,
    put_item,
    queue_ids,
    queue_items,
)
from evaluator.langfuse.scanning import (
    ROOT_FIELDS,
    ROOT_FIELDS_AND_METADATA,
    ROWS_A_PAGE,
    TRACES_A_REQUEST,
    Window,
    root_pages,
    roots_by_id,
    score_pages,
    whole_traces,
)
from evaluator.langfuse.server import Capabilities, probe
from evaluator.langfuse.sessions import SessionRoots, score_times, session_roots
from evaluator.langfuse.wire import TooLong, TooWide, Wire
from evaluator.langfuse.writing import SCORES_A_REQUEST, Writer
from evaluator.limits import Gate
from evaluator.loop import LoopThread
from judges import Attachment, ManagedPrompt, PromptSource
from traces import RecordedScore, Score, Subject, Trace, TraceRef, TraceRoot

Page = TypeVar("Page")

_AHEAD: Final = timedelta(minutes=1)
"""How far the clocks of others may be ahead of ours."""

_BYTES_A_ROW: Final = 10_000
"""Of an observation with input and output, until real ones are seen."""


class Langfuse:
    """One Langfuse project.

    Every method blocks its thread, may be interrupted, and raises only `EvaluatorError`s: `Unavailable` (again later),
    `Refused` (never), `ConfigError` (the keys).
    """

    def __init__(
        self,
        *,
        base_url: str,
        public_key: str,
        secret_key: str,
        loop: LoopThread,
        gate: Gate,
        clock: Clock,
        random: Random,
        timeout: float = 30.0,
        attempts: int = 6,
        group_seconds: float = 0.03,
        root_metadata: bool = False,
    ) -> None:
        """Talk to `base_url`; `timeout` in seconds for one request, `attempts` for one that meets a passing failure.

        `root_metadata` says whether filters ask for the metadata of roots.
        """
        self._root_fields = ROOT_FIELDS_AND_METADATA if root_metadata else ROOT_FIELDS
        self._loop = loop
        self._clock = clock
        self._wire = Wire(
            base_url, public_key, secret_key, gate=gate, random=random, timeout=timeout, attempts=attempts
        )
        self._media = MediaStore(self._wire, timeout)
        self._capabilities: Capabilities | None = None
        self._probing = threading.Lock()
        self._rows = PageSize(ROWS_A_PAGE, _BYTES_A_ROW)
        self._writer: Writer | None = None
        self._reads: Grouped[TraceRef, Trace | TooWide | None] = Grouped(self._fetch, TRACES_A_REQUEST, group_seconds)
        self._writes: Grouped[Score, EvaluatorError | None] = Grouped(self._write, SCORES_A_REQUEST, group_seconds)

    def capabilities(self) -> Capabilities:
        """Return what the server can do; asked once."""
        with self._probing:
            if self._capabilities is None:
                self._capabilities = self._loop.call(probe(self._wire, self._clock.now()))
            return self._capabilities

    @property
    def project_name(self) -> str:
        """The project's name, empty while nobody has asked for it; nothing is asked here."""
        return "" if self._capabilities is None else self._capabilities.project_name

    def trouble(self) -> str:
        """Return why Langfuse does not answer now, empty when it does; waits some seconds at most."""
        return self._loop.call(self._wire.trouble())

    def finished_roots(
        self, window: Window, *, longest: timedelta, exclude_environments: Collection[str] = ()
    ) -> Iterator[list[TraceRoot]]:
        """Give the roots whose end lies in `window`, newest first, in pages, one root a trace.

        Args:
            window: of end times.
            longest: the longest a trace may have lasted; bounds what the server searches.
            exclude_environments: beside those of judges and experiments, which are always left out.
        """
        return self._drawn(root_pages(self._wire, window, longest, exclude_environments, self._root_fields))

    def roots(self, trace_ids: Sequence[str], window: Window) -> dict[str, TraceRoot]:
        """Return the roots of the given traces, as far as they started in `window`."""
        return self._loop.call(roots_by_id(self._wire, trace_ids, window, self._root_fields)) if trace_ids else {}

    def session_roots(
        self, since: Mapping[str, datetime], *, most: int, exclude_environments: Collection[str] = ()
    ) -> dict[str, SessionRoots]:
        """Return the newest `most` roots of each session, of those that started from the given time on.

        A session without any is absent. Environments are left out as in `finished_roots`.
        """
        if not since:
            return {}
        until = self._clock.now() + _AHEAD
        with _refusing("even one second"):
            reading = session_roots(self._wire, since, until, most, exclude_environments, self._root_fields)
            return self._loop.call(reading)

    def score_times(self, score_ids: Collection[str]) -> dict[str, datetime]:
        """Return the timestamps of those scores that exist."""
        with _refusing("a session's scores"):
            return self._loop.call(score_times(self._wire, score_ids)) if score_ids else {}

    def fetch(self, refs: Sequence[TraceRef]) -> dict[str, Trace]:
        """Return whole traces by id; those Langfuse does not show are absent.

        Raises:
            Refused: one of them is more than Langfuse can read.
        """
        traces: dict[str, Trace] = {}
        for trace_id, answer in self.fetch_each(refs).items():
            if isinstance(answer, Refused):
                raise answer
            traces[trace_id] = answer
        return traces

    def fetch_each(self, refs: Sequence[TraceRef]) -> dict[str, Trace | Refused]:
        """Return whole traces by id, and why for one that is more than Langfuse can read; absent as in `fetch`."""
        answers = zip(refs, self._loop.call(self._reads.ask(refs)), strict=True)
        return {
            ref.id: _refusal("a trace", answer) if isinstance(answer, TooWide) else answer
            for ref, answer in answers
            if answer is not None
        }

    def write(self, scores: Sequence[Score]) -> list[EvaluatorError | None]:
        """Write scores; one answer each, in order: None when Langfuse accepted it, else why not."""
        self.capabilities()
        return self._loop.call(self._writes.ask(scores))

    def scores(
        self,
        window: Window,
        *,
        names: Sequence[str] = (),
        trace_ids: Sequence[str] = (),
        session_ids: Sequence[str] = (),
        authors: bool = False,
    ) -> Iterator[list[RecordedScore]]:
        """Give the scores with a timestamp in `window`, newest first, in pages, each id once.

        With `trace_ids` or `session_ids` only the scores of these; with `authors` they say who annotated.
        """
        return self._drawn(score_pages(self._wire, window, names, trace_ids, session_ids, authors=authors))

    def native(self, kind: Literal["evaluators", "evaluation-rules"]) -> list[Mapping[str, Any]]:
        """Return what Langfuse evaluates by itself, row by row as it tells it.

        Raises:
            Refused: this Langfuse has no such endpoint.
        """
        return self._loop.call(rows_of(self._wire, kind))

    def queue_ids(self) -> dict[str, str]:
        """Return the id of each annotation queue, by its name and by the id itself."""
        return self._loop.call(queue_ids(self._wire))

    def is_queued(self, queue_id: str, subject: Subject) -> bool:
        """Whether an annotation queue has the subject, done or not."""
        return self._loop.call(is_queued(self._wire, queue_id, subject))

    def queue_items(self, queue_id: str) -> list[QueueItem]:
        """Return all that stands in an annotation queue, done or not."""
        return self._loop.call(queue_items(self._wire, queue_id))

    def make_queue(self, name: str, description: str, config: Mapping[str, Any]) -> str:
        """Make an annotation queue for the score of a config, and that too where it is missing; return its id.

        Raises:
            Refused: this Langfuse makes none, or another one is called so.
        """
        return self._loop.call(make_queue(self._wire, name, description, config))

    def enqueue(self, queue_id: str, subject: Subject) -> None:
        """Put a subject into an annotation queue, which takes the same one twice."""
        self._loop.call(enqueue(self._wire, queue_id, subject))

    def put_item(self, dataset: str, item_id: str, subject: Subject, shown: Any, metadata: Mapping[str, Any]) -> None:
        """Put what was shown to the application into a dataset; the same `item_id` again replaces the item."""
        self._loop.call(put_item(self._wire, dataset, item_id, subject, shown, metadata))

    def put_dataset(self, name: str, description: str) -> None:
        """Make a dataset; one of that name stays, with what is in it."""
        self._loop.call(put_dataset(self._wire, name, description))

    def archive_item(self, dataset: str, item_id: str) -> None:
        """Archive an item of a dataset: it stays to be read, and counts no more."""
        self._loop.call(archive_item(self._wire, dataset, item_id))

    def dataset_items(self, dataset: str) -> list[DatasetItem]:
        """Return the items of a dataset that are not archived, each once.

        Raises:
            Refused: there is no such dataset.
        """
        return self._loop.call(dataset_items(self._wire, dataset))

    def prompt(self, source: PromptSource) -> ManagedPrompt:
        """Return a version of a text prompt; waits some seconds at most."""
        return self._loop.call(read_prompt(self._wire, source))

    def trace_url(self, trace_id: str) -> str:
        """Return where a person reads a trace."""
        return f"{self._wire.base_url}/project/{self.capabilities().project_id}/traces/{quote(trace_id, safe='')}"

    def session_url(self, session_id: str) -> str:
        """Return where a person reads a session."""
        return f"{self._wire.base_url}/project/{self.capabilities().project_id}/sessions/{quote(session_id, safe='')}"

    def score_url(self, score: RecordedScore) -> str:
        """Return where a person reads what a score is about."""
        return self.session_url(score.session_id or "") if score.trace_id is None else self.trace_url(score.trace_id)

    def queue_url(self, queue_id: str) -> str:
        """Return where people work through an annotation queue."""
        project = self.capabilities().project_id
        return f"{self._wire.base_url}/project/{project}/annotation-queues/{quote(queue_id, safe='')}"

    def prompt_url(self, name: str) -> str:
        """Return where a person reads a prompt of Langfuse's prompt management."""
        return f"{self._wire.base_url}/project/{self.capabilities().project_id}/prompts/{quote(name, safe='')}"

    def scores_url(self) -> str:
        """Return where a person reads all scores of the project."""
        return f"{self._wire.base_url}/project/{self.capabilities().project_id}/scores"

    async def attachment(self, media_id: str) -> Attachment:
        """Return an image or file that a trace refers to, for whoever runs on the same event loop.

        One that cannot be shown says why.

        Raises:
            Unavailable: Langfuse or its storage does not answer now.
        """
        return await self._media.read(media_id)

    def close(self) -> None:
        """Close the connections."""
        self._loop.call(self._media.close())
        self._loop.call(self._wire.close())

    async def _fetch(self, refs: Sequence[TraceRef]) -> list[Trace | TooWide | None]:
        found = await whole_traces(self._wire, list({ref.id: ref for ref in refs}.values()), self._rows)
        return [found.get(ref.id) for ref in refs]

    async def _write(self, scores: Sequence[Score]) -> list[EvaluatorError | None]:
        if self._writer is None:
            batches = self._capabilities is None or self._capabilities.batch_scores
            self._writer = Writer(self._wire, batches=batches)
        return await self._writer.write(scores)

    def _drawn(self, pages: AsyncIterator[Page]) -> Iterator[Page]:
        """Draw pages from the event loop one at a time: nothing is read ahead of who reads it."""
        while True:
            with _refusing("even one second"):
                page = self._loop.call(_next(pages))
            if page is None:
                return
            yield page[0]


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except TooWide as error:
        raise _refusal(what, error) from error


def _refusal(what: str, error: TooWide) -> Refused:
    """Return what reading in the smallest parts came to: too many bytes stay too many, resources may be there later."""
    kind = Refused if isinstance(error, TooLong) else Overtaxed
    return kind(f"{what} is more than Langfuse can read: {error}")


async def _next(pages: AsyncIterator[Page]) -> tuple[Page] | None:
    try:
        return (await anext(pages),)
    except StopAsyncIteration:
        return None
