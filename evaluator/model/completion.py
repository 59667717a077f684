"""Chat completions as bytes: what is sent, what came back, what a refusal means. No IO."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from evaluator.errors import Refused, Unavailable
from evaluator.model.attaching import content
from evaluator.model.rate_headers import exhausted
from judges import DECLINED, NO_CHOICE, Price, Prompt, Reply, Token
from traces import Usage

LONGEST_PAUSE: Final = 300.0
"""Seconds everybody waits at most when a server asks for a pause."""

_MOST_TOKENS: Final = 1_000_000_000
"""Of one answer, as far as is believed: what a server makes up must still fit into a counter."""

_FORMS: Final = ("json_schema", "json_object", "text")
_MOST_LIKELY: Final = (20, 5, 0)
"""Likeliest tokens asked for at each place; what OpenAI gives at most, what older servers do, none."""

_LONGEST_COMPLAINT: Final = 2000
_CONTEXT_WORDS: Final = (
    "context length", "context window", "context_length", "context size", "prompt is too long",
    "maximum number of tokens",
)  # fmt: skip
_CONTEXT: Final = re.compile(
    r"(?:context (?:length|window|size)[^0-9.]{0,40}|tokens > |tokens allowed \()"
    r"([1-9][0-9]{0,2}(?:,[0-9]{3}){1,2}|[1-9][0-9]{2,8})\b"
)
"""How a refusal tells what the model takes: OpenAI, Azure and vLLM; Anthropic; Gemini; llama.cpp."""

TOO_LONG: Final = "context_too_long"
"""Kind of the refusal of a prompt that is longer than the model's context."""

KEY_REFUSED: Final = "key_refused"
"""Kind of the refusal of a key."""

ACCESS_REFUSED: Final = "access_refused"
"""Kind of the refusal of what a key may not have; a firewall that dislikes a prompt says so too."""

QUOTA_EXHAUSTED: Final = "quota_exhausted"
"""Kind of the refusal for want of credit."""

MODEL_REFUSED: Final = "model_refused"
"""Kind of the refusal of a model or an address that is not there."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
"""What a configuration may be called."""

_PASSING: Final = frozenset({408, 409, 425, 429})
"""Refusals that pass with time; those from 500 on do too."""

_TOO_LONG: Final = (TOO_LONG, "lower max_tokens of the rubric's inputs")
_NO_CREDIT: Final = (QUOTA_EXHAUSTED, "the account has no credit left")
_REDIRECTED: Final = (MODEL_REFUSED, "it redirects; set {address} to the address it leads to")
_KINDS: Final = {
    **dict.fromkeys(("301", "302", "303", "307", "308"), _REDIRECTED),
    "insufficient_quota": _NO_CREDIT,
    "402": _NO_CREDIT,
    "401": (KEY_REFUSED, "check {key}"),
    "403": (ACCESS_REFUSED, "check what {key} may use"),
    "404": (MODEL_REFUSED, "check the rubric's model and {address}"),
    "content_filter": ("content_filter", "the provider does not read this trace"),
    "context_length_exceeded": _TOO_LONG,
    "413": _TOO_LONG,
}
"""What a final refusal is called and what a person can do, by the error's code or else its status."""


