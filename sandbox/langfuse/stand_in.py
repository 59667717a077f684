"""The Langfuse stand-in: one project, its two tables, and what each route does with them."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from threading import RLock
from typing import Any, Final
from zlib import crc32

from aiohttp import web
from multidict import MultiMapping

from sandbox.faults import Faults
from sandbox.langfuse import otlp
from sandbox.langfuse.answers import Refusal, invalid, issue
from sandbox.langfuse.behaviour import Behaviour
from sandbox.langfuse.evaluators import NativeEvaluators
from sandbox.langfuse.limits import Bucket, RateLimiter
from sandbox.langfuse.media import MediaShelf
from sandbox.langfuse.metrics import answer_metrics_query, read_metrics_query
from sandbox.langfuse.prompts import PromptShelf
from sandbox.langfuse.query import answer_query, read_query
from sandbox.langfuse.reviews import Reviews
from sandbox.langfuse.rows import Row, row
from sandbox.langfuse.score_query import answer_score_query, read_score_query
from sandbox.langfuse.score_store import Scores
from sandbox.langfuse.scores import ScoreConfig, score_row
from sandbox.langfuse.store import Observations, older_version
from sandbox.langfuse.times import now_ms

PUBLIC_KEY: Final = "pk-lf-sandbox"
SECRET_KEY: Final = "sk-lf-sandbox"  # noqa: S105  the key of a stand-in that guards nothing
_DENIED: Final = {"message": "Invalid credentials. Confirm that you've configured the correct host."}


class LangfuseStandIn:
    """A Langfuse of one project, in memory.

    `behaviour` and `faults` may be changed while it serves. Every method may be called from any thread.

    Args:
        behaviour: Version, limits, delays, duplicates.
        faults: What goes wrong on the wire.
        public_key: Of the only API key.
        secret_key: Of the only API key.
        organisation_key: A secret key that belongs to no project: every project route answers 403.
    """

    project_id: Final = "sandbox-project"
    project_name: Final = "Sandbox"

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        faults: Faults | None = None,
        *,
        public_key: str = PUBLIC_KEY,
        secret_key: str = SECRET_KEY,
        organisation_key: str = "sk-lf-organisation",
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.faults = faults or Faults()
        self.public_key = public_key
        self.secret_key = secret_key
        self.organisation_key = organisation_key
        self.configs: dict[str, ScoreConfig] = {}
        self._lock = RLock()
        self._empty()

    def _empty(self) -> None:
        self._observations = Observations()
        self._scores = Scores()
        self.prompts = PromptShelf(self.project_id)
        self.native = NativeEvaluators()
        self.media = MediaShelf()
        self.reviews = Reviews(self.project_id)
        self._limiter = RateLimiter()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._random = Random(self.behaviour.seed)

    def app(self) -> web.Application:
        """Return the web application that serves this Langfuse."""
        from sandbox.langfuse.routes import application  # noqa: PLC0415  the routes need this class

        return application(self)

    # --- access -----------------------------------------------------------------------------------------------------

    def authorise(self, header: str | None, *, writes_scores: bool = False) -> None:
        """Check an Authorization header.

        Raises:
            Refusal: 401 or 403.
        """
        if not header:
            raise Refusal(401, {"message": "No authorization header"})
        scheme, _, credentials = header.partition(" ")
        if scheme == "Bearer" and credentials == self.public_key:
            if not writes_scores:
                raise Refusal(403, {"message": "Access denied - insufficient permissions for this endpoint"})
            return
        try:
            secret = base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            secret = ""
        if scheme == "Basic" and secret == self.organisation_key:
            raise Refusal(403, {"message": "Project ID not found for API token. Are you using an organization key?"})
        # The key is found by its secret half alone; a wrong public key goes unnoticed, as in the real server.
        if scheme != "Basic" or secret != self.secret_key:
            raise Refusal(401, _DENIED)

    def take(self, bucket: Bucket) -> None:
        """Count one request against a rate limit bucket.

        Raises:
            Refusal: 429.
        """
        limit, window_seconds = self._limit(bucket)
        with self._lock:
            self._limiter.take(bucket, limit, window_seconds, now_ms())

    def _limit(self, bucket: Bucket) -> tuple[int | None, float]:
        set_up = self.behaviour
        match bucket:
            case Bucket.METRICS:
                return set_up.metrics_per_day, 86_400.0
            case Bucket.INGESTION:
                return set_up.ingestion_per_minute, set_up.window_seconds
            case _:
                return set_up.requests_per_minute, set_up.window_seconds

    # --- observations -----------------------------------------------------------------------------------------------

    def ingest(self, body: bytes, content_type: str) -> int:
        """Store the spans of an OTLP export and return their number.

        Raises:
            Refusal: 400, nothing is stored then.
        """
        now = now_ms()
        export = otlp.decode(body, content_type)
        rows = otlp.rows(export, project=self.project_id, now=now, visible_at=lambda: now + self._delay_ms())
        with self._lock:
            for found in rows:
                self._store(found)
        return len(rows)

    def _delay_ms(self) -> int:
        late = self.behaviour.late_seconds if self._random.random() < self.behaviour.late else 0.0
        return round((self.behaviour.visible_after + late) * 1000)

    def _store(self, found: Row) -> None:
        doubled = self._random.random() < self.behaviour.duplicates
        # Until the new version can be read the old one is, and then both are, not merged yet.
        self._observations.add(found, keep_older=found.visible_at > now_ms())
        if doubled:
            self._observations.add(older_version(found, self.behaviour, self._random), keep_older=True)

    def load_observations(self, documents: Iterable[Mapping[str, Any]], *, keep_older: bool = False) -> int:
        """Store observations given in the API's field names, visible at once; return their number.

        A document may carry `visibleAfter` (seconds). `keep_older` leaves earlier versions of a row in place.

        Raises:
            KeyError: A needed field is absent.
            ValueError: A time, type or level is malformed.
        """
        now = now_ms()
        number = 0
        with self._lock:
            for document in documents:
                body = dict(document)
                seen_at = now + round(float(body.pop("visibleAfter", 0)) * 1000)
                stored = row(body, project=self.project_id, now=now, visible_at=seen_at)
                if keep_older:
                    self._observations.add(stored, keep_older=True)
                else:
                    self._store(stored)
                number += 1
        return number

    def observations(self, params: MultiMapping[str]) -> dict[str, Any]:
        """Answer GET /v2/observations.

        Raises:
            Refusal: 400 or 422.
        """
        query = read_query(params)
        with self._lock:
            page = answer_query(query, self._observations, self.behaviour, self._read_at())
            if self._happens(self.behaviour.shuffled):
                self._random.shuffle(page["data"])
            return page

    def _read_at(self) -> int:
        """Return the moment whose rows are seen: a replica may be behind."""
        behind = self.behaviour.stale_seconds if self._happens(self.behaviour.stale) else 0.0
        return now_ms() - round(behind * 1000)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def delete_traces(self, trace_ids: Sequence[str]) -> None:
        """Delete traces with their observations and scores, at once."""
        with self._lock:
            self._observations.remove_traces(trace_ids)
            self._scores.remove_traces(list(trace_ids))

    # --- scores -----------------------------------------------------------------------------------------------------

    def put_score(self, body: Any, *, timestamp: str | None = None) -> str:
        """Accept one score and return its id. One that breaks its score config is accepted and never stored.

        `timestamp`, from the legacy route, stands in for the body's.

        Raises:
            Refusal: 400.
        """
        now = now_ms()
        keeps = self.behaviour.batches_scores or timestamp is not None
        if timestamp is not None and isinstance(body, dict):
            body = body | {"timestamp": timestamp}
        visible_at = now + round(self.behaviour.scores_visible_after * 1000)
        stored = score_row(body, now=now, visible_at=visible_at, keeps_timestamp=keeps)
        if crc32(stored.id.encode()) < self.behaviour.rejected * 2**32:
            invalid([issue("Rejected by the sandbox", "value")])
        with self._lock:
            config = self.configs.get(stored.config_id or "")
            if stored.config_id is not None and (config is None or not config.allows(stored)):
                self._scores.dropped += 1
            else:
                self._scores.put(stored, keeps_first_timestamp=not self.behaviour.batches_scores)
        return stored.id

    def drop_score(self) -> None:
        """Count a score that was accepted and never stored."""
        with self._lock:
            self._scores.dropped += 1

    def load_scores(self, documents: Iterable[Mapping[str, Any]]) -> int:
        """Store scores given as POST /scores takes them, visible at once and with their timestamp; return the number.

        Those with an `authorUserId` are as if that person had annotated in the user interface.

        Raises:
            Refusal: 400; those before it are stored.
        """
        now = now_ms()
        number = 0
        with self._lock:
            for document in documents:
                row = score_row(dict(document), now=now, visible_at=now, keeps_timestamp=True)
                row.author_id = document.get("authorUserId")
                self._scores.put(row)
                number += 1
        return number

    def scores(self, params: MultiMapping[str]) -> dict[str, Any]:
        """Answer GET /v3/scores.

        Raises:
            Refusal: 400.
        """
        query = read_score_query(params)
        with self._lock:
            return answer_score_query(query, self._scores, self.project_id, now_ms())

    def metrics(self, query: str | None) -> dict[str, Any]:
        """Answer GET /v2/metrics.

        Raises:
            Refusal: 400.
        """
        parsed = read_metrics_query(query)
        with self._lock:
            return answer_metrics_query(parsed, self._scores, now_ms())

    def all_scores(self) -> list[dict[str, Any]]:
        """Return every stored row of every score, visible or not, with all fields, oldest timestamp first."""
        groups = frozenset({"details", "subject"})
        with self._lock:
            ordered = sorted(self._scores.rows(), key=lambda stored: stored.order)
            return [
                stored.document(self.project_id, groups)
                | {"traceId": stored.trace_id, "observationId": stored.observation_id, "sessionId": stored.session_id}
                for stored in ordered
            ]

    def delete_score(self, id_: str) -> None:
        """Delete a score, at once."""
        with self._lock:
            self._scores.remove(id_)

    # --- control ----------------------------------------------------------------------------------------------------

    def note_request(self, route: str, status: str) -> None:
        """Count one answered request."""
        with self._lock:
            self._requests[route, status] += 1

    def counts(self) -> dict[str, Any]:
        """Return what is stored and what was asked for, as GET /_sandbox/counts shows it.

        `pairs` are distinct (trace, score name), `duplicates` what a metric would count too often (0 is right),
        `requests` counts by route and status, `rate_limited` the answers 429.
        """
        with self._lock:
            requests: dict[str, dict[str, int]] = {}
            for (route, status), times in sorted(self._requests.items()):
                requests.setdefault(route, {})[status] = times
            return {
                "traces": self._observations.traces,
                "observations": self._observations.observations,
                "observation_rows": self._observations.rows,
                **self._scores.counts(),
                "requests": requests,
                "rate_limited": sum(by_status.get("429", 0) for by_status in requests.values()),
            }

    def reset(self) -> None:
        """Forget everything stored and counted, and switch faults off; `behaviour` stays."""
        with self._lock:
            self._empty()
            self.configs.clear()
            self.faults.clear()
