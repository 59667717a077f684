"""The provider's batch API: many questions in one file, answered within a day at half the price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import orjson
import structlog

from evaluator.errors import Refused, Unavailable
from evaluator.loop import LoopThread
from evaluator.model.completion import Dialect, StatusError, complaint, read, refusal
from evaluator.model.endpoint import Endpoint
from evaluator.model.transport import Transport
from judges import Price, Prompt, Reply

DISCOUNT: Final = 0.5
"""What a batch costs, as a share of the price of single calls."""

MOST_LINES: Final = 2000
"""Questions of one batch: their answers must be read in one go."""

_ENDPOINT: Final = "/v1/chat/completions"
_LABEL: Final = "evaluator_batch"
_SECONDS: Final = 120.0
_NEWEST: Final = "100"
_log = structlog.get_logger(__name__)

_ENDED: Final = frozenset({"completed", "expired", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is: `ended` when nothing more comes, `refused` why it was not begun.

    `files` hold what came, `given` is the file of questions.
    """

    ended: bool
    files: tuple[str, ...] = ()
    given: str = ""
    refused: str = ""


class Answers(NamedTuple):
    """What came of the questions of a batch, by id: those left out should be asked again.

    `misunderstood` were refused for the form they were asked in; the next batch has a simpler one.
    """

    replies: Mapping[str, Reply]
    misunderstood: frozenset[str] = frozenset()


