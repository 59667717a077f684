"""How often a drained sweep looks at a provider's batches: soon after one can have ended, and not much else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from evaluator.service import Looks


def looked_at(looks: Looks, start: float, until: float, left: int = 20) -> Iterator[float]:
    """Give when it looks while nothing changes."""
    now = start
    while now < until:
        if looks.is_due(now):
            yield now
            looks.looked(now, left)
        now += 0.05


@pytest.mark.parametrize("took", [1.0, 10.0, 60.0, 250.0])
def test_a_batch_is_noticed_within_a_tenth_of_the_time_that_it_took(took: float) -> None:
    times = list(looked_at(Looks(0.0), 0.0, 2 * took + 5))
    noticed = next(at for at in times if at >= took)
    assert noticed - took <= max(0.5, 0.1 * took) + 0.1


def test_a_provider_that_takes_a_day_is_not_asked_more_often_than_the_scheduler_asks_it() -> None:
    times = list(looked_at(Looks(0.0), 0.0, 3600.0))
    apart = [round(after - before) for before, after in pairwise(times)]
    assert set(apart[-80:]) == {30}
    assert len(times) < 3600 / 30 + 60


def test_when_something_was_done_it_looks_at_once_and_often_again() -> None:
    looks = Looks(0.0)
    assert len(list(looked_at(looks, 0.0, 1000.0))) > 50
    looks.worked(1000.0)  # the replies of a batch, whose jobs are done: what they left is sent now
    assert looks.is_due(1000.0)
    assert len(list(looked_at(looks, 1000.0, 1003.0))) > 4
    list(looked_at(looks, 1003.0, 2000.0))
    looks.looked(2000.0, 5)  # some of it has ended
    assert looks.is_due(2000.6)
    looks.looked(2001.0, None)  # a look that failed says nothing
    assert not looks.is_due(2001.2)
