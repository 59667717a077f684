"""Prompt management: versions of prompts by name, with labels of which each stands on one version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from sandbox.langfuse.answers import bad_request, invalid, issue, not_found
from sandbox.langfuse.times import iso, now_ms

LATEST: Final = "latest"
"""The label Langfuse itself keeps on the newest version."""

PRODUCTION: Final = "production"


@dataclass(slots=True)
class _Version:
    number: int
    prompt: Any
    type: str
    labels: set[str]
    made_at: str = field(default_factory=lambda: iso(now_ms()))


class PromptShelf:
    """All prompts of the project. Every method may be called from any thread."""

    def __init__(self, project_id: str) -> None:
        self._project_id = project_id
        self._prompts: dict[str, list[_Version]] = {}
        self._lock = Lock()

    def add(self, name: str, prompt: Any, labels: tuple[str, ...] = (PRODUCTION,)) -> int:
        """Store a new version of a prompt, a text or a list of chat messages; its labels leave the older ones.

        Returns:
            The number of the version, from 1.
        """
        with self._lock:
            versions = self._prompts.setdefault(name, [])
            for version in versions:
                version.labels -= {LATEST, *labels}
            kind = "text" if isinstance(prompt, str) else "chat"
            versions.append(_Version(len(versions) + 1, prompt, kind, {LATEST, *labels}))
            return len(versions)

    def remove(self, name: str) -> None:
        """Delete a prompt with all its versions."""
        with self._lock:
            self._prompts.pop(name, None)

    def get(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer GET /v2/prompts/NAME?version=&label=; without either the version in production.

        Raises:
            Refusal: 400 for both at once or a version that is no number, 404 when there is none.
        """
        number, label = query.get("version"), query.get("label")
        if number is not None and label is not None:
            bad_request("Cannot specify both version and label")
        if number is not None and not number.isdecimal():
            invalid([issue("Expected number, received nan", "version", code="invalid_type")])
        wanted = label or PRODUCTION
        with self._lock:
            found = [
                version
                for version in self._prompts.get(name, ())
                if (version.number == int(number) if number is not None else wanted in version.labels)
            ]
        if not found:
            which = f"version {number}" if number is not None else f'label "{wanted}"'
            not_found(f"No prompt found with name '{name}' in project {self._project_id} with {which}")
        return self._document(name, found[0])

    def listed(self) -> dict[str, Any]:
        """Answer GET /v2/prompts, all on one page."""
        with self._lock:
            data = [
                {
                    "name": name,
                    "type": versions[-1].type,
                    "versions": [version.number for version in versions],
                    "labels": sorted(set().union(*(version.labels for version in versions))),
                    "tags": [],
                    "lastUpdatedAt": versions[-1].made_at,
                    "lastConfig": {},
                }
                for name, versions in sorted(self._prompts.items())
            ]
        return {"data": data, "meta": {"page": 1, "limit": 50, "totalItems": len(data), "totalPages": 1}}

    def create(self, body: Any) -> dict[str, Any]:
        """Answer POST /v2/prompts.

        Raises:
            Refusal: 400 for a body without a name or a prompt.
        """
        if not isinstance(body, Mapping) or not isinstance(body.get("name"), str) or not body.get("prompt"):
            invalid([issue("Required", "name")])
        number = self.add(body["name"], body["prompt"], tuple(body.get("labels") or ()))
        return self.get(body["name"], {"version": str(number)})

    def _document(self, name: str, version: _Version) -> dict[str, Any]:
        return {
            "id": f"{name}-{version.number}",
            "createdAt": version.made_at,
            "updatedAt": version.made_at,
            "projectId": self._project_id,
            "createdBy": "API",
            "name": name,
            "version": version.number,
            "type": version.type,
            "prompt": version.prompt,
            "config": {},
            "labels": sorted(version.labels),
            "tags": [],
            "isActive": PRODUCTION in version.labels,
            "commitMessage": None,
            "resolutionGraph": None,
        }
