from __future__ import annotations

import pytest
from pydantic import ValidationError

from rules.base import LONGEST_REASON
from rules.hygiene import (
    ErrorLevel,
    HasPromptVersion,
    HasRelease,
    HasSessionId,
    HasTraceName,
    HasUserId,
    NoOrphans,
    SteadyClock,
)
from tests.building import step, tool, trace
from traces import NotApplicable, Verdict


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


@pytest.mark.parametrize("value", ["", "  \t"])
def test_a_missing_name_fails(value: str) -> None:
    assert HasTraceName().check(trace(name=value)) == Verdict(False, "the trace has no name")
    assert HasTraceName().check(trace(name="chat")) == Verdict(True, "trace name present")


@pytest.mark.parametrize(
    ("release", "version", "has"), [(None, None, False), (" ", "", False), ("1.4", None, True), (None, "2", True)]
)
def test_a_release_or_a_version_is_enough(release: str | None, version: str | None, has: bool) -> None:
    assert HasRelease().check(trace(release=release, version=version)).value is has


class TestHasPromptVersion:
    def linked(self, *versions: int | None, **fields: bool) -> Verdict | NotApplicable:
        steps = [
            step("chat", id=str(n), type="GENERATION", prompt_name="p" if version else None, prompt_version=version)
            for n, version in enumerate(versions)
        ]
        return HasPromptVersion(**fields).check(trace(*steps))

    def test_one_of_them_is_enough_unless_every_is_asked(self) -> None:
        assert self.linked(3, None) == Verdict(True, "1 of 2 model calls linked to a prompt")
        assert self.linked(3, None, every=True) == Verdict(False, "1 of 2 model calls linked to a prompt")
        assert self.linked(3, 4, every=True) == Verdict(True, "2 of 2 model calls linked to a prompt")

    def test_none_fails(self) -> None:
        assert self.linked(None) == Verdict(False, "0 of 1 model call linked to a prompt")

    def test_without_model_calls_there_is_nothing_to_say(self) -> None:
        assert self.linked() == NotApplicable("no model calls")


class TestNoOrphans:
    def test_a_whole_tree_passes(self) -> None:
        assert NoOrphans().check(trace(step("a"), step("b", parent="a"))).value is True

    def test_a_missing_parent_fails(self) -> None:
        found = NoOrphans().check(trace(step("a"), step("b", parent="lost")))
        assert found == Verdict(False, "1 of 2 steps without the parent they name: SPAN 'b'", details={"measured": 1})

    def test_the_roots_own_parent_may_be_elsewhere(self) -> None:
        assert NoOrphans().check(trace(step("a"), root_parent="another service")).value is True

    def test_a_second_top_is_no_orphan(self) -> None:
        assert NoOrphans().check(trace(step("a", parent=None))).value is True

    def test_many_are_counted_and_three_named(self) -> None:
        found = NoOrphans().check(trace(*(step("x" * 500, id=str(n), parent="lost") for n in range(3000))))
        assert found.reason.startswith("3000 of 3,000 steps")
        assert len(found.reason) <= LONGEST_REASON


class TestSteadyClock:
    @pytest.mark.parametrize(
        ("at", "took", "said"),
        [
            (0, -1, "ends 1.00 s before it starts"),
            (-2, 1, "starts 2.00 s before its parent"),
            (12, 1, "starts 2.00 s after its parent ended"),
        ],
    )
    def test_times_that_cannot_be_fail(self, at: float, took: float, said: str) -> None:
        found = SteadyClock().check(trace(step(at=at, took=took)))
        assert found.value is False
        assert found.reason == f"1 of 2 steps off: SPAN 'step' {said}"

    def test_a_step_may_outlast_its_parent_unless_strict(self) -> None:
        built = trace(step(at=9, took=5))
        assert SteadyClock().check(built).value is True
        assert SteadyClock(strict=True).check(built).reason.endswith("ends 4.00 s after its parent")

    @pytest.mark.parametrize(("at", "took"), [(-0.1, 1), (10.1, 0), (0, -0.1), (5, None)])
    def test_a_little_is_tolerated(self, at: float, took: float | None) -> None:
        assert SteadyClock().check(trace(step(at=at, took=took))).value is True
        assert SteadyClock.model_validate({"tolerance": "0s"}).check(trace(step(at=at, took=took))).value is (
            took is None
        )

    def test_a_parent_still_open_has_no_end(self) -> None:
        assert SteadyClock(strict=True).check(trace(step(at=50), root_took=None)).value is True

    def test_a_step_below_itself_is_no_matter(self) -> None:
        assert (
            SteadyClock().check(trace(step("a", parent="a"), step("b", parent="c"), step("c", parent="b"))).value
            is True
        )
