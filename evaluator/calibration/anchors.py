"""The anchors of a rubric: scored traces, frozen as items of a dataset of Langfuse, to be judged again and again.

The dataset `evaluator-anchors/RUBRIC` is where they are kept; nothing of them is in Redis but ids, weights and values.
Ids of items follow from what they are of, so to make them twice makes them once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple, Protocol

import orjson
import structlog

from evaluator.calibration.evidence import counts, evidence, is_ours
from evaluator.clock import Clock
from evaluator.definitions import Evaluator
from evaluator.errors import Refused
from evaluator.langfuse import Capabilities, DatasetItem, SessionRoots, Window
from judges import Anchors, BooleanScale, NumericScale, Rubric
from monitors.anchors import Candidate, chosen
from monitors.drift import Anchor
from traces import (
    NotApplicable,
    RecordedScore,
    Session,
    Subject,
    Trace,
    TraceRef,
    TraceRoot,
    frozen,
    score_id,
    thawed,
)

FROM: Final = timedelta(days=28)
"""How old what becomes an anchor may be."""

_BEFORE: Final = timedelta(days=2)
"""How long before its score a trace may have started."""

_SESSION_BEFORE: Final = timedelta(days=30)
_MOST_TRACES: Final = 50
_AHEAD: Final = timedelta(minutes=1)
_LARGEST: Final = 400_000
"""Bytes of a frozen trace: ten of them are read at once, and Langfuse answers with 5 MB at most."""

_NO_TEXT: Final = "it holds what is no text"
_LEVELS: Final = 5
_LOTS: Final = 20
_SEGMENTS: Final = ("prompt_version", "trace_name", "model")

_log = structlog.get_logger(__name__)


class AnchorStore(Protocol):
    """What is needed of Langfuse."""

    def capabilities(self) -> Capabilities:
        """Return the project."""

    def scores(self, window: Window, *, names: Sequence[str] = ()) -> Iterator[list[RecordedScore]]:
        """Return the scores of a window in pages, each once."""

    def roots(self, trace_ids: Sequence[str], window: Window) -> dict[str, TraceRoot]:
        """Return the roots of traces that started in a window."""

    def session_roots(self, since: Mapping[str, Any], *, most: int) -> dict[str, SessionRoots]:
        """Return the newest roots of sessions, of those that started from the given time on."""

    def fetch(self, refs: Sequence[TraceRef]) -> dict[str, Trace]:
        """Return whole traces by id."""

    def put_dataset(self, name: str, description: str) -> None:
        """Make a dataset; one of that name stays."""

    def put_item(self, dataset: str, item_id: str, subject: Subject, shown: Any, metadata: Mapping[str, Any]) -> None:
        """Put an item into a dataset, or replace it."""

    def archive_item(self, dataset: str, item_id: str) -> None:
        """Archive an item of a dataset."""

    def dataset_items(self, dataset: str) -> list[DatasetItem]:
        """Return the items of a dataset that are not archived."""


@dataclass(frozen=True, slots=True)
class Item:
    """An anchor as it is kept: what is judged, what it is of, and how much it stands for.

    `level` is its part of the scale when it was chosen, `share` the share of the traffic that had this level.
    """

    id: str
    material: Trace | Session
    subject: Subject
    level: int
    share: float
    session: str


class Made(NamedTuple):
    """How many anchors were made, and why scored traces did not become one."""

    items: int
    left_out: Counter[str]


def dataset_of(name: str) -> str:
    """Return the name of the dataset that holds a rubric's anchors."""
    return f"evaluator-anchors/{name}"


def weighted(items: Sequence[Item]) -> dict[str, Anchor]:
    """Return how much each anchor counts: the share of its level, divided by how many anchors that level has.

    Anchors that were added later know the traffic of later: the share of a level is the mean of what its anchors say.
    """
    shares: dict[int, list[float]] = {}
    for item in items:
        shares.setdefault(item.level, []).append(item.share)
    means = {level: sum(known) / len(known) for level, known in shares.items()}
    total = sum(means.values())
    return {
        item.id: Anchor(means[item.level] / total / len(shares[item.level]) * len(items), item.session)
        for item in items
    }


