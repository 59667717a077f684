"""How this Langfuse is set up: its version, limits, delays and the ways its storage shows through."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(slots=True)
class Behaviour:
    """Settings of the stand-in; every field may be changed while serving.

    Attributes:
        version: What /health reports. Below 4.59 POST /scores takes one object only; below 4 there are no v4 reads.
        requests_per_minute: Limit of the General API bucket a window; None is unlimited, as when self-hosted.
        ingestion_per_minute: The same for OTLP and /ingestion.
        metrics_per_day: The same for v2/metrics, whose window is a day long whatever `window_seconds` says.
        window_seconds: Length of a rate limit window.
        visible_after: Seconds until ingested observations can be read.
        scores_visible_after: Seconds until accepted scores can be read.
        late: Probability that a span becomes visible `late_seconds` later than others.
        late_seconds: How much later.
        duplicates: Probability that a span comes with an unmerged older version of its row.
        far_duplicates: Share of these older versions whose start time differs by up to 30 s, so they meet the reader
            on another page. The others have the same key as the newest.
        shuffled: Probability that the rows of a page of observations come in no order; its cursor stays right.
        stale: Probability that a page is answered by a replica that is `stale_seconds` behind.
        stale_seconds: How far behind.
        rejected: Share of the scores, told by their ids, that are rejected: 207 in a batch, 400 alone.
        most_rows: A query that would scan more rows answers 422; None never does.
        seed: Of the generator behind the probabilities.
    """

    version: str = "4.60.0"
    requests_per_minute: int | None = None
    ingestion_per_minute: int | None = None
    metrics_per_day: int | None = None
    window_seconds: float = 60.0
    visible_after: float = 0.0
    scores_visible_after: float = 0.0
    late: float = 0.0
    late_seconds: float = 0.0
    duplicates: float = 0.0
    far_duplicates: float = 0.5
    shuffled: float = 0.0
    stale: float = 0.0
    stale_seconds: float = 0.0
    rejected: float = 0.0
    most_rows: int | None = None
    seed: int = 0

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor number of `version`."""
        major, minor, *_ = (*self.version.split("."), "0")
        return int(major), int(minor)

    @property
    def has_v4_reads(self) -> bool:
        """Whether v2/observations exists."""
        return self.release >= (4, 0)

    @property
    def batches_scores(self) -> bool:
        """Whether POST /scores takes an array and keeps the timestamp sent."""
        return self.release >= (4, 59)

    @property
    def model_key(self) -> str:
        """The name under which a row gives its model."""
        return "model" if self.batches_scores else "providedModelName"

    def change(self, values: Mapping[str, Any]) -> None:
        """Set fields by name.

        Raises:
            ValueError: A name is unknown, or a value is no number (or no version).
        """
        defaults = {field.name: field.default for field in fields(self)}
        for name, value in values.items():
            if name not in defaults:
                raise ValueError(f"no behaviour is called {name!r}; known: {', '.join(sorted(defaults))}")
            if not _fits(value, defaults[name]):
                raise ValueError(f"{name} cannot be {value!r}; the default is {defaults[name]!r}")
        for name, value in values.items():
            setattr(self, name, value)


def _fits(value: object, default: object) -> bool:
    if isinstance(default, str):
        return isinstance(value, str) and re.fullmatch(r"\d+\.\d+(\.\S+)?", value) is not None
    if value is None:
        return default is None
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
