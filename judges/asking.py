"""One question to a judge: its prompt, how an answer is read, and the one repair of an answer that cannot be read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from judges.answer import CANNOT_JUDGE, BaseScale, OffScale
from judges.opinions import FINGERPRINT
from judges.weighing import Token, weighed
from traces import Failure, Outcome, Unscored, Usage, Verdict, record, tokens, well_formed

LONGEST_REASON: Final = 4000
"""Characters of a judge's reasoning that are kept."""

MORE_ROOM: Final = 4
"""A cut answer is asked for again with so many times the output limit: a reasoning model may spend it all thinking."""

CUT: Final = frozenset({"length", "max_tokens"})
"""Finish reasons of an answer that met its output limit."""

WITHHELD: Final = "content_filter"
"""Finish reason of an answer that the provider withheld."""

DECLINED: Final = "refusal"
"""Finish reason of a model that declines to answer; it would decline again."""

NO_LOGPROBS: Final = "no_logprobs"
"""Kind of failure of a question that wants probabilities, asked of a server that tells none."""

UNTOLD_LOGPROBS: Final = (
    "the model's server tells no probabilities: leave out judge.logprobs, or name a model whose server does"
)
"""Its reason."""

NO_CHOICE: Final = "no_choice"
"""Finish reason given to a response that holds no answer at all."""

_AROUND_TOKENS: Final = 100
"""Tokens that a server puts around messages, generously."""

_MEDIUM_TOKENS: Final = 5000
"""Tokens of an image, generously; a long document may have more."""

_DECODER: Final = json.JSONDecoder()