class AnchorSets:
    """Makes and reads the anchors of rubrics. Every method raises `Unavailable` when Langfuse does not answer."""

    def __init__(self, langfuse: AnchorStore, clock: Clock) -> None:
        self._langfuse = langfuse
        self._clock = clock

    def read(self, name: str) -> list[Item]:
        """Return the anchors of a rubric; what cannot be read any more is left out, and said."""
        try:
            held = self._langfuse.dataset_items(dataset_of(name))
        except Refused:  # there is no such dataset
            return []
        items = []
        for each in held:
            try:
                items.append(_read(each))
            except (ValueError, KeyError, TypeError) as error:
                _log.warning("an anchor cannot be read", rubric=name, item=each.id, reason=type(error).__name__)
        return items

    def make(self, evaluator: Evaluator, wanted: Anchors, *, anew: bool = False) -> Made:
        """Make what is missing of a rubric's anchors from its scores of the last four weeks.

        Args:
            evaluator: the rubric.
            wanted: how many.
            anew: archive those there are, and choose all again.

        Raises:
            Unavailable, Refused: Langfuse.
        """
        name, rubric = evaluator.name, evaluator.rubric
        if rubric is None:
            raise ValueError(f"{name} is no rubric")
        place = dataset_of(name)
        self._langfuse.put_dataset(place, f"Frozen traces that show whether the judge {name} moves. Made by evaluator.")
        there = self.read(name)
        for each in there if anew else ():
            self._langfuse.archive_item(place, each.id)
        left_out: Counter[str] = Counter()
        kept = [] if anew else there
        known, sessions = {str(each.subject) for each in kept}, Counter(each.session for each in kept)
        scores = {score.id: score for score in self._scored(name) if str(_subject(score)) not in known}
        missing = wanted.size - len(known)
        made = 0
        tried: set[str] = set()
        while made < missing and len(tried) < len(scores):
            candidates = [_candidate(score, rubric, self._salt(anew)) for i, score in scores.items() if i not in tried]
            picked = chosen(candidates, missing - made, sessions)
            if not picked:
                break
            tried.update(picked)
            new = self._freeze(place, rubric, [(scores[i], share) for i, share in picked.items()], left_out)
            sessions.update(new)
            made += len(new)
        return Made(made, left_out)

    def _salt(self, anew: bool) -> str:
        return f"{self._clock.now():%Y-%m-%d}" if anew else ""

    def _scored(self, name: str) -> Iterator[RecordedScore]:
        now = self._clock.now()
        for page in self._langfuse.scores(Window(now - FROM, now + _AHEAD), names=[name]):
            yield from (s for s in page if is_ours(s) and counts(s) and not isinstance(s.value, str))

    def _freeze(
        self, place: str, rubric: Rubric, picked: Sequence[tuple[RecordedScore, float]], left_out: Counter[str]
    ) -> list[str]:
        """Make anchors of scores with the share of their level; return the session of each that was made."""
        project = self._langfuse.capabilities().project_id
        made: list[str] = []
        for lot in (picked[start : start + _LOTS] for start in range(0, len(picked), _LOTS)):
            materials = self._materials([score for score, _ in lot])
            for score, share in lot:
                subject, material = _subject(score), materials.get(score.id)
                why = "Langfuse does not show it any more" if material is None else _unfit(rubric, material)
                if material is None or why:
                    left_out[why] += 1
                    continue
                metadata: dict[str, Any] = {
                    **{key: value for key, value in _ids(subject).items() if value is not None},
                    "level": _level(score, rubric),
                    "share": share,
                    "session": evidence(score, 0.0, None).session,
                    "score": score.value,
                    "chosen": self._clock.now().isoformat(),
                }
                try:
                    item_id = score_id(project, subject, place)
                    self._langfuse.put_item(place, item_id, subject, frozen(material), metadata)
                    made.append(metadata["session"])
                except Refused as error:
                    left_out[f"Langfuse refuses it: {error}"] += 1
        return made

    def _materials(self, scores: Sequence[RecordedScore]) -> dict[str, Trace | Session]:
        """Return what scores are about, by the id of the score, as far as Langfuse shows it."""
        first, last = (extreme(score.timestamp for score in scores) for extreme in (min, max))
        ids = sorted({score.trace_id for score in scores if score.trace_id})
        roots = self._langfuse.roots(ids, Window(first - _BEFORE, last + _BEFORE)) if ids else {}
        since = {
            score.session_id: first - _SESSION_BEFORE for score in scores if score.session_id and not score.trace_id
        }
        sessions = self._langfuse.session_roots(since, most=_MOST_TRACES) if since else {}
        refs = [root.ref for root in roots.values()]
        refs += [root.ref for known in sessions.values() for root in known.roots]
        traces = self._langfuse.fetch(refs) if refs else {}
        found: dict[str, Trace | Session] = {}
        for score in scores:
            material = _material(score, traces, sessions)
            if material is not None:
                found[score.id] = material
        return found


