"""Everything that was sent for a question is noted, for whoever wants to know."""

from __future__ import annotations

from evaluator.model import Journal
from tests.answering import Answering, Open, ask, breaks_off, question, refuses, says, scores
from traces import Failure, Verdict


def sent_for(opened: Open, *, models: tuple[str, ...] = ()) -> tuple[Journal, object]:
    api, journal = opened(attempts=3), Journal()
    asked = question(models=models) if models else question()
    ((_, outcome),) = [each for lot in api.ask([asked], journals=[journal]) for each in lot]
    return journal, outcome


def test_a_call_is_noted_with_its_reply_and_its_time(opened: Open) -> None:
    (sent,), outcome = sent_for(opened)
    assert isinstance(outcome, Verdict)
    assert sent.reply is not None
    assert (sent.model, sent.opinion, sent.failed) == ("gpt", 0, "")
    assert sent.reply.usage == outcome.usage
    assert sent.ended is not None
    assert 0 < sent.ended - sent.began < 60


def test_each_attempt_is_noted_with_what_kept_it_from_an_answer(opened: Open, server: Answering) -> None:
    server.script = [refuses(429), breaks_off, scores(4)]
    journal, outcome = sent_for(opened)
    assert isinstance(outcome, Verdict)
    refused, broken, answered = journal
    assert refused.prompt is broken.prompt is answered.prompt
    assert (refused.failed, refused.reply) == ("status 429", None)
    assert broken.failed.startswith("the model API does not answer")
    assert broken.ended is not None
    assert answered.failed == ""


def test_an_answer_that_cannot_be_read_is_kept_word_for_word(opened: Open, server: Answering) -> None:
    server.always = says("four, I would say")
    (first, second), outcome = sent_for(opened)
    assert isinstance(outcome, Failure)
    assert first.reply is not None
    assert second.reply is not None
    assert first.reply.text == second.reply.text == "four, I would say"
    assert "asked for once more" in first.failed
    assert second.failed == f"bad_answer: {outcome.reason}"
    assert second.prompt.repair


def test_each_opinion_has_its_own_place(opened: Open, server: Answering) -> None:
    server.script = [says("?")]
    journal, outcome = sent_for(opened, models=("gpt", "gpt", "other"))
    assert isinstance(outcome, Verdict)
    assert sorted((sent.opinion, sent.prompt.model, sent.prompt.repair) for sent in journal if not sent.failed)[1:] == [
        (1, "gpt", False),
        (2, "other", False),
    ]
    assert len(journal) == 4


def test_nobody_needs_a_journal(opened: Open) -> None:
    assert isinstance(ask(opened())[0], Verdict)
