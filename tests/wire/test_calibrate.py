"""A judge is held against what people said, over the wire: pairs, figures, what is kept, and who is told."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from markupsafe import escape

from evaluator.alerts.people import by_people
from evaluator.app import App, Desk
from evaluator.calibration.agreement import OFF_SCALE, Calibration, calibrate
from evaluator.calibration.labels import LATE, OLDER, UNSCORED
from evaluator.calibration.trust import trusted
from evaluator.calibration.weekly import Calibrating, Kept, place_of
from evaluator.errors import Unavailable
from evaluator.langfuse import Langfuse, Window
from evaluator.messages.rendering import as_text
from evaluator.pages.calibration_page import page
from evaluator.pages.report import gather
from evaluator.pages.report_page import page as report_page
from evaluator.sampling.sampler import LATE as LATE_STRATUM
from evaluator.scheduler import Scheduler
from sandbox.server import Sandbox
from tests.labelling import annotated, load, ours, score
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Run, WrongClock

WEEKLY: Final = RUBRIC + "calibrate: {against: quality, floor: 0.6}\n"
EVIL: Final = "<script>alert(1)</script>\x1b[31m"


def held(app: App, against: str = "quality", **more: Any) -> Calibration:
    (rubric,) = app.definitions.rubrics(["helpfulness"])
    now = app.clock.now()
    rng = np.random.default_rng(0)
    return calibrate(app.langfuse, rubric, against, since=now - timedelta(days=90), now=now, rng=rng, **more)


def test_the_last_label_of_each_person_is_paired_with_our_score_of_the_same_subject(
    sandbox: Sandbox, service: OpenService
) -> None:
    load(
        sandbox,
        [ours(n, 1 + n % 5) for n in range(6)],
        [annotated(n, 1 + n % 5) for n in range(6)],
        [annotated(0, 5, by="bob"), annotated(7, 3), annotated(8, 3)],
        [{**annotated(1, 5, ago=3.0), "id": "older"}],
        [ours(8, 3, meta={"stratum": LATE_STRATUM}), ours(9, 2, meta={"evaluator_version": "v0"}, ago=5.0)],
        [annotated(9, 2), annotated(5, 11, by="off"), ours(10, 4), annotated(10, 40)],
        [{**ours(11, 3, name="other"), "name": "quality"}],  # a label too: whoever wrote it, it is not this judge
    )
    with service() as app:
        found = held(app)
    agreement = found.found
    assert agreement is not None
    assert (agreement.n, agreement.labels, agreement.raters, agreement.sessions) == (6, 7, 2, 3)
    assert found.left_out == {UNSCORED: 2, LATE: 1, OLDER: 1, OFF_SCALE: 1}
    assert (found.version, found.judge) == ("v1", "gpt-5.4-mini")
    assert agreement.counts.sum() - np.trace(agreement.counts) == 1
    (difference,) = found.differences
    assert (difference.ours, dict(difference.said), difference.distance) == (1.0, {"ann": 1.0, "bob": 5.0}, 0.5)


def test_feedback_of_a_program_and_an_annotation_under_our_own_name_are_labels(
    sandbox: Sandbox, service: OpenService
) -> None:
    load(sandbox, [ours(n, n % 5 + 1) for n in range(10)])
    load(sandbox, [score(n, "thumbs", n % 2, kind="BOOLEAN") for n in range(10)])
    load(sandbox, [annotated(n, 5, name="helpfulness") for n in range(4)])
    with service() as app:
        thumbs, own = held(app, "thumbs"), held(app, "helpfulness")
        lower = held(app, "thumbs", pass_at=2)
    assert thumbs.found is not None
    assert thumbs.scale.pass_at == 3
    assert thumbs.found.shown == (False, True)
    assert lower.found is not None
    assert (lower.scale.pass_at, lower.found.counts[1].sum()) == (2, 8)
    assert own.found is not None
    assert (own.found.n, own.found.labels) == (4, 4)


def test_sessions_are_paired_too(sandbox: Sandbox, service: OpenService) -> None:
    about = {"traceId": None, "sessionId": "s-1"}
    load(sandbox, [{**ours(1, 4), **about}, {**annotated(1, 2), **about}])
    with service() as app:
        found = held(app)
        assert found.found is not None
        assert found.found.n == 1
        assert app.langfuse.score_url(found.differences[0].pair.ours).endswith("/sessions/s-1")
        assert not found.is_enough


def week(sandbox: Sandbox, app: App, clock: WrongClock) -> None:
    clock.wrong += timedelta(days=7)
    (kept,) = app.calibrating().week()
    assert kept.found is not None
    app.watch.deliver()


def test_people_are_told_once_when_a_judge_falls_below_its_floor_and_once_when_it_is_back(
    sandbox: Sandbox, service: OpenService, config: Config
) -> None:
    clock = WrongClock()
    rng = np.random.default_rng(3)
    truth = [int(value) for value in rng.integers(1, 6, 40)]
    load(sandbox, [ours(n, value) for n, value in enumerate(truth)])
    load(sandbox, [annotated(n, value) for n, value in enumerate(truth)])
    with service(config(rubrics={"helpfulness": WEEKLY}), clock=clock) as app:
        week(sandbox, app, clock)
        assert sandbox.slack.messages == []
        load(sandbox, [annotated(n, int(value)) for n, value in enumerate(rng.permutation(truth))])
        for _ in range(3):
            week(sandbox, app, clock)
        (said,) = sandbox.slack.messages
        assert "Judge helpfulness does not agree with people" in json.dumps(said)
        agreement = trusted(app.definitions.rubrics(), app.tests, app.alerts)["helpfulness"].agreement
        assert agreement is not None
        assert agreement.low_since is not None
        assert agreement.measure == "weighted kappa"
        assert agreement.figure is not None
        assert agreement.figure.value < 0.6
        assert agreement.weeks[0].mean == 1.0
        load(sandbox, [annotated(n, value) for n, value in enumerate(truth)])
        week(sandbox, app, clock)
        week(sandbox, app, clock)
        assert "agrees again" in json.dumps(sandbox.slack.messages[1])
        assert len(sandbox.slack.messages) == 2
        place = place_of("helpfulness", "quality")
        known = Kept.from_json(app.alerts.states([place])[place])
    assert known.low_since is None
    assert len(known.history) == 6
    assert known.last is not None
    assert known.last["figure"][0] == 1


def test_the_scheduler_holds_judges_against_people_every_week(
    sandbox: Sandbox, service: OpenService, config: Config
) -> None:
    clock = WrongClock()
    load(sandbox, [ours(n, 3) for n in range(3)], [annotated(n, 3) for n in range(3)])
    place = place_of("helpfulness", "quality")
    with service(config(rubrics={"helpfulness": WEEKLY}), clock=clock) as app:
        scheduler = Scheduler(app, app.discovery(lambda _: None), lambda _: None)  # type: ignore[arg-type,return-value]
        scheduler.renew()
        scheduler.due()
        assert app.alerts.states([place]) == {place: None}
        clock.wrong += timedelta(days=7)
        scheduler.renew()
        scheduler.due()
        assert Kept.from_json(app.alerts.states([place])[place]).last is not None


class WithoutLabels:
    """Langfuse, of which one label cannot be read."""

    def __init__(self, langfuse: Langfuse) -> None:
        self._langfuse = langfuse

    def scores(self, window: Window, *, names: Any = (), **more: Any) -> Any:
        if "broken" in names:
            raise Unavailable("no answer")
        return self._langfuse.scores(window, names=names, **more)

    def queue_ids(self) -> dict[str, str]:
        return self._langfuse.queue_ids()

    def queue_items(self, queue_id: str) -> Any:
        return self._langfuse.queue_items(queue_id)


def test_one_label_that_cannot_be_read_stops_no_other_judge(
    sandbox: Sandbox, service: OpenService, config: Config
) -> None:
    other = WEEKLY.replace("name: helpfulness", "name: other").replace("against: quality", "against: broken")
    load(sandbox, [ours(n, 3) for n in range(3)], [annotated(n, 3) for n in range(3)])
    places = [place_of("other", "broken"), place_of("helpfulness", "quality")]
    with service(config(rubrics={"a": other, "helpfulness": WEEKLY})) as app:
        held_all = Calibrating(app.definitions, WithoutLabels(app.langfuse), app.state, app.clock, delivers=True)
        with pytest.raises(Unavailable, match="no answer"):
            held_all.week()
        broken, whole = app.alerts.states(places).values()
    assert broken is None
    assert whole is not None


def test_the_command_prints_writes_a_page_and_fails_below_the_floor(
    run: Run, config: Config, sandbox: Sandbox, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    load(sandbox, [ours(n, int(rng.integers(1, 6)), comment=EVIL) for n in range(60)])
    load(
        sandbox,
        [annotated(n, int(rng.integers(1, 6)), by=by, comment=EVIL) for n in range(60) for by in ("ann", "bob")],
    )
    target = tmp_path / "page.html"
    done = run(
        *(
            "calibrate",
            "helpfulness",
            "--against",
            "quality",
            "--since",
            "30d",
            "--floor",
            "0.6",
            "--html",
            str(target),
        ),
        folder=config(service=SERVICE),
    )
    assert done.returncode == 1, done.stderr
    for said in ("60 subjects of 30 sessions, 120 labels of 2 people", "quadratic", "people among themselves reach"):
        assert said in done.stdout
    assert "below the floor of 0.6 with 100% confidence" in done.stdout
    assert "\x1b" not in done.stdout
    written = target.read_text()
    assert "<script" not in written
    assert "&lt;script&gt;" in written


def test_last_weeks_mean_is_corrected_by_labels_drawn_at_random_and_a_pass_rate_by_older_ones(
    sandbox: Sandbox, service: OpenService
) -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(1, 5, 120)
    load(sandbox, [ours(n, int(value) + 1, meta={"session_id": f"s{n}"}) for n, value in enumerate(truth)])
    load(sandbox, [annotated(n, int(value)) for n, value in enumerate(truth[:40])])
    load(sandbox, [score(n, "thumbs", int(value > 2), kind="BOOLEAN") for n, value in enumerate(truth[:60])])
    with service() as app:
        assert held(app).corrected is None  # who knows why people labelled these
        mean, rate = held(app, random=True).corrected, held(app, "thumbs", pass_at=3).corrected
        drawn = held(app, "thumbs", pass_at=3, random=True).corrected
    assert mean is not None
    assert mean.raw == pytest.approx(truth.mean() + 1)
    assert mean.mean == pytest.approx(truth.mean(), abs=0.05)  # one too kind to everybody
    assert "PPI++" in mean.by
    assert rate is not None
    assert drawn is not None
    passed = float((truth > 2).mean())
    assert rate.raw == pytest.approx((truth > 1).mean())
    assert rate.low < passed < rate.high
    assert rate.mean < rate.raw
    assert ("Rogan-Gladen" in rate.by, "PPI++" in drawn.by) == (True, True)
    assert drawn.low < passed < drawn.high


MONITORED: Final = "[{score: helpfulness}, {score: helpfulness, environment: [production]}]"
DRAWN: Final = WEEKLY.replace("floor: 0.6", "floor: 0.6, random: true")


def test_digest_report_and_alert_say_what_people_would_have_made_of_the_week(
    sandbox: Sandbox, service: OpenService, config: Config
) -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(1, 5, 60)
    load(sandbox, [ours(n, int(value) + 1, meta={"session_id": f"s{n}"}) for n, value in enumerate(truth)])
    load(sandbox, [annotated(n, int(value)) for n, value in enumerate(truth[:30])])
    with service(config(rubrics={"helpfulness": DRAWN}, monitors=MONITORED)) as app:
        assert "By people" not in as_text(app.watch.overview())
        (found,) = app.calibrating().week()
        assert found.corrected is not None
        told = as_text(app.watch.overview())
        everywhere, one = app.definitions.monitors
        now = app.clock.now()
        place = place_of("helpfulness", "quality")
        kept = app.alerts.states([place])[place]
        said = by_people(everywhere, kept, now)
        desk = Desk(
            *(app.settings, app.definitions, app.clock, app.state, app.langfuse, app.model, app.money, app.alerts),
            app.circuits,
        )
        report = report_page(gather(desk, app.definitions.monitors, 4, lambda _: None))
    assert said.startswith(f"By people {found.corrected.mean:.2f} (95 % {found.corrected.low:.2f} to ")
    assert told.count("By people") == 1
    assert report.count(escape(said)) == 1
    assert by_people(one, kept, now) == ""  # the labels are of all environments
    assert by_people(everywhere, kept, now + timedelta(days=9)) == ""
    assert kept is not None
    assert by_people(everywhere, {**kept, "last": {**kept["last"], "pass_at": 4}}, now) == ""
    assert by_people(everywhere, None, now) == ""


def test_nothing_to_compare_is_said(sandbox: Sandbox, service: OpenService) -> None:
    load(sandbox, [annotated(1, 3)])
    with service() as app:
        found = held(app)
        assert (found.found, found.left_out) == (None, {UNSCORED: 1})
        assert "No subject has both" in page(found, [], app.langfuse.score_url)


@pytest.mark.parametrize(("arguments", "said"), [(["helpfulness"], "say which labels")])
def test_what_is_not_told_is_asked_for(run: Run, config: Config, arguments: list[str], said: str) -> None:
    done = run("calibrate", *arguments, folder=config())
    assert done.returncode == 2
    assert said in done.stderr
