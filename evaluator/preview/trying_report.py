"""What `evaluator try` found, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evaluator.messages.words import answer_of, is_priced, reason_of, usage_of, usd
from evaluator.model import Journal, Sent, titled
from evaluator.preview.parts import ids_of
from evaluator.preview.trying import Decision, Tried
from evaluator.telemetry.logs import spelled_out
from judges import Prompt, Question
from traces import Failure, NotApplicable, Outcome, Session, Trace, Usage, Verdict, outcome_to_json


def show(found: Trace | Session, url: str, tried: Sequence[Tried], out: Console) -> None:
    """Print what was tried, a table of the rules, and each rubric with its prompt and answer."""
    kind, about = "trace", [f"{found.latency:.1f} s"]
    if isinstance(found, Session):
        kind, ended = "session", found.ended
        older = ", older ones left out" if found.older_left_out else ""
        about = [found.environment, f"{len(found.traces)} traces{older}", f"{found.latency:.1f} s"]
    else:
        ended = found.ref.ended
        about = [found.name, found.environment, *about, f"{len(found.observations)} steps"]
    out.print(f"{kind} {spelled_out(found.id)}: {spelled_out(', '.join(about))}", markup=False, highlight=False)
    out.print(f"ended {ended:%Y-%m-%d %H:%M:%S} UTC, {url}", markup=False, highlight=False)
    rules = [each for each in tried if each.evaluator.kind == "rule"]
    if rules:
        out.print()
        out.print(_rules(rules))
    for each in tried:
        if each.evaluator.kind == "rubric":
            _show_rubric(each, out)
    out.print("\nnothing was written", style="dim")


def _rules(rules: Iterable[Tried]) -> Table:
    table = Table("rule", "value", "reason", "would it be taken?", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for each in rules:
        outcome = each.outcome
        value, reason = (answer_of(outcome), reason_of(outcome)) if outcome is not None else ("", "")
        style = "red" if isinstance(outcome, Verdict) and outcome.value is False else ""
        table.add_row(each.evaluator.name + _step(each), Text(value, style), Text(reason), _taken(each.decision))
    return table


def _taken(decision: Decision) -> Text:
    return Text("yes", "green") if decision.takes else Text(spelled_out(decision.why), "yellow")


def _show_rubric(each: Tried, out: Console) -> None:
    evaluator = each.evaluator
    out.print()
    head = f"[bold]{escape(evaluator.name)}[/bold] rubric, version {evaluator.version}"
    out.rule(f"{head}{escape(_step(each))}", align="left")
    out.print(Text("would it be taken? ").append(_taken(each.decision)).append(_place(each.decision)))
    if each.question is not None:
        _show_prompt(each.question, out)
    if each.outcome is not None:
        out.print()
        _show_outcome(each.outcome, out)
    if len(each.sent) > 1 or isinstance(each.outcome, Failure):
        _show_calls(each.sent, out)


def _step(each: Tried) -> str:
    """Say which observation it is about; nothing where it is about the trace."""
    if isinstance(each.part, Session) or each.part.whole is None:
        return ""
    root = each.part.root
    return f", {root.type} {spelled_out(root.name)} {spelled_out(root.id)}"


def _place(decision: Decision) -> str:
    if not decision.takes or decision.rate is None:
        return ""
    return f" (u = {decision.position:.4f}, rate {decision.rate:g})"


def _show_prompt(question: Question, out: Console) -> None:
    prompt = question.prompt
    models = ", ".join(question.models or (prompt.model,))
    for title, text in ((f"system, to {models}", prompt.system), ("user", prompt.user)):
        out.print(f"\n[{title}]", style="cyan", markup=False, highlight=False)
        out.print("\n".join(map(spelled_out, text.split("\n"))), markup=False, highlight=False)


def _show_outcome(outcome: Outcome, out: Console) -> None:
    used = usage_of(outcome)
    lines = [("score", answer_of(outcome)), ("reasoning", reason_of(outcome))]
    if isinstance(outcome, NotApplicable):
        lines = [("skipped", reason_of(outcome))]
    elif isinstance(outcome, Failure):
        lines = [("failed", outcome.kind), ("because", reason_of(outcome))]
    elif isinstance(outcome, Verdict):
        shown = {key: value for key, value in outcome.details.items() if key not in {"judge_model", "unpriced"}}
        known = {"confidence": outcome.confidence, **shown}
        lines += [(key.replace("_", " "), spelled_out(str(value))) for key, value in known.items() if value is not None]
    if used.calls:
        cost = usd(used, priced=is_priced(outcome))
        calls = "1 call" if used.calls == 1 else f"{used.calls} calls"
        held = f" ({used.cached_tokens:,} of them from its cache)" if used.cached_tokens else ""
        tokens = f"{calls} of {used.model}, {used.input_tokens:,} tokens in{held}, {used.output_tokens:,} out"
        lines.append(("cost", f"{cost}{' USD' if is_priced(outcome) else ''}; {tokens}"))
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, value in lines:
        table.add_row(Text(name, "bold"), Text(value))
    out.print(table)


def _show_calls(sent: Journal, out: Console) -> None:
    """Print each call with what came back word for word: of a jury, of a repair, of an answer that is of no use."""
    for each in sent:
        took = "" if each.ended is None else f", {each.ended - each.began:.1f} s"
        why = f": {each.failed}" if each.failed else ""
        out.print(f"\n[{titled(each, sent)}{took}{spelled_out(why)}]", style="cyan", markup=False, highlight=False)
        if each.reply is not None:
            out.print("\n".join(map(spelled_out, each.reply.text.split("\n"))), markup=False, highlight=False)


def as_json(found: Trace | Session, url: str, tried: Sequence[Tried]) -> dict[str, Any]:
    """Return everything as plain JSON."""
    about: dict[str, Any] = {"id": found.id, "environment": found.environment, "url": url}
    if isinstance(found, Session):
        head = {"session": {**about, "traces": [each.id for each in found.traces]}}
    else:
        head = {"trace": {**about, "name": found.name}}
    return {**head, "evaluators": [_as_json(each) for each in tried]}


def _as_json(each: Tried) -> dict[str, Any]:
    decision = each.decision
    return {
        "name": each.evaluator.name,
        "kind": each.evaluator.kind,
        "version": each.evaluator.version,
        "observation_id": ids_of(each.part).get("observation_id"),
        "taken": decision.takes,
        "state": decision.state,
        "why": decision.why,
        "position": decision.position,
        "rate": decision.rate,
        "prompt": None if each.question is None else _prompt(each.question.prompt, each.question),
        "outcome": None if each.outcome is None else outcome_to_json(each.outcome),
        "calls": [_call(call, each.sent) for call in each.sent],
    }


def _call(sent: Sent, among: Journal) -> dict[str, Any]:
    used = Usage() if sent.reply is None else sent.reply.usage
    return {
        "name": titled(sent, among),
        "model": used.model or sent.model,
        "seconds": None if sent.ended is None else round(sent.ended - sent.began, 3),
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "usd": round(used.usd, 8),
        "failed": sent.failed,
        "reply": None if sent.reply is None else sent.reply.text,
    }


def _prompt(prompt: Prompt, question: Question) -> dict[str, Any]:
    models = list(question.models or (prompt.model,))
    return {"models": models, "temperature": prompt.temperature, "system": prompt.system, "user": prompt.user}