def _material(
    score: RecordedScore, traces: Mapping[str, Trace], sessions: Mapping[str, SessionRoots]
) -> Trace | Session | None:
    if score.trace_id is None:
        known = sessions.get(score.session_id or "")
        whole = tuple(traces[root.ref.id] for root in known.roots if root.ref.id in traces) if known else ()
        return Session(score.session_id or "", whole, known.more) if known and whole else None
    trace = traces.get(score.trace_id)
    if trace is None or score.observation_id is None:
        return trace
    return next((trace.at(step) for step in trace.observations if step.id == score.observation_id), None)


def _unfit(rubric: Rubric, material: Trace | Session) -> str:
    """Return why something is no anchor; empty when it is."""
    question = rubric.question(material)
    if isinstance(question, NotApplicable):
        return f"there is nothing to judge: {question.reason}"
    try:
        text = orjson.dumps(frozen(material))
    except (TypeError, ValueError):
        return _NO_TEXT
    # Postgres, where Langfuse keeps items, has no NUL in JSON.
    return _NO_TEXT if rb"\u0000" in text else "it is too large" if len(text) > _LARGEST else ""


def _candidate(score: RecordedScore, rubric: Rubric, salt: str) -> Candidate:
    known = evidence(score, 0.0, None)
    drawn = hashlib.blake2b(f"{salt}:{score.id}".encode(), digest_size=8).digest()
    segment = "/".join(known.segments.get(each, "") for each in _SEGMENTS)
    place = int.from_bytes(drawn) / 2**64
    return Candidate(score.id, _level(score, rubric), segment, known.session, known.weight, place)


def _level(score: RecordedScore, rubric: Rubric) -> int:
    """Return which fifth of its scale a score lies in."""
    low, high = scale_of(rubric)
    part = (float(score.value) - low) / (high - low)
    return min(max(int(part * _LEVELS), 0), _LEVELS - 1)


def scale_of(rubric: Rubric) -> tuple[float, float]:
    """Return the lowest and the highest value that a rubric gives."""
    scale = rubric.spec.score
    return (scale.min, scale.max) if isinstance(scale, NumericScale) else (0.0, 1.0)


def is_pass_rate(rubric: Rubric) -> bool:
    """Whether the mean of a rubric's values is the share of yes."""
    return isinstance(rubric.spec.score, BooleanScale)


def _subject(score: RecordedScore) -> Subject:
    if score.trace_id is None:
        return Subject(session_id=score.session_id)
    return Subject(score.trace_id, score.observation_id)


def _ids(subject: Subject) -> dict[str, str | None]:
    return {name: getattr(subject, name) for name in ("trace_id", "observation_id", "session_id")}


def _read(item: DatasetItem) -> Item:
    known = item.metadata
    subject = Subject(known.get("trace_id"), known.get("observation_id"), known.get("session_id"))
    share = float(known["share"])
    if not 0 < share <= 1:
        raise ValueError(f"{share:g} is no share")
    return Item(item.id, thawed(item.input), subject, int(known["level"]), share, str(known["session"]))


def left_out_in_words(left_out: Mapping[str, int]) -> Iterable[str]:
    """Give why scored traces did not become anchors, the most frequent reason first."""
    return (f"{number:,}: {why}" for why, number in Counter(left_out).most_common())