_LABELLED: Final = re.compile(
    r"^[^\w\n]*(?:final )?(?:score|rating|verdict)[^\w\n:=]*[:=](.*)$", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image or file that a prompt refers to: its content in base64, or why it is `missing`."""

    id: str
    type: str = ""
    content: str = ""
    missing: str = ""


@record(frozen=True, slots=True)
class Prompt:
    """What is sent to a model.

    `schema` is the strict JSON Schema of the answer, `max_output_tokens` its limit, thinking included; a `temperature`
    of None leaves it to the model. `repair` marks the second and last try. `media` are the ids of images and files to
    be shown behind the text, `attached` what became of them. `payers` are the rubrics whose budgets it is paid from, in
    equal parts. With `logprobs` the answer's probabilities are wanted. `fence` is the code of its fences, random, and
    in none of the texts they hold.
    """

    model: str
    system: str
    user: str
    schema: Mapping[str, Any]
    temperature: float | None = 0.0
    max_output_tokens: int = 1500
    repair: bool = False
    media: tuple[str, ...] = ()
    attached: tuple[Attachment, ...] = ()
    payers: tuple[str, ...] = ()
    logprobs: bool = False
    fence: str = ""

    @property
    def likely_tokens(self) -> int:
        """About how many tokens a provider counts for it before it is answered: all it may write is among them."""
        return tokens(self.system) + tokens(self.user) + len(self.media) * _MEDIUM_TOKENS + self.max_output_tokens

    @property
    def most_input_tokens(self) -> int:
        """As how many tokens it may be counted at most: each is at least a byte long."""
        texts = (self.system, self.user, json.dumps(self.schema))
        shown = _AROUND_TOKENS + len(self.media) * _MEDIUM_TOKENS
        return shown + sum(len(text.encode(errors="surrogatepass")) for text in texts)


@record(frozen=True, slots=True)
class Reply:
    """What a model answered. `usage` counts this and every earlier call for the same question.

    `tokens` are those of the text with their probabilities, where they were wanted and told. `fingerprint` is what the
    provider calls the configuration that answered, empty where it says nothing.
    """

    text: str
    model: str
    finish_reason: str
    usage: Usage
    tokens: tuple[Token, ...] = ()
    fingerprint: str = ""

    @property
    def judge(self) -> dict[str, str]:
        """Who answered, for the details of a verdict."""
        return {"judge_model": self.model} | ({FINGERPRINT: self.fingerprint} if self.fingerprint else {})


@dataclass(frozen=True, slots=True)
class Member:
    """What a question brings into a call that it shares with the others of its `group`: see judges/grouping.

    `criteria` is what to judge, levels included; `shown` are its inputs by name, as they would be fenced.
    """

    group: str
    rubric: str
    criteria: str
    shown: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Escalation:
    """The `model` that is asked too when the confidence of the others is lower than `below`."""

    model: str
    below: float


@record(frozen=True, slots=True)
class Question:
    """A prompt and the scale its answer must lie on. `details` go into the verdict.

    `models` are those whose opinions are asked, each as often as it stands there; none is the prompt's alone. `member`
    says how it may be asked together with others; None when it is asked alone. `repack` gives the same question for a
    context of so many tokens. `escalate` says who is asked when those are unsure. `versions` are those of the rubrics.
    """

    prompt: Prompt
    scale: BaseScale
    details: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    member: Member | None = None
    repack: Callable[[int], Question] | None = field(default=None, repr=False, compare=False)
    escalate: Escalation | None = None
    versions: tuple[str, ...] = ()

    @property
    def asks(self) -> tuple[str, ...]:
        """The model of each opinion."""
        return self.models or (self.prompt.model,)

    @property
    def may_ask(self) -> frozenset[str]:
        """Each model that may have a part in the answer."""
        return frozenset(self.asks if self.escalate is None else (*self.asks, self.escalate.model))

    def opinions(self) -> tuple[Question, ...]:
        """Return the questions to ask, one for each opinion."""
        if len(self.models) < 2:
            return (self,)
        return tuple(replace(self.of(model), models=()) for model in self.models)

    @property
    def stronger(self) -> Question | None:
        """The same question to whom it escalates to, whose word counts as it is; None when it does not escalate."""
        return None if self.escalate is None else replace(self.of(self.escalate.model).plain(), models=())

    def identity(self) -> Iterator[str]:
        """Give all that can change what comes of asking its model once, in pieces.

        Questions with the same pieces are the same question. The code of the fences is left out: the text is in pieces
        where it stood, so that nothing within them can pass for a fence.
        """
        asked = self.prompt
        ruler = [self.versions, asked.schema, self.details]
        yield json.dumps(
            [*ruler, asked.model, asked.temperature, asked.max_output_tokens, asked.logprobs, asked.media],
            sort_keys=True,
            default=str,
        )
        yield asked.system
        yield from asked.user.split(asked.fence) if asked.fence else (asked.user,)

    def of(self, model: str) -> Question:
        """Return the same question to another model."""
        return replace(self, prompt=replace(self.prompt, model=model))

    def likely_prompts(self) -> tuple[Prompt, ...]:
        """Return what is sent when every answer can be read."""
        return (self.prompt,)

    def plain(self) -> Question:
        """Return the same question without a wish for probabilities."""
        return replace(self, prompt=replace(self.prompt, logprobs=False))

    def read(self, reply: Reply) -> Outcome | Prompt:
        """Read a reply: an outcome, or the prompt to send once more.

        An answer that cannot be read is asked for again once; after that it is a failure, never a number.
        """
        if (kept := kept_from_reading(reply)) is not None:
            return kept
        try:
            outcome = self._verdict(reply)
        except OffScale as problem:
            return self._repair_or_fail(reply, problem)
        if not self.prompt.logprobs or not isinstance(outcome, Verdict):
            return outcome
        if not reply.tokens:
            return Failure(NO_LOGPROBS, UNTOLD_LOGPROBS, usage=reply.usage)
        return weighed(outcome, reply.tokens, self.scale)

    def again(self, prompt: Prompt) -> Question:
        """Return the question as it stands after a repair."""
        return replace(self, prompt=prompt)

    def smaller(self, context: int | None) -> Question | None:
        """Return the question for a smaller context, once its model found it too long; None when that was tried.

        Args:
            context: tokens that the model takes, when it told.
        """
        if self.repack is None:
            return None
        sent = tokens(self.prompt.system) + tokens(self.prompt.user) + self.prompt.max_output_tokens
        packed = self.repack(min(context or sent // 2, sent * 2 // 3))  # by another count than ours it was too long
        packed = replace(packed.of(self.prompt.model), models=(), repack=None)
        return packed if self.prompt.logprobs else packed.plain()

    def _verdict(self, reply: Reply) -> Verdict | Unscored:
        answer = _answer(reply.text, whole=reply.finish_reason not in CUT)
        outcome = self.scale.judged(answer["score"], reason_of(answer))
        if isinstance(outcome, Unscored):
            return replace(outcome, usage=reply.usage)
        details = {**self.details, **outcome.details, **reply.judge}
        return Verdict(outcome.value, outcome.reason, outcome.confidence, reply.usage, details)

    def _repair_or_fail(self, reply: Reply, problem: OffScale) -> Failure | Prompt:
        cut = reply.finish_reason in CUT
        if self.prompt.repair:
            kind = "answer_cut" if cut else "no_answer" if reply.finish_reason == NO_CHOICE else "bad_answer"
            return Failure(kind, f"twice no usable answer: {problem}", usage=reply.usage)
        if cut:
            room = self.prompt.max_output_tokens * MORE_ROOM
            return replace(self.prompt, repair=True, max_output_tokens=room)
        # Not a word of the answer itself: it may repeat what the evaluated text made the judge say.
        note = f"\n\nYour previous answer could not be used: {problem}. Answer with the JSON object only."
        return replace(self.prompt, repair=True, user=self.prompt.user + note)


def kept_from_reading(reply: Reply) -> Failure | None:
    """Return why a reply holds no answer and a repair would hold none either; None when it may be read."""
    if reply.finish_reason == WITHHELD:
        return Failure("content_filter", "the provider withheld the answer", usage=reply.usage)
    if reply.finish_reason == DECLINED:
        return Failure("judge_declined", "the model declined to judge this", usage=reply.usage)
    return None


def answer_schema(scale: BaseScale) -> dict[str, Any]:
    """Return the strict schema of an answer: reason first, then the score, or that it cannot be told."""
    abstain = {"type": "string", "enum": [CANNOT_JUDGE]}
    return {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "description": "two to four sentences, naming what decided the score"},
            "score": {"anyOf": [scale.answer_schema(), abstain]},
        },
        "required": ["reasoning", "score"],
        "additionalProperties": False,
    }


def _answer(text: str, *, whole: bool) -> Mapping[str, Any]:
    """Find the one answer in a text: an object with a score, or in a `whole` text a line such as `Score: 4`.

    It must be the last thing said, and two answers that differ are none: what else looks like an answer may be a
    quotation of what the evaluated text asked for.
    """
    aloud = spoken(text)
    answers: list[Mapping[str, Any]] = [found for found in objects(aloud) if "score" in found]
    if not answers and whole:
        answers = _labelled(aloud)
    if not answers:
        raise OffScale("expected an object with reasoning and score")
    if any(each["score"] != answers[0]["score"] for each in answers):
        raise OffScale("expected one answer, found several that differ")
    return answers[-1]


def spoken(text: str) -> str:
    """Return what a model said aloud, without the thinking that some servers leave in front of it."""
    stripped = text.strip()
    return stripped.partition("</think>")[2].strip() if stripped.startswith("<think>") else stripped


def objects(text: str) -> list[Mapping[str, Any]]:
    """Return the JSON objects in a text that ends with one; none when any brace is not what it looks like."""
    found: list[Mapping[str, Any]] = []
    end = 0
    while (start := text.find("{", end)) >= 0:
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):  # no JSON, an integer of thousands of digits, or nested too deeply
            return []
        found.append(value)
    return found if not text[end:].strip(" \t\r\n`.") else []


def _labelled(text: str) -> list[Mapping[str, Any]]:
    """Return the answers on lines of their own, when the last line is one."""
    found = list(_LABELLED.finditer(text))
    if not found or found[-1].end() < len(text):
        return []
    before = text[: found[-1].start()]
    return [{"reasoning": before, "score": each[1].strip()} for each in found]


def reason_of(answer: Mapping[str, Any]) -> str:
    """Return the reasoning of an answer, as much of it as is kept; empty when it has none."""
    reason = answer.get("reasoning")
    return well_formed(reason).strip()[:LONGEST_REASON] if isinstance(reason, str) else ""