class StatusError(Exception):
    """A server answered with a status that is no success; `code`, `param` and `body` are those of OpenAI's errors.

    They are the server's words and may quote key and prompt: none is in the text of the error.
    """

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Read an answer; `headers` are found whatever their case."""
        super().__init__(f"status {status}")
        try:
            said = orjson.loads(content)
        except orjson.JSONDecodeError:
            said = content.decode(errors="replace")
        self.status = status
        self.headers = headers
        self.body: object = said.get("error", said) if isinstance(said, dict) else said
        told = self.body if isinstance(self.body, dict) else {}
        self.code, self.param = told.get("code"), told.get("param")


class FinalRefusal(Refused):
    """The server will never answer this; `kind` is fit to be counted.

    `context` is how many tokens the model takes, where the refusal of a longer prompt told.
    """

    def __init__(self, kind: str, message: str, context: int | None = None) -> None:
        """Call it `kind`."""
        self.kind = kind
        self.context = context
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a model's server understands: the form of its answers, its word for their limit, whether a temperature.

    `logprobs` are the likeliest tokens it tells of at each place; 0 when it tells none.
    """

    form: str = _FORMS[0]
    limit: str = "max_completion_tokens"
    temperature: bool = True
    logprobs: int = _MOST_LIKELY[0]

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """Return the body of a request."""
        body: dict[str, Any] = {
            "model": prompt.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": content(prompt)}],
            self.limit: prompt.max_output_tokens,
        }
        if self.temperature and prompt.temperature is not None:
            body["temperature"] = prompt.temperature
        if prompt.logprobs:
            body |= {"logprobs": True, "top_logprobs": self.logprobs}
        if self.form == "json_schema":
            schema = {"name": "verdict", "strict": True, "schema": prompt.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.form == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def without(self, said: str, *, logprobs: bool = False) -> Dialect | None:
        """Return the dialect without what a server complains of; None when it complains of something else.

        Args:
            said: the complaint, in lower case.
            logprobs: whether it was asked for them.
        """
        if logprobs and "logprobs" in said and self.logprobs:
            return replace(self, logprobs=_MOST_LIKELY[_MOST_LIKELY.index(self.logprobs) + 1])
        if "temperature" in said and self.temperature:
            return replace(self, temperature=False)
        if "max_completion_tokens" in said and self.limit == "max_completion_tokens":
            return replace(self, limit="max_tokens")
        if any(word in said for word in ("response_format", "json_schema", "json_object", "structured output")):
            simpler = _FORMS[_FORMS.index(self.form) + 1 :]
            return replace(self, form=simpler[0]) if simpler else None
        return None


def complaint(error: StatusError) -> str:
    """Return what a server does not understand of a request, in lower case; empty when it refuses something else."""
    if error.status not in {400, 422} or _code(error) in _KINDS:
        return ""
    return error.param.lower() if isinstance(error.param, str) and error.param else _words(error)


def refusal(
    error: StatusError, address: str = "OPENAI_BASE_URL", key: str = "OPENAI_API_KEY"
) -> Unavailable | FinalRefusal:
    """Sort a refusal by what to do; `address` and `key` say where a person sets them.

    The server's own words may quote the prompt or the key: they stay out of errors and logs.
    """
    status, code = error.status, _code(error)
    if code not in _KINDS and (status in _PASSING or status >= 500):
        what = "rate limit is reached" if status == 429 else f"answer is {status}"
        return Unavailable(f"the model API's {what}", pause(error.headers))
    kind, advice = _KINDS.get(code) or _KINDS.get(str(status)) or _by_words(error)
    context = _context(error) if kind == TOO_LONG else None
    said = f"the model API answered {status} {code}".rstrip()
    return FinalRefusal(kind, f"{said}: {advice.format(address=address, key=key)}", context)


def pause(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a server asks everybody to wait; None when it does not say."""
    milliseconds = _number(headers.get("retry-after-ms"))
    seconds = _number(headers.get("retry-after")) if milliseconds is None else milliseconds / 1000
    if seconds is None:
        seconds = _until(headers.get("retry-after"), headers.get("date"))
    if seconds is None:
        seconds = exhausted(headers, 1)
    return None if seconds is None else min(max(seconds, 0.05), LONGEST_PAUSE)


PriceOf = Callable[[str], Price | None]
"""Gives the price of a model by the name it answered with; None when nobody told it."""


def read(content: bytes, asked: str, price_of: PriceOf = lambda _: None) -> Reply:
    """Read a completion of the model `asked` for; without a price it has cost nothing that anybody knows of.

    Raises:
        Unavailable: it is none: a proxy's page, a gateway's error under status 200.
    """
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise Unavailable("the model API answered something that is not JSON") from None
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or answer.get("error"):
        raise Unavailable("the model API answered without choices")
    usage = _usage(answer, asked, price_of)
    choice = choices[0] if choices and isinstance(choices[0], dict) else {"finish_reason": NO_CHOICE}
    message = choice.get("message")
    text, declined = _text(message) if isinstance(message, dict) else ("", False)
    finish = DECLINED if declined else str(choice.get("finish_reason") or "")
    tokens = _tokens(choice["logprobs"]) if choice.get("logprobs") else ()
    return Reply(text, usage.model, finish, usage, tokens, _fingerprint(answer.get("system_fingerprint")))


def _fingerprint(told: object) -> str:
    """Return what a provider calls the configuration that answered, if that can be a name; it goes into scores."""
    return told if isinstance(told, str) and _NAME.fullmatch(told) else ""


def _text(message: Mapping[str, Any]) -> tuple[str, bool]:
    """Return what a message says, and whether it is a refusal to answer."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    text = content if isinstance(content, str) else ""
    return text, not text and bool(message.get("refusal"))


def _tokens(told: object) -> tuple[Token, ...]:
    """Return the tokens of an answer with the likeliest ones at each place; none where they are not told."""
    listed = told.get("content") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        return ()
    return tuple(
        Token(str(one["token"]), dict(filter(None, map(_likely, [one, *_listed(one.get("top_logprobs"))]))))
        for one in listed
        if isinstance(one, dict) and "token" in one
    )


def _likely(one: object) -> tuple[str, float] | None:
    if not isinstance(one, dict):
        return None
    text, logarithm = one.get("token"), one.get("logprob")
    if not isinstance(text, str) or not isinstance(logarithm, int | float) or math.isnan(logarithm):
        return None
    return text, float(logarithm)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _usage(answer: Mapping[str, Any], asked: str, price_of: PriceOf) -> Usage:
    used = answer.get("usage")
    counts = used if isinstance(used, dict) else {}
    told = answer.get("model")
    model = told if isinstance(told, str) and told else asked
    read, written = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
    held = min(_held(counts), read)
    price = price_of(model)
    return Usage(model, 1, read, written, price.cost(read, written, held) if price else 0.0, cached_tokens=held)


def _held(counts: Mapping[str, Any]) -> int:
    """Return the tokens that a prompt cache held: as OpenAI, Azure and vLLM tell them, or as DeepSeek does."""
    details = counts.get("prompt_tokens_details")
    told = details.get("cached_tokens") if isinstance(details, dict) else None
    return _count(counts.get("prompt_cache_hit_tokens") if told is None else told)


def _count(value: object) -> int:
    return int(min(max(value, 0), _MOST_TOKENS)) if isinstance(value, int | float) else 0


def _code(error: StatusError) -> str:
    code = str(error.code or "")
    return code if re.fullmatch(r"[a-z_]{1,40}", code) else ""


def _words(error: StatusError) -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return str(said or body)[:_LONGEST_COMPLAINT].lower()


def _by_words(error: StatusError) -> tuple[str, str]:
    # Many servers have no code for the one refusal that happens daily.
    said = _words(error)
    return (
        _TOO_LONG if any(word in said for word in _CONTEXT_WORDS) else ("request_refused", "check the rubric's model")
    )


def _context(error: StatusError) -> int | None:
    found = _CONTEXT.search(_words(error))
    return int(found[1].replace(",", "")) if found else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _until(moment: str | None, now: str | None) -> float | None:
    """Return the seconds between two dates of HTTP, both by the server's own clock."""
    try:
        return (parsedate_to_datetime(moment or "") - parsedate_to_datetime(now or "")).total_seconds()
    except (ValueError, TypeError):
        return None
