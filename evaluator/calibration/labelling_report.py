"""What `evaluator label` proposes and how far the labels have come, for people at a terminal and for scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluator.calibration.labelling import Asked, Board, Tally
from evaluator.calibration.report import corrected_of, worded
from evaluator.calibration.weekly import spanned
from evaluator.messages.words import percent
from evaluator.telemetry.logs import spelled_out
from judges.calibration import Figure
from judges.teaching import Why, more_labels
from monitors.correction import Corrected
from traces import RecordedScore

_STRATA: Final = 6


def show(board: Board, width: float, out: Console, *, proposals: bool) -> None:
    """Print how many labels are there and how far the intervals shrank, and with `proposals` whom to ask about next.

    Args:
        board: where the labelling stands.
        width: how wide the interval of kappa may be.
        out: where to.
        proposals: whether those are told.
    """
    _progress(board, width, out)
    if proposals:
        out.print()
        _proposals(board, out)


def _progress(board: Board, width: float, out: Console) -> None:
    name, queue = board.rubric.name, board.queue
    if queue is None:
        out.print(f"{name} against {board.against}: nobody was asked yet", highlight=False, markup=False)
        return
    done = board.drawn.done + board.chosen.done
    out.print(
        f'{name} against {board.against}: {len(queue.items):,} in the queue "{spelled_out(queue.name)}" '
        f"since {queue.began:%d %b %Y}, {done:,} labelled, {len(queue.items) - done:,} open",
        highlight=False,
        markup=False,
    )
    out.print(_tallies(board))
    for line in (kappa_line(board, width), mean_line(board)):
        if line:
            out.print(line, highlight=False, markup=False)


def _proposals(board: Board, out: Console) -> None:
    if not board.proposals:
        out.print(f"nothing to ask: {board.scored:,} were scored in that time, and all are in the queue or labelled")
        return
    out.print(_strata(board))
    out.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("judge", "why its label teaches", "trace"):
        table.add_column(title)
    for each in board.proposals:
        cells = (worded(each.score.value), reason(each), each.proposal.candidate.id)
        table.add_row(*(Text(spelled_out(cell)) for cell in cells))
    out.print(table)


def reason(asked: Asked) -> str:
    """Return why a label is asked for, in words."""
    stratum, doubt = asked.proposal.candidate.stratum, asked.proposal.candidate.doubt
    match asked.proposal.why:
        case Why.DRAWN:
            return "drawn at random"
        case Why.DOUBT if len(set(map(str, asked.opinions))) > 1:
            return f"the opinions differ: {', '.join(worded(each) for each in asked.opinions)}"
        case Why.DOUBT:
            return f"confidence {1 - doubt:.2f}"
    about = f" of {stratum.segment}" if stratum.segment else ""
    return f'{asked.known.labelled:,} of {asked.known.scored:,} that got "{stratum.level}"{about} are labelled'


def kappa_line(board: Board, width: float) -> str:
    """Return how far the interval of the headline figure shrank, and how many labels more it needs."""
    found, (before, now) = board.now.found, board.figures
    if found is None or now is None:
        return "no figure yet: it needs labels, and a judge and people who do not say the same of everything"
    said = f"{found.headline} {spanned(now)} by {found.n:,} drawn or given unasked"
    if not (wide := _width(now)):
        return f"{said}; its interval needs more labels, or some that differ"
    was = None if before is None else _width(before)
    shrank = "" if was is None else f", {was:.2f} when the labelling began"
    more = more_labels(found.n, wide, width)
    wished = "narrow enough" if not more else f"about {more:,} more drawn at random make it {width:.2f}"
    return f"{said}: {wide:.2f} wide{shrank}; {wished}"


def mean_line(board: Board) -> str:
    """Return what people would make of the last seven days, and how far that interval shrank."""
    said, made = corrected_of(board.now), board.now.corrected
    if made is None:
        return said
    before = None if board.before is None else board.before.corrected
    was = "" if before is None else f", {_wide(before):.3g} when the labelling began"
    half = more_labels(made.labels, _wide(made), _wide(made) / 2) if _wide(made) > 0 else 0
    return f"{said}: {_wide(made):.3g} wide{was}; about {half:,} more labels of such halve it"


def _wide(made: Corrected) -> float:
    return made.high - made.low


def _width(figure: Figure) -> float | None:
    return None if figure.low is None or figure.high is None else figure.high - figure.low


def _tallies(board: Board) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("", "asked", "labelled", "people differ"):
        table.add_column(title, justify="right" if title else "left")
    for name, tally in (("drawn at random", board.drawn), ("chosen", board.chosen)):
        share = f" ({percent(tally.apart / tally.done)})" if tally.done else ""
        table.add_row(name, f"{tally.asked:,}", f"{tally.done:,}", f"{tally.apart:,}{share}")
    return table


def _strata(board: Board) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("judge", "segment", "scored", "labelled", "asked", "judge is off by, 95 %"):
        table.add_column(title, justify="left" if title in {"judge", "segment"} else "right")
    for stratum, known in board.strata[:_STRATA]:
        low, high = known.interval
        cells = (f"{known.scored:,}", f"{known.labelled:,}", f"{known.waiting:,}", f"{percent(low)} to {percent(high)}")
        table.add_row(Text(spelled_out(stratum.level)), Text(spelled_out(stratum.segment)), *cells)
    return table


def as_json(board: Board, width: float, url: Callable[[RecordedScore], str]) -> dict[str, Any]:
    """Return everything as plain JSON; `url` tells where a person reads a subject."""
    before, now = board.figures
    wide = None if now is None else _width(now)
    found, queue = board.now.found, board.queue
    corrected = (None if board.before is None else board.before.corrected, board.now.corrected)
    return {
        "rubric": board.rubric.name,
        "against": board.against,
        "queue": None if queue is None else queue.name,
        "began": None if queue is None or queue.began is None else queue.began.isoformat(),
        "drawn": _tally(board.drawn),
        "chosen": _tally(board.chosen),
        "draws": [] if queue is None else [[draw.at.isoformat(), draw.below] for draw in queue.draws],
        "measure": None if found is None else found.headline,
        "figure": [None if each is None else list(each) for each in (before, now)],
        "corrected": [None if each is None else each._asdict() for each in corrected],
        "more_labels": None if found is None or not wide else more_labels(found.n, wide, width),
        "scored": board.scored,
        "strata": [
            {**stratum._asdict(), "scored": known.scored, "labelled": known.labelled, "asked": known.waiting}
            for stratum, known in board.strata
        ],
        "proposals": [_proposal(each, url) for each in board.proposals],
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {"asked": tally.asked, "labelled": tally.done, "differ": tally.apart}


def _proposal(each: Asked, url: Callable[[RecordedScore], str]) -> dict[str, Any]:
    score = each.score
    return {
        "trace_id": score.trace_id,
        "observation_id": score.observation_id,
        "session_id": score.session_id,
        "url": url(score),
        "value": score.value,
        "why": str(each.proposal.why),
        "reason": reason(each),
    }
