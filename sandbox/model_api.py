"""The model API stand-in: OpenAI's chat completions, with a judge whose verdicts follow from what it is shown."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import orjson
from aiohttp import web

from sandbox.batches import BatchDesk
from sandbox.faults import CONTROL, Fault, FaultKind, Faults, Handler, controlling, injecting
from sandbox.logprobs import told
from sandbox.quality import hardness, quality, talks_to_the_judge

_CHARACTERS_A_TOKEN: Final = 4
_CACHE_STEP: Final = 128
_RANGE: Final = re.compile(r"from (-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)")
_STEPS: Final = re.compile(r"in steps of (\d+(?:\.\d+)?)")
_LABELS: Final = re.compile(r'exactly one of ((?:"[^"]+"(?:, )?)+)')
_SEVERAL: Final = re.compile(r'a list of one or more of ((?:"[^"]+"(?:, )?)+)')
_SEVERAL_QUESTIONS: Final = re.compile(r'^The score of "([^"]+)" is (.*)\.$', re.MULTILINE)
_KEYS: Final = re.compile(r'each of the keys ((?:"[^"]+"(?:, )?)+)')


@dataclass(slots=True)
class Answers:
    """What share of answers is unusable, and how; each may be changed while serving.

    `wrong_schema` is JSON, but another object than was asked for; `too_long` refuses the prompt as longer than the
    model's context.
    """

    truncated: float = 0.0
    malformed: float = 0.0
    out_of_range: float = 0.0
    empty: float = 0.0
    filtered: float = 0.0
    wrong_schema: float = 0.0
    too_long: float = 0.0


class ModelStandIn:
    """An OpenAI-compatible server with one simulated judge.

    Attributes:
        faults: What goes wrong on the wire.
        answers: What is wrong with answers that do arrive.
        latency_seconds: Median time an answer takes; 0 answers at once.
        latency_spread: Sigma of its log-normal spread.
        latency_of: Seconds an answer of one model takes, by name, in place of the two above.
        context_of: Tokens a model takes, by name; a prompt that is longer is refused. Without it, any number.
        wanted_key: The one key that is taken; empty takes any.
        out_of_credit: Answer 429 with insufficient_quota, as an account does that has used up its credit.
        most_logprobs: Likeliest tokens told at each place; asked for more, it answers 400. 0 refuses to tell any.
        leave_out_logprobs: Tell no probabilities and say nothing of it, as many compatible servers do.
        gullible: Share of prompts in which the judge does what the judged text tells it.
        stricter_of: By how much one model finds everything worse than it is, by name, as a share of the scale.
        fingerprint_of: What answers of one model say as `system_fingerprint`, by name; without it they say nothing.
        doubt: Share of the probability that lies beside the level that is said; `astray` lies outside the scale.
        refuse_temperature: Answer 400 to a temperature, as reasoning models do.
        refuse_json_schema: Answer 400 to structured output, as older servers do; `refuse_json_object` likewise.
        cached_from: Tokens of a system prompt from which on its next prompts are told to be cached; 0: none is, ever.
        tells_usage: Whether answers say how many tokens were used; some servers do not.
        listens: Whether what is asked is kept in `heard`, alone or in a batch, body by body.
        calls: Completions answered.
        usable: Those of them that nothing was wrong with.
    """

    def __init__(self, seed: int = 0) -> None:
        self.faults = Faults(seed=seed)
        self.answers = Answers()
        self.latency_seconds = 0.02
        self.latency_spread = 0.5
        self.latency_of: dict[str, float] = {}
        self.context_of: dict[str, int] = {}
        self.wanted_key = ""
        self.most_logprobs = 20
        self.leave_out_logprobs = False
        self.gullible = 0.0
        self.stricter_of: dict[str, float] = {}
        self.fingerprint_of: dict[str, str] = {}
        self.doubt = 0.2
        self.astray = 0.0
        self.out_of_credit = False
        self.refuse_temperature = False
        self.refuse_json_schema = False
        self.refuse_json_object = False
        self.tells_usage = True
        self.cached_from = 0
        self.listens = False
        self.heard: list[dict[str, Any]] = []
        self.seed = seed
        self.batches = BatchDesk(self._answer, self._problem, _error, seed)
        self.reset()

    def reset(self) -> None:
        """Forget what was counted and start the generator anew."""
        self._random = Random(self.seed)
        self._tokens: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._calls_of: Counter[str] = Counter()
        self._beginnings: set[str] = set()
        self.calls = 0
        self.usable = 0
        self.in_flight = 0
        self.most_in_flight = 0

    def counts(self) -> dict[str, Any]:
        """Return what was asked and answered."""
        return {
            "calls": self.calls,
            "usable": self.usable,
            "calls_of": dict(self._calls_of),
            "input_tokens": self._tokens["input"],
            "output_tokens": self._tokens["output"],
            "most_in_flight": self.most_in_flight,
            "statuses": dict(self._statuses),
            "rate_limited": self._statuses["429"],
            **self.batches.counts(),
        }

    def app(self) -> web.Application:
        """Return the web application that serves it."""
        app = web.Application(middlewares=[self._counted(), injecting(self.faults, _refused)], client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        # An Azure resource: the deployment stands in the path, the key in a header of its own.
        app.router.add_post("/openai/deployments/{deployment}/chat/completions", self._complete)
        app.router.add_get("/openai/models", self._models)
        self.batches.add_routes(app)
        app.router.add_get(f"{CONTROL}counts", self._count)
        app.router.add_post(f"{CONTROL}faults", controlling(self.faults))
        return app

    def _counted(self) -> Any:
        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            if not request.path.startswith(CONTROL):
                self._statuses[str(response.status)] += 1
            return response

        return count

    async def _count(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self.counts())

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if (denied := self._denied(request)) is not None:
            return denied
        listed = [{"id": name, "object": "model"} for name in ("gpt-5.4-mini", "gpt-5.4")]
        return web.json_response({"object": "list", "data": listed})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        if (denied := self._denied(request)) is not None:
            return denied
        if self.out_of_credit:
            return _error(429, "You exceeded your current quota.", "insufficient_quota")
        body = orjson.loads(await request.read())
        if (problem := self._problem(body)) is not None:
            return _error(400, problem, "invalid_request_error")
        if (longest := self._refused_as_too_long(body)) is not None:
            words = f"This model's maximum context length is {longest} tokens."
            return _error(400, words, "context_length_exceeded")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.calls += 1
        self._calls_of[str(body.get("model"))] += 1
        try:
            await asyncio.sleep(self._latency(body))
            return web.json_response(self._answer(body))
        finally:
            self.in_flight -= 1

    def _denied(self, request: web.Request) -> web.Response | None:
        azure = request.path.startswith("/openai/")
        if azure and "api-version" not in request.query:
            return _error(404, "Resource not found", "404")
        given = request.headers.get("api-key" if azure else "Authorization", "").removeprefix("Bearer ").strip()
        if given and self.wanted_key in {"", given}:
            return None
        return _error(401, "Incorrect API key provided.", "invalid_api_key")

    def _refused_as_too_long(self, body: dict[str, Any]) -> int | None:
        """Return the context of the model when a prompt is longer, or is said to be."""
        context = self.context_of.get(str(body.get("model")))
        if context is not None and len(_prompt(body)) // _CHARACTERS_A_TOKEN > context:
            return context
        said = self.answers.too_long and self._random.random() < self.answers.too_long
        return 8192 if said else None

    def _latency(self, body: dict[str, Any]) -> float:
        if (known := self.latency_of.get(str(body.get("model")))) is not None:
            return known
        return self.latency_seconds * self._random.lognormvariate(0, self.latency_spread)

    def _problem(self, body: dict[str, Any]) -> str | None:
        if self.refuse_temperature and body.get("temperature", 1) != 1:
            return "Unsupported value: 'temperature' is not supported with this model. Only the default (1) is."
        if body.get("logprobs") and (problem := self._too_many_logprobs(body.get("top_logprobs", 0))) is not None:
            return problem
        wanted = body.get("response_format", {"type": "text"})
        match wanted.get("type"):
            case "json_schema":
                if self.refuse_json_schema:
                    return (
                        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."
                    )
                return _not_strict(wanted.get("json_schema", {}).get("schema", {}))
            case "json_object":
                if self.refuse_json_object:
                    return "Invalid parameter: 'response_format' of type 'json_object' is not supported."
                if "json" not in _prompt(body).lower():
                    return "'messages' must contain the word 'json' in some form, to use 'response_format' json_object."
        return None

    def _too_many_logprobs(self, wanted: int) -> str | None:
        if self.most_logprobs == 0:
            return "'logprobs' is not supported with this model."
        if wanted > self.most_logprobs:
            return f"Invalid value for 'top_logprobs': must be less than or equal to {self.most_logprobs}."
        return None

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.listens:
            self.heard.append(body)
        prompt = _prompt(body)
        text, reason = self._spoilt(json.dumps(_verdict(body, prompt, self.stricter_of, believes=self._believes())))
        read, written = len(prompt) // _CHARACTERS_A_TOKEN, max(1, len(text) // _CHARACTERS_A_TOKEN)
        self._tokens.update(input=read, output=written)
        used = {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": self._cached(body)},
        }
        choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
        if body.get("logprobs") and not self.leave_out_logprobs:
            choice["logprobs"] = {"content": told(text, self.doubt, self.astray)}
        return {
            "id": f"chatcmpl-{self.calls}",
            "object": "chat.completion",
            "created": 0,
            "model": body.get("model", ""),
            "choices": [] if reason == "none" else [choice],
            **({"usage": used} if self.tells_usage else {}),
            **({"system_fingerprint": told_as} if (told_as := self.fingerprint_of.get(str(body.get("model")))) else {}),
        }

    def _cached(self, body: dict[str, Any]) -> int:
        """Return how much of a prompt is cached: a long system prompt that came before, in steps as OpenAI's cache."""
        beginning = _said(body.get("messages", [{}])[0].get("content", ""))
        tokens = len(beginning) // _CHARACTERS_A_TOKEN
        if not self.cached_from or tokens < self.cached_from:
            return 0
        known = beginning in self._beginnings
        self._beginnings.add(beginning)
        return tokens // _CACHE_STEP * _CACHE_STEP if known else 0

    def _believes(self) -> bool:
        return self.gullible > 0 and self._random.random() < self.gullible

    def _spoilt(self, text: str) -> tuple[str, str]:
        """Return what arrives of an answer and its finish reason."""
        draw = self._random.random()
        spoilt = (
            (self.answers.truncated, (text[: len(text) // 2], "length")),
            (self.answers.malformed, ("The score would be about {four} out of", "stop")),
            (self.answers.out_of_range, ('{"reasoning": "Beyond all measure.", "score": 1000}', "stop")),
            (self.answers.empty, ("", "none")),
            (self.answers.filtered, ("", "content_filter")),
            (self.answers.wrong_schema, ('{"verdict": {"grade": "good", "points": [4]}}', "stop")),
        )
        for share, outcome in spoilt:
            if draw < share:
                return outcome
            draw -= share
        self.usable += 1
        return text, "stop"


def _error(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": code, "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)


def _refused(fault: Fault) -> web.Response:
    if fault.kind is FaultKind.RATE_LIMITED:
        return _error(429, "Rate limit reached.", "rate_limit_exceeded", {"Retry-After": f"{fault.seconds:g}"})
    return _error(fault.status, "The server had an error while processing your request.", "server_error")


def _prompt(body: dict[str, Any]) -> str:
    return "\n".join(_said(message.get("content", "")) for message in body.get("messages", []))


def _said(content: Any) -> str:
    """Return the text of a message; of images and files only that they are there."""
    if not isinstance(content, list):
        return str(content)
    return "\n".join(str(part.get("text") or f"({part.get('type')})") for part in content)


def _not_strict(schema: dict[str, Any]) -> str | None:
    """Say why a schema is not one OpenAI takes as strict; None when it is."""
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            return (
                "Invalid schema for response_format: 'additionalProperties' is required to be supplied and to be false."
            )
        if set(schema.get("required", [])) != set(properties):
            return "Invalid schema for response_format: 'required' must include every key in properties."
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inner += [schema["items"]] if "items" in schema else []
    return next((problem for part in inner if (problem := _not_strict(part)) is not None), None)


def _verdict(
    body: dict[str, Any], prompt: str, stricter: Mapping[str, float], *, believes: bool = False
) -> dict[str, Any]:
    """Answer in the form asked for: one verdict, or under each key of several questions one."""
    good, why = (1.0, "it says so itself") if believes and talks_to_the_judge(prompt) else quality(prompt)
    good = min(max(good - stricter.get(str(body.get("model")), 0.0), 0.0), 1.0)
    reasoning = f"Simulated verdict: {why}."
    asked = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
    if "notes" in asked or '{"notes": "..."}' in prompt:
        return {"notes": f"Simulated notes on {len(prompt):,} characters: {why}."}
    if "cases" in asked:
        case = {"disagreement": 1, "case": "A simulated kind of case", "because": "people decided so"}
        return {"reasoning": "Simulated: nothing was understood.", "anchors": [], "cases": [case]}
    if "score" in asked:
        return {"reasoning": reasoning, "score": _by_schema(asked["score"], good)}
    if asked:
        values = {key: _by_schema(each["properties"]["score"], good) for key, each in asked.items()}
    elif several := _SEVERAL_QUESTIONS.findall(prompt):
        values = {key: _by_words(words, good) for key, words in several}
    else:
        return {"reasoning": reasoning, "score": _by_words(prompt, good)}
    return {key: {"reasoning": reasoning, "score": value} for key, value in values.items()}


def _by_schema(schema: dict[str, Any], good: float) -> Any:
    chosen = schema.get("anyOf", [schema])[0]
    match chosen.get("type"):
        case "boolean":
            return good >= 0.5
        case "array":
            return _labels(chosen["items"]["enum"], good)
        case "object":
            return _findings(list(chosen["properties"]), good)
    if "enum" in chosen:
        return _label(chosen["enum"], good)
    return _by_words(str(chosen.get("description", "")), good)


def _by_words(text: str, good: float) -> Any:
    """Find the scale in words, as a judge without structured output must."""
    if (keys := _KEYS.search(text)) is not None:
        return _findings(_quoted(keys[1]), good)
    if (labels := _SEVERAL.search(text)) is not None:
        return _labels(_quoted(labels[1]), good)
    if (labels := _LABELS.search(text)) is not None:
        return _label(_quoted(labels[1]), good)
    if (limits := _RANGE.search(text)) is not None:
        low, high = float(limits[1]), float(limits[2])
        step = float(steps[1]) if (steps := _STEPS.search(text)) is not None else 1.0
        return round(low + round(good * (high - low) / step) * step, 6)
    return good >= 0.5


def _quoted(words: str) -> list[str]:
    return re.findall(r'"([^"]+)"', words)


def _label(labels: list[Any], good: float) -> Any:
    """Take labels as ordered from worst to best."""
    return labels[min(int(good * len(labels)), len(labels) - 1)]


def _labels(labels: list[str], good: float) -> list[str]:
    """Take every label that is easy enough, at least one."""
    return [label for label in labels if good >= hardness(label)] or [_label(labels, good)]


def _findings(names: list[str], good: float) -> dict[str, dict[str, str]]:
    """Answer each criterion of a checklist: some are harder to meet than others."""
    return {
        name: {"reason": f"Simulated finding: {good:.2f} good.", "answer": "yes" if good >= hardness(name) else "no"}
        for name in names
    }
