"""The app or the judge: how alerts, digests, webhooks and status say it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from evaluator.calibration.drift_notices import told
from evaluator.messages.alert import Urls, message
from evaluator.messages.blame import blame_of, blamed, in_words, remeasured
from evaluator.messages.digest import Coverage, DigestLine, digest
from evaluator.messages.facts import facts_of
from judges import Rubric, RubricSpec
from monitors import DropTest, Event
from monitors.drift import Anchor, Anchored, DriftState, Round, Shift, Turn
from monitors.drop import Difference
from tests.unit.evaluator.messages.test_slack_message import ALERT, LINE, TEST
from tests.weeks import NOW

SHIFT = Shift(-0.20, -0.29, -0.11, 0.0004, 0.002, 59.0, 60, NOW)
STILL = replace(SHIFT, points=-0.01, low=-0.05, high=0.03, p=0.6)
WHEN = "on 60 frozen traces, judged again on 30 Mar,"
URLS = Urls(lambda trace: f"https://langfuse.example/{trace}")


APP = replace(TEST, judge=STILL, p_apart=0.001)
BOTH = replace(TEST, judge=SHIFT, taken_out=True)
JUDGE = replace(TEST, judge=SHIFT, taken_out=True, drop=0.02, low=-0.1, high=0.14, p=0.4)
UNCLEAR = replace(TEST, judge=SHIFT, p_apart=0.2)


@pytest.mark.parametrize(
    ("found", "blame", "words"),
    [
        (
            APP,
            "app",
            f"*The app, not the judge:* {WHEN} it gives -0.01 (95 % -0.05 to +0.03).",
        ),
        (BOTH, "app", f"*The app:* the judge moved too ({WHEN} -0.20 (95 % -0.29 to -0.11)), and"),
        (
            JUDGE,
            "judge",
            f"*The judge:* {WHEN} it gives -0.20 (95 % -0.29 to -0.11); with that taken out",
        ),
        (UNCLEAR, "unclear", "*The app or the judge?* on 60 frozen traces"),
        (replace(JUDGE, drop=-0.2), None, f"*The judge moved:* {WHEN} it gives -0.20 (95 % -0.29 to -0.11); that is"),
        (TEST, None, ""),
        (replace(TEST, judge=STILL, p=0.5), None, ""),
    ],
)
def test_each_verdict_has_its_words(found: DropTest, blame: str | None, words: str) -> None:
    assert found.blame == blame
    assert ascii_(blamed(found, binary=False)).startswith(words)
    assert bool(blamed(found, binary=False)) == bool(words)


def test_the_message_says_who_did_it_in_blocks_and_in_plain_words() -> None:
    content = message(replace(ALERT, test=APP), URLS)
    assert "*The app, not the judge:*" in json.dumps(content["blocks"], ensure_ascii=False)
    assert "The app, not the judge: on 60 frozen traces" in content["text"]
    assert "judge" not in message(ALERT, URLS)["text"]


def test_what_the_judge_gave_less_is_no_change_of_the_mix() -> None:
    found = replace(BOTH, mean=TEST.baseline - TEST.drop - 0.20)
    assert found.mix == pytest.approx(0)
    assert "mix of traffic" not in json.dumps(message(replace(ALERT, test=found), URLS), ensure_ascii=False)


def test_a_fall_that_was_the_judges_is_resolved_as_such() -> None:
    content = message(replace(ALERT, event=Event.RESOLVED, test=JUDGE, attribution=None), URLS)
    assert "Back at 4.08" in content["text"]
    assert "The judge: on 60 frozen traces" in content["text"]


def test_programs_get_the_same() -> None:
    told_ = facts_of(replace(ALERT, test=APP), URLS)["test"]["judge"]
    assert told_ == blame_of(APP)
    assert (told_["blame"], told_["points"], told_["anchors"], told_["taken_out"]) == ("app", -0.01, 60, False)
    assert facts_of(ALERT, URLS)["test"]["judge"] is None
    json.dumps(told_)


def test_the_digest_says_it_too_and_takes_no_judge_for_a_mix() -> None:
    line = DigestLine("faithfulness", False, LINE, replace(JUDGE, mean=3.86), NOW)
    content = json.dumps(digest([line], Coverage(None, {}, 0.0), NOW), ensure_ascii=False)
    assert "*The judge:* on 60 frozen traces" in content
    assert "mix of traffic" not in content


@pytest.mark.parametrize(
    ("state", "shift", "words"),
    [
        (DriftState(), None, "nothing to compare yet"),
        (DriftState(), STILL, "the judge did not move: on 60 frozen traces it gives -0.01"),
        (DriftState(opened=NOW), SHIFT, "the judge moved on 30 Mar: on 60 frozen traces it gives -0.20"),
    ],
)
def test_status_says_how_a_judge_stands(state: DriftState, shift: Shift | None, words: str) -> None:
    assert ascii_(in_words(state, shift, binary=False)).startswith(words)


def test_another_ruler_is_told_with_what_both_make_of_the_same_traces() -> None:
    anchors = {str(i): Anchor(1.0, str(i)) for i in range(20)}
    rounds = (
        Round(NOW - timedelta(days=7), "v1 gpt", {str(i): 4.0 for i in range(20)}),
        Round(NOW, "v2 gpt", {str(i): 3.5 for i in range(20)}),
    )
    said = remeasured(Anchored(anchors, rounds), "v1 gpt", "v2 gpt", binary=False)
    assert ascii_(said) == " On 20 frozen traces the new one gives -0.50 (95 % -0.50 to -0.50) against the old one."
    bridged = remeasured(
        Anchored(anchors, rounds), "v1 gpt", "v2 gpt", binary=True, bridge=Difference(0.1, -0.02, 0.22)
    )
    assert ascii_(bridged).endswith(
        " Beside that the plain mean moved by -10.0 points (95 % -22.0 points to +2.0 points) against the weeks before."
    )
    assert remeasured(Anchored(anchors, rounds), "v0", "v2 gpt", binary=False) == ""
    assert remeasured(None, "v1 gpt", "v2 gpt", binary=False) == ""


def ascii_(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-")


def rubric(scale: str) -> Rubric:
    score: dict[str, Any] = {"type": "boolean"} if scale == "boolean" else {"type": "numeric", "min": 1, "max": 5}
    inputs = {"answer": "$.root.output"}
    return Rubric(RubricSpec.model_validate({"name": "tone", "criteria": "c", "inputs": inputs, "score": score}))


def test_a_judge_that_moved_is_told_with_who_is_new_and_names_are_made_harmless() -> None:
    content = told(rubric("numeric"), Turn.MOVED, SHIFT, ("gpt <!channel>", "b", "c", "d"), NOW)
    text = json.dumps(content, ensure_ascii=False)
    assert "Judge tone moved: it is stricter now" in text
    assert "<!channel>" not in text
    assert "and more" in text
    kinder = told(rubric("boolean"), Turn.MOVED, replace(SHIFT, points=0.2, low=0.11, high=0.29), (), NOW)
    assert (
        "it is kinder now. On 60 frozen traces it gives +20.0 points (95 % +11.0 points to +29.0 points)"
        in kinder["text"]
    )
    assert "call themselves what they did before" in kinder["text"]


def test_anchors_are_no_part_of_the_version_and_need_a_mean() -> None:
    data = {"name": "tone", "criteria": "c", "inputs": {"answer": "$.root.output"}, "score": {"type": "boolean"}}
    plain, anchored = (Rubric(RubricSpec.model_validate({**data, **more})) for more in ({}, {"anchors": {"size": 30}}))
    assert plain.version == anchored.version
    labels = {**data, "score": {"type": "categorical", "labels": ["a", "b"]}, "anchors": {}}
    with pytest.raises(ValueError, match="labels have no mean that could move"):
        RubricSpec.model_validate(labels)
