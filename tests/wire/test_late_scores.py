"""A thumb that comes long after its trace was decided about takes the trace to who asks for thumbs, once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from evaluator.app import App
from evaluator.calibration.evidence import counts
from evaluator.langfuse import Window
from evaluator.worker import open_queue, working
from sandbox.server import Sandbox
from tests.processes import eventually
from tests.serving import RUBRIC, Config, OpenService, Traffic

UNHAPPY: Final = "{when: {score: {name: user-feedback, at_most: 0}}, rate: 1}"
RUBRICS: Final = {
    # Sees unhappy people alone.
    "why": RUBRIC.replace("helpfulness", "why").replace("{rate: 1}", UNHAPPY),
    # Sees some of all, and all of those.
    "helpfulness": RUBRIC.replace("{rate: 1}", f"{UNHAPPY}, {{rate: 0.000001}}"),
    # Does not ask.
    "calm": RUBRIC.replace("helpfulness", "calm").replace("rate: 1", "rate: 0.000001"),
}


def say(sandbox: Sandbox, trace_id: str, value: int) -> None:
    sandbox.langfuse.load_scores(
        [
            {
                "id": f"thumb-{trace_id}-{value}",
                "name": "user-feedback",
                "value": value,
                "dataType": "NUMERIC",
                "traceId": trace_id,
                "timestamp": datetime.now(UTC).isoformat(),
            }
        ]
    )


def swept(app: App) -> None:
    """Decide about everything there is, as if it had been read an hour ago."""
    app.discovery(lambda _: None).since(app.clock.now() - timedelta(days=9))
    app.state.advance(app.clock.now())
    app.late_scores(lambda _: None).look()


def looked(app: App) -> list[tuple[str, str]]:
    """Look for late scores; return who took which trace."""
    jobs: list[Any] = []
    app.late_scores(jobs.extend).look()
    return sorted((job.ref.id, sample.evaluator) for job in jobs for sample in job.samples)


def test_a_late_thumb_takes_its_trace_once(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    old, young = traffic.add(1, ended_ago=7 * 86400), traffic.add(3, first=10)
    with service(config(rubrics=RUBRICS)) as app:
        swept(app)
        assert looked(app) == []
        say(sandbox, old[0], 0)
        say(sandbox, young[0], 0)
        say(sandbox, young[1], 1)
        expected = [(trace, name) for trace in (old[0], young[0]) for name in ("helpfulness", "why")]
        assert looked(app) == sorted(expected)
        assert looked(app) == []  # though the scores of the last minutes are read again
        assert app.state.funnel()["why", "sampled", ""] == 2


def test_what_chance_left_out_is_read_and_not_counted(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    (trace,) = traffic.add(1, ended_ago=3600)
    with service(config(rubrics=RUBRICS, rules="[]")) as app:
        swept(app)
        say(sandbox, trace, 0)
        queue = open_queue(app)
        with working(app, queue):
            app.late_scores(queue.put).look()
            assert eventually(lambda: queue.size() == 0)
        now = app.clock.now()
        pages = app.langfuse.scores(Window(now - timedelta(hours=3), now), names=["why", "helpfulness"])
        stored = {score.name: score for page in pages for score in page}
    assert {name: counts(score) for name, score in stored.items()} == {"why": True, "helpfulness": False}
    assert stored["why"].metadata["inclusion_probability"] == 1


def test_what_is_still_to_be_decided_about_is_left_to_discovery(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    with service(config(rubrics=RUBRICS)) as app:
        app.state.advance(app.clock.now() - timedelta(minutes=10))
        app.late_scores(lambda _: None).look()
        (trace,) = traffic.add(1)
        say(sandbox, trace, 0)
        assert looked(app) == []
        jobs: list[Any] = []
        app.discovery(jobs.extend).catch_up()
        assert {sample.evaluator for job in jobs for sample in job.samples} >= {"why", "helpfulness"}
        assert looked(app) == []


def test_who_asks_for_no_scores_pays_no_request(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    with service(config()) as app:
        app.langfuse.capabilities()
        sandbox.langfuse.faults.burst = 9
        assert looked(app) == looked(app) == []
        assert sandbox.langfuse.faults.burst == 9
