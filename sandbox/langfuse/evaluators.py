"""Langfuse's own evaluators and evaluation rules, to be read: lists of at most a hundred, with an opaque cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Final

from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.times import iso, now_ms

_MOST: Final = 100
_DEFAULT: Final = 50


class NativeEvaluators:
    """All evaluators and rules of the project. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._evaluators: list[dict[str, Any]] = []
        self._rules: list[dict[str, Any]] = []
        self._lock = Lock()

    def add(self, name: str, **fields: Any) -> str:
        """Make an evaluator with the fields of the API; what is not given is as Langfuse fills it in. Return its id."""
        now = iso(now_ms())
        with self._lock:
            id_ = f"evaluator-{len(self._evaluators) + 1}"
            judge = {
                "prompt": [{"role": "user", "content": "Judge {{output}}."}],
                "variables": ["output"],
                "variableMapping": None,
                "modelConfig": None,
                "outputDefinition": {"dataType": "NUMERIC", "minValue": 0, "maxValue": 1},
            }
            common: dict[str, Any] = {
                "type": "llm_as_judge",
                "id": id_,
                "name": name,
                "description": None,
                "createdBy": None,
                "status": "active",
                "pausedAt": None,
                "pausedReason": None,
                "pausedMessage": None,
                "evaluationRuleAssignments": [],
                "versionId": f"{id_}-v1",
                "version": 1,
                **dict.fromkeys(("createdAt", "updatedAt", "versionCreatedAt"), now),
            }
            own = {} if fields.get("type") == "code" else judge
            self._evaluators.append({**common, **own, **fields})
            return id_

    def add_rule(self, name: str, *assigned: str | Mapping[str, Any], **fields: Any) -> str:
        """Make a rule for evaluators, given by id or as assignments. Return its id."""
        now = iso(now_ms())
        plain = {"variableMapping": None}
        assignments = [{"evaluatorId": each, **plain} if isinstance(each, str) else each for each in assigned]
        with self._lock:
            id_ = f"rule-{len(self._rules) + 1}"
            common: dict[str, Any] = {
                "id": id_,
                "name": name,
                "createdBy": None,
                "enabled": True,
                "sampling": 1,
                "filter": [],
            }
            times = dict.fromkeys(("createdAt", "updatedAt"), now)
            self._rules.append({**common, "evaluatorAssignments": assignments, **times, **fields})
            for evaluator in self._evaluators:
                for each in assignments:
                    if each["evaluatorId"] == evaluator["id"]:
                        evaluator["evaluationRuleAssignments"].insert(0, {"evaluationRuleId": id_})
            return id_

    def evaluators(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer GET /v2/evaluators.

        Raises:
            Refusal: 400 in the form of these endpoints.
        """
        with self._lock:
            return _page(self._evaluators, query)

    def rules(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer GET /v2/evaluation-rules; raises as `evaluators`."""
        with self._lock:
            return _page(self._rules, query)


def _page(rows: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    text = query.get("limit", str(_DEFAULT))
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise Refusal(400, {"message": "limit must be between 1 and 100", "code": "invalid_query"})
    limit, start = int(text), _start(query.get("cursor"))
    more = start + limit < len(rows)
    meta = {"cursor": base64.urlsafe_b64encode(f"at:{start + limit}".encode()).decode()} if more else {}
    return {"data": list(rows[start : start + limit]), "meta": meta}


def _start(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(cursor).decode().removeprefix("at:"))
    except (ValueError, binascii.Error):
        raise Refusal(400, {"message": "Invalid cursor", "code": "invalid_query"}) from None
