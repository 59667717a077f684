from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from monitors import Expected, Marks, MonitorSpec, Snooze, marks
from tests.weeks import NOW

DAY = timedelta(days=1)


def test_the_longest_snooze_and_the_newest_change_that_has_come_count() -> None:
    snoozes = [Snooze(until=NOW - DAY), Snooze(until=NOW + DAY, why="a"), Snooze(until=NOW + 2 * DAY, why="b")]
    changes = [Expected(at=NOW - 9 * DAY), Expected(at=NOW - DAY, why="shorter"), Expected(at=NOW + DAY)]
    assert marks(snoozes, changes, NOW) == Marks(NOW + 2 * DAY, NOW - DAY, "b", "shorter")
    assert marks(snoozes[:1], changes[2:], NOW) == marks([], [], NOW) == Marks()


@pytest.mark.parametrize("written", ["2026-12-01", "2026-12-01T00:00", "2026-12-01T01:00+01:00"])
def test_a_monitor_names_them_as_people_write_dates(written: str) -> None:
    spec = MonitorSpec.model_validate(
        {"score": "s", "expected": [{"at": written, "why": "version 5"}], "snooze": {"until": written}}
    )
    assert spec.expected[0].at == datetime(2026, 12, 1, tzinfo=UTC)
    assert spec.snooze == Snooze(until=datetime(2026, 12, 1, tzinfo=UTC))


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(ValidationError, match="valid datetime"):
        Snooze.model_validate({"until": "next week"})
