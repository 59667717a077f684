"""An alert for programs: plain JSON with every number of the message. Fields are only ever added."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final, cast

import numpy as np

from evaluator.messages.alert import Urls, headline
from evaluator.messages.blame import blame_of
from monitors import Alert, Attribution, Contribution, DropTest, Event, WeekMean, WorstTrace

FORM: Final = 1
"""Version of the form; another number would mean that a field has another meaning."""


def facts_of(alert: Alert, urls: Urls) -> dict[str, Any]:
    """Return an alert as JSON; times are ISO 8601 in UTC, shares from 0 to 1, pass rates are shares too."""
    told = alert.test is not None and alert.event in {Event.FELL, Event.GREW}
    found = alert.attribution
    facts = {
        "type": "alert",
        "form": FORM,
        "id": alert.id,
        "event": str(alert.event),
        "score": alert.score,
        "scale": "pass rate" if alert.binary else "points",
        "at": _time(alert.at),
        "opened": _time(alert.opened),
        "headline": headline(alert, alert.test) if told and alert.test is not None else alert.note,
        "test": _test(alert.test) if alert.test is not None else None,
        "who": _who(found) if found is not None else None,
        "new": [
            {"dimension": each.dimension, "value": each.value, "share": each.share, "first_seen": _time(each.at)}
            for each in alert.changes
        ],
        "worst": [_worst(each, urls) for each in found.worst] if found is not None else [],
        "weeks": [_week(week) for week in alert.line],
        "scores_url": urls.scores or None,
    }
    return cast("dict[str, Any]", _json(facts))


def _json(value: Any) -> Any:
    """Return what JSON has: numpy's numbers as Python's, and nothing for what is no number."""
    match value:
        case dict():
            return {name: _json(each) for name, each in value.items()}
        case list():
            return [_json(each) for each in value]
        case np.bool_():
            return bool(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case np.integer():
            return int(value)
    return value


def _test(test: DropTest) -> dict[str, Any]:
    return {
        "baseline": test.baseline,
        "now": test.now,
        "mean": test.mean,
        "drop": test.drop,
        "low": test.low,
        "high": test.high,
        "relative": test.relative(test.drop),
        "p": test.p,
        "alpha": test.alpha,
        "evidence": test.evidence,
        "evidence_needed": None if test.evidence is None else test.needed,
        "scored": test.n,
        "population": test.population,
        "scored_before": test.n_baseline,
        "weeks_before": test.weeks,
        "weeks": test.span,
        "judge": blame_of(test),
    }


def _who(found: Attribution) -> dict[str, Any]:
    return {
        "dimension": found.dimension,
        "segments": [_segment(row) for row in found.rows],
        "rest": found.rest,
        "cannot_be_told_apart_from": [{"dimension": name, "value": value} for name, value in found.alike],
    }


def _segment(row: Contribution) -> dict[str, Any]:
    return {
        "value": row.value,
        "share": row.share,
        "share_before": row.share_before,
        "mean": row.mean,
        "mean_before": row.mean_before,
        "points": row.points,
        "low": row.low,
        "high": row.high,
        "new": row.new,
    }


def _worst(trace: WorstTrace, urls: Urls) -> dict[str, Any]:
    known = {"session_id": trace.session_id} if trace.session_id else {"trace_id": trace.trace_id}
    url = urls.session(trace.session_id) if trace.session_id else urls.trace(trace.trace_id)
    return {**known, "value": trace.value, "comment": trace.comment, "url": url}


def _week(week: WeekMean) -> dict[str, Any]:
    return {"start": _time(week.start), "scored": week.n, "mean": week.mean, "low": week.low, "high": week.high}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
