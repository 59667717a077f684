from __future__ import annotations

import pytest
from pydantic import ValidationError

from rules.base import LONGEST_REASON
from rules.hygiene import ErrorLevel, HasSessionId, HasUserId
from tests.building import step, tool, trace
from traces import Verdict


class TestErrorLevel:
    def test_no_error_passes(self) -> None:
        assert ErrorLevel().check(trace(step())) == Verdict(True, "none of 2 steps at ERROR")

    def test_a_warning_is_no_error_unless_asked(self) -> None:
        built = trace(step("slow", level="WARNING", status_message="took long"))
        assert ErrorLevel().check(built).value is True
        assert ErrorLevel(level="WARNING").check(built) == Verdict(
            False, "1 of 2 steps at ERROR or WARNING: SPAN 'slow': 'took long'"
        )

    def test_an_error_counts_as_a_warning_too(self) -> None:
        assert ErrorLevel(level="WARNING").check(trace(step(level="ERROR"))).value is False

    def test_the_root_counts(self) -> None:
        found = ErrorLevel().check(trace(root_level="ERROR", root_status_message="gave up"))
        assert found == Verdict(False, "1 of 1 step at ERROR: SPAN 'root': 'gave up'")

    def test_three_are_described_and_all_are_counted(self) -> None:
        steps = [tool(f"tool{number}", level="ERROR", status_message="timeout") for number in range(5)]
        found = ErrorLevel().check(trace(*steps))
        assert found.reason == (
            "5 of 6 steps at ERROR: TOOL 'tool0': 'timeout'; TOOL 'tool1': 'timeout'; TOOL 'tool2': 'timeout'"
        )

    def test_no_message_is_said(self) -> None:
        assert ErrorLevel().check(trace(step(level="ERROR"))).reason.endswith("SPAN 'step': no message")

    def test_long_names_and_messages_are_cut(self) -> None:
        steps = [step("n" * 500, id=str(i), level="ERROR", status_message="Traceback:\n" * 500) for i in range(9)]
        found = ErrorLevel().check(trace(*steps))
        assert len(found.reason) <= LONGEST_REASON
        assert "\n" not in found.reason

    def test_levels_unknown_to_us_are_no_errors(self) -> None:
        assert ErrorLevel(level="WARNING").check(trace(step(level="FATAL"))).value is True

    @pytest.mark.parametrize("level", ["error", "DEBUG", None])
    def test_other_levels_are_refused(self, level: object) -> None:
        with pytest.raises(ValidationError):
            ErrorLevel.model_validate({"level": level})


@pytest.mark.parametrize("value", [None, "", "  \t"])
def test_a_missing_id_fails(value: str | None) -> None:
    assert HasUserId().check(trace(user_id=value)) == Verdict(False, "the trace has no user id")
    assert HasSessionId().check(trace(session_id=value)) == Verdict(False, "the trace has no session id")


def test_an_id_passes_and_is_not_repeated() -> None:
    built = trace(user_id="ada@example.com", session_id="s-1")
    assert HasUserId().check(built) == Verdict(True, "user id present")
    assert HasSessionId().check(built) == Verdict(True, "session id present")


def test_one_id_is_not_the_other() -> None:
    assert HasUserId().check(trace(session_id="s")).value is False
    assert HasSessionId().check(trace(user_id="u")).value is False
