"""What was sent to models for one question: each request with its reply, its time, and what came of it.

A call is several functions below the question it is for. Which one that is stands in the context of its task, as
tracing libraries keep it: what is between need not hand it on, and where nobody keeps a journal it costs one look.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from judges import PartPrompt, Prompt, Reply

UNREADABLE: Final = "it could not be read, and was asked for once more"
"""Why an answer that was repaired is of no use."""


@dataclass(slots=True)
class Sent:
    """One request to a model.

    Attributes:
        prompt: what was sent.
        model: what its server calls the model.
        opinion: for which of the opinions on the question, from 0; the one it escalates to is the last.
        began: when it was sent, in seconds of the event loop's clock.
        ended: when its answer or refusal was there; None while it is on its way, and when it was broken off.
        reply: the answer; None when there is none.
        is_lost: whether its opinion came to nothing with it.
        failed: why there is none, or why it is of no use, in no words of the server's or the answer's; else empty.
    """

    prompt: Prompt
    model: str
    opinion: int
    began: float
    ended: float | None = None
    reply: Reply | None = None
    failed: str = "broken off"
    is_lost: bool = False

    def lasted(self, now: float) -> float:
        """Note that it ended; return how many seconds it took."""
        self.ended = now
        return now - self.began


Journal = list[Sent]
"""All that was sent for a question, in the order it was."""


@dataclass(slots=True)
class _Page:
    journal: Journal
    opinion: int = 0
    last: Sent | None = None


_page: ContextVar[_Page | None] = ContextVar("journal", default=None)


def write_in(journal: Journal | None) -> None:
    """Note in `journal` what this task sends from now on, and those it starts; with None nothing is noted."""
    _page.set(None if journal is None else _Page(journal))


def begin_opinion(place: int) -> None:
    """Say for which opinion this task sends from now on."""
    page = _page.get()
    if page is not None:
        _page.set(_Page(page.journal, place))


def sending(prompt: Prompt, model: str, now: float) -> Sent:
    """Note that a prompt is being sent, where somebody keeps a journal; what comes of it is set on what is returned."""
    page = _page.get()
    sent = Sent(prompt, model, 0 if page is None else page.opinion, now)
    if page is not None:
        page.journal.append(sent)
        page.last = sent
    return sent


def of_no_use(why: str, *, is_lost: bool = False) -> None:
    """Say why the answer that came last could not be used, and whether its opinion came to nothing with it."""
    page = _page.get()
    if page is not None and page.last is not None:
        page.last.failed, page.last.is_lost = why, is_lost


def titled(sent: Sent, journal: Journal) -> str:
    """Return what a call is called among those of its question: its model, and how it differs from the others."""
    several = len({each.opinion for each in journal}) > 1
    attempt = attempt_of(sent, journal)
    of = [f"opinion {sent.opinion + 1}"] if several else []
    of += [f"part {len(sent.prompt.notes) + 1}"] if isinstance(sent.prompt, PartPrompt) else []
    of += ["repair"] if sent.prompt.repair else []
    of += [f"attempt {attempt}"] if attempt > 1 else []
    return ", ".join([sent.prompt.model, *of])


def attempt_of(sent: Sent, journal: Journal) -> int:
    """Return how often a prompt had been sent, this call included."""
    same = [each for each in journal if each.prompt is sent.prompt]
    return 1 + next(at for at, each in enumerate(same) if each is sent)
