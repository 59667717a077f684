"""Which scores a watch compares, with which weights and segments."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from evaluator.alerts.judged import judged
from evaluator.calibration.evidence import evidence
from evaluator.langfuse import Window
from monitors import MonitorSpec
from tests.watching import START, House, recorded
from traces import RecordedScore, TraceRef, TraceRoot


def test_weights_are_one_over_the_inclusion_probability() -> None:
    house = House(MonitorSpec(score="faithfulness", segments=()))
    for day in range(91):
        at = START - timedelta(days=day + 1)
        # All 25 bad ones are taken, of 250 good ones every tenth.
        for i in range(50):
            good = i % 2 == 0
            meta = {"inclusion_probability": 0.1 if good else 1.0}
            score = recorded(5.0 if good else 1.0, at + timedelta(minutes=i), f"{day}-{i}", metadata=meta)
            house.langfuse.held.append(score)
    house.watch.digest()
    assert "*4.64*" in json.dumps(house.slack.got[0])  # (250 x 5 + 25 x 1) / 275


def ruler(**metadata: object) -> str:
    score = recorded(1.0, START, "t", metadata={"evaluator_version": "v1", **metadata})
    return evidence(score, 1.0, None).version


def test_a_missing_juror_is_no_other_judge_and_another_judge_is() -> None:
    whole = ruler(judge_model="big-2026 + small-2026", panel="big + small")
    assert ruler(judge_model="big-2026", panel="big + small") == whole
    assert ruler(judge_model="big-2026") != whole
    assert ruler(judge_model="big-2026") != ruler(judge_model="big-2027")
    assert ruler(judge_model=None) == "v1"


@pytest.mark.parametrize("odd", [0, -1, 7, "0.5", None, True])
def test_an_odd_inclusion_probability_counts_once(odd: object) -> None:
    house = House()
    house.langfuse.held = [
        recorded(float(i % 2), START - timedelta(hours=i + 1), f"t{i}", metadata={"inclusion_probability": odd})
        for i in range(10)
    ]
    house.watch.digest()
    assert "*50.0 %*" in json.dumps(house.slack.got[0])


def test_user_feedback_of_others_is_joined_with_its_trace() -> None:
    house = House(MonitorSpec(score="user-feedback"))
    rng = np.random.default_rng(3)
    for day in range(91):
        for i in range(30):
            at = START - timedelta(days=day + 1) + timedelta(minutes=i)
            bad = day < 7 and i < 15
            value = float(rng.random() < (0.3 if bad else 0.9))
            trace = f"{day}-{i}"
            feedback = RecordedScore(trace, "user-feedback", value, "BOOLEAN", "API", at, trace_id=trace)
            house.langfuse.held.append(feedback)
            asked = at - timedelta(hours=2)
            ref = TraceRef(trace, "r", "default", asked, asked)
            house.langfuse.traces[trace] = TraceRoot(
                ref, "answer", prompt_name="answer", prompt_version=4 if bad else 3, tags=("x",), session_id=f"s{trace}"
            )
    (alert,) = house.look()
    assert alert.binary
    assert alert.attribution is not None
    assert alert.attribution.rows[0].value == "answer:4"
    assert "%" in house.texts[0]
    assert max(len(ids) for ids in house.langfuse.joined) <= 100


def test_a_fall_of_a_score_on_sessions_shows_sessions_to_read() -> None:
    house = House()
    house.fill(7, 91)
    house.fill(0, 7, low=1.5)
    of_sessions = (replace(s, trace_id=None, session_id=s.metadata["session_id"]) for s in house.langfuse.held)
    house.langfuse.held = list(of_sessions)
    (alert,) = house.look()
    assert alert.attribution is not None
    assert alert.attribution.rows[0].value == "answer:4"
    assert len({worst.session_id for worst in alert.attribution.worst}) == 5
    assert house.langfuse.joined == []
    told = json.dumps(house.slack.got[0])
    assert all(f"/project/proj/sessions/{worst.session_id}" in told for worst in alert.attribution.worst)
    assert "/traces/" not in told


def test_feedback_of_others_on_a_session_is_joined_with_its_last_trace() -> None:
    house = House(MonitorSpec(score="user-feedback"))
    rng = np.random.default_rng(3)
    for day in range(91):
        for i in range(30):
            at = START - timedelta(days=day + 1) + timedelta(minutes=i)
            bad = day < 7 and i < 15
            session = f"{day}-{i}"
            value = float(rng.random() < (0.3 if bad else 0.9))
            feedback = RecordedScore(session, "user-feedback", value, "BOOLEAN", "API", at, session_id=session)
            house.langfuse.held.append(feedback)
            for hours, prompt in ((3, 3), (2, 4 if bad else 3)):
                asked = at - timedelta(hours=hours)
                ref = TraceRef(f"{session}-{hours}", "r", "default", asked, asked)
                root = TraceRoot(ref, "answer", prompt_name="answer", prompt_version=prompt, session_id=session)
                house.langfuse.traces[ref.id] = root
    (alert,) = house.look()
    assert alert.attribution is not None
    assert alert.attribution.rows[0].value == "answer:4"


def test_our_own_scores_need_no_look_at_their_traces() -> None:
    house = House()
    house.fill(0, 91)
    house.look()
    assert house.langfuse.joined == []


def test_texts_and_nan_are_left_out_and_never_counted_as_zero() -> None:
    house = House()
    house.fill(7, 91)
    for i in range(60):
        at = START - timedelta(hours=i + 1)
        house.langfuse.held.append(recorded("bad", at, f"text-{i}"))
        house.langfuse.held.append(recorded(float("nan"), at, f"nan-{i}"))
    assert house.look() == []
    house.fill(0, 7)
    assert house.look() == []


def test_only_the_wanted_environments_count() -> None:
    spec = MonitorSpec.model_validate({"score": "faithfulness", "environment": "production"})
    house = House(spec)
    house.fill(0, 91, environment="production")
    house.fill(0, 7, low=3.0, seed=99, environment="staging")
    assert house.look() == []


def test_an_excluded_week_is_replaced_by_an_earlier_one() -> None:
    holiday = (START - timedelta(days=10)).date()
    house = House(MonitorSpec(score="faithfulness", excluded_weeks=(holiday,), baseline_weeks=12))
    house.fill(7, 14, low=3.0)
    house.fill(14, 105)
    house.fill(0, 7, low=1.2)
    (alert,) = house.look()
    assert alert.test is not None
    assert alert.test.weeks == 12
    assert alert.test.baseline > 4


def test_a_date_far_away_makes_nobody_read_more() -> None:
    house = House(MonitorSpec(score="faithfulness", excluded_weeks=(date(2020, 1, 1),)))
    house.look()
    assert min(window.start for window, _ in house.langfuse.asked) == START - timedelta(weeks=16)


def test_the_share_of_labels_is_watched_as_a_pass_rate() -> None:
    house = House(MonitorSpec.model_validate({"score": "mood", "labels": ["pleased", "neutral"]}))
    for day in range(91):
        for i in range(40):
            bad = i % 10 == 0 or (day < 7 and i % 3 == 0)
            mood = "annoyed" if bad else ("pleased", "neutral")[i % 2]
            at = START - timedelta(days=day, minutes=30 * i + 1)
            house.langfuse.held.append(recorded(mood, at, f"{day}-{i}", name="mood", data_type="CATEGORICAL"))
    (alert,) = house.look()
    assert alert.binary
    assert house.texts[0].startswith("mood=neutral+pleased fell 90.0 % \N{RIGHTWARDS ARROW} 60.0 %")


def test_a_monitor_of_a_segment_sees_only_its_scores() -> None:
    house = House(MonitorSpec.model_validate({"score": "faithfulness", "where": {"prompt_version": "answer:4"}}))
    house.fill(0, 3, low=0.5)
    found = list(judged(house.langfuse, house.specs[0], Window(START - timedelta(days=7), START)))
    assert {score.segments["prompt_version"] for score in found} == {"answer:4"}
    assert len(found) == 75