class BatchApi:
    """Files and batches of one OpenAI-compatible server. Every method blocks its thread."""

    def __init__(self, *, base_url: str, api_key: str, loop: LoopThread, prices: Mapping[str, Price]) -> None:
        """Talk to `base_url`, on `loop`; `prices` are USD per million tokens of single calls, by model.

        Raises:
            ConfigError: `base_url` is no address, or holds a password.
        """
        self._loop = loop
        self._prices = prices
        self._dialects: dict[str, Dialect] = {}

        async def connected() -> Transport:
            return Transport(Endpoint(base_url, api_key, timeout=_SECONDS))

        self._transport = loop.call(connected())

    def most(self, prompt: Prompt) -> float:
        """Return what a question in a batch may cost at most, in USD; 0 when nobody told the price."""
        price = self._prices.get(prompt.model)
        return price.cost(prompt.most_input_tokens, prompt.max_output_tokens) * DISCOUNT if price else 0.0

    def submit(self, prompts: Mapping[str, Prompt], label: str) -> str:
        """Send questions to one model, by the id of each, and return the id of their batch; `label` finds it again.

        Raises:
            Unavailable: not now; whether the batch was made is not known.
            FinalRefusal: never; the server has no batches, or not for this key.
        """
        lines = b"\n".join(_line(name, self._dialect(prompt.model).body(prompt)) for name, prompt in prompts.items())
        file = self._said(self._transport.upload("/files", {"purpose": "batch"}, lines))
        wanted = {
            "input_file_id": file.get("id"),
            "endpoint": _ENDPOINT,
            "completion_window": "24h",
            "metadata": {_LABEL: label},
        }
        made = self._said(self._transport.post("/batches", wanted)).get("id")
        if not isinstance(made, str):
            raise Unavailable("the model API made a batch without an id")
        return made

    def find(self, label: str) -> str | None:
        """Return the batch that was made under a label, among the newest; None when there is none.

        Raises:
            Unavailable: not now.
            FinalRefusal: never.
        """
        listed = self._said(self._transport.get("/batches", {"limit": _NEWEST})).get("data") or []
        return next((str(batch["id"]) for batch in listed if (batch.get("metadata") or {}).get(_LABEL) == label), None)

    def look(self, batch: str) -> Progress:
        """Return how far a batch is.

        Raises:
            Unavailable: not now.
            FinalRefusal: never; the batch is gone.
        """
        found = self._said(self._transport.get(f"/batches/{batch}"))
        files = tuple(str(found[key]) for key in ("output_file_id", "error_file_id") if found.get(key))
        refused = ""
        if found.get("status") == "failed":
            problems = (found.get("errors") or {}).get("data") or [{}]
            refused = str(problems[0].get("code") or "failed")
        return Progress(found.get("status") in _ENDED, files, str(found.get("input_file_id") or ""), refused)

    def answers(self, files: Sequence[str], models: Mapping[str, str]) -> Answers:
        """Return what became of the questions of a batch, and learn what the server does not understand of them.

        Args:
            files: those of its `Progress`.
            models: which model each question was asked of, by the id of the question; lines of others are left out.

        Raises:
            Unavailable: not now.
            FinalRefusal: never; a file is gone.
        """
        replies: dict[str, Reply] = {}
        simpler: dict[str, Dialect] = {}
        for name, line in self._lines(files, models):
            reply = self._reply(line, models[name])
            if reply is not None:
                replies[name] = reply
            elif (other := self._dialect(models[name]).without(_complaint(line))) is not None:
                simpler[name] = other
        # A complaint may quote a trace that holds these words: where others were answered, the form was understood.
        understood = {models[name] for name in replies}
        misunderstood = frozenset(name for name in simpler if models[name] not in understood)
        for name in misunderstood:
            self._learn(models[name], simpler[name])
        return Answers(replies, misunderstood)

    def discard(self, progress: Progress) -> None:
        """Delete a batch's files at the provider, which would keep prompts and answers; one that cannot be is told."""
        for file in filter(None, (progress.given, *progress.files)):
            try:
                self._asked(self._transport.delete(f"/files/{file}"))
            except (Unavailable, Refused) as error:
                _log.warning("a batch's file is left at the provider", file=file, reason=str(error))

    def close(self) -> None:
        """Close the connections."""
        self._loop.call(self._transport.close())

    def _lines(self, files: Sequence[str], models: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for file in files:
            for line in self._asked(self._transport.get(f"/files/{file}/content")).splitlines():
                # Half a line is a question of which nothing was heard.
                found = _loaded(line) if line.endswith(b"}") else {}
                name = found.get("custom_id")
                if isinstance(name, str) and name in models:
                    yield name, found

    def _dialect(self, model: str) -> Dialect:
        return self._dialects.get(model, Dialect())

    def _learn(self, model: str, dialect: Dialect) -> None:
        if self._dialects.get(model) != dialect:
            self._dialects[model] = dialect
            _log.info("the model's server does not know all that was sent", model=model, understands=str(dialect))

    def _reply(self, line: Mapping[str, Any], model: str) -> Reply | None:
        response = line.get("response")
        if not isinstance(response, Mapping) or response.get("status_code") != 200:
            return None
        try:
            reply = read(orjson.dumps(response.get("body")), model)
        except Unavailable:
            return None
        price = self._prices.get(model) or self._prices.get(reply.usage.model)
        used = reply.usage
        usd = price.cost(used.input_tokens, used.output_tokens, used.cached_tokens) * DISCOUNT if price else 0.0
        return replace(reply, usage=replace(used, usd=usd))

    def _said(self, work: Any) -> Mapping[str, Any]:
        return _loaded(self._asked(work))

    def _asked(self, work: Any) -> bytes:
        try:
            answer: bytes = self._loop.call(work)
        except StatusError as error:
            raise refusal(error) from None
        return answer


def _line(name: str, body: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"custom_id": name, "method": "POST", "url": _ENDPOINT, "body": body})


def _complaint(line: Mapping[str, Any]) -> str:
    """Return what the server does not understand of a question, in lower case; empty when it says nothing of that."""
    response = line.get("response")
    status = response.get("status_code") if isinstance(response, Mapping) else None
    if not isinstance(response, Mapping) or not isinstance(status, int):
        return ""
    return complaint(StatusError(status, {}, orjson.dumps(response.get("body"))))


def _loaded(content: bytes) -> Mapping[str, Any]:
    """Read a JSON object; one that is none says nothing."""
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise Unavailable("the model API answered something that is not JSON") from None
    return found if isinstance(found, Mapping) else {}
