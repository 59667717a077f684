"""What people read of a judge that moved, is back, or stays where it moved to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from evaluator.calibration.anchors import is_pass_rate
from evaluator.messages.alert import notice
from evaluator.messages.blame import spanned
from evaluator.messages.blocks import Message, escaped
from evaluator.messages.figures import day
from judges import Rubric
from monitors.drift import Shift, Turn

_MOST_JUDGES: Final = 3


def told(rubric: Rubric, turn: Turn, shift: Shift | None, others: Sequence[str], opened: datetime) -> Message:
    """Return what people read when a judge moved, is back, or stays where it moved to.

    Args:
        rubric: whose judge.
        turn: what happened.
        shift: its newest round against what was normal; None where nothing is known to be.
        others: who judged for the first time in it.
        opened: when it was found to have moved.
    """
    name, binary = escaped(rubric.name), is_pass_rate(rubric)
    if turn is Turn.REPLACED or shift is None:
        title = f"Judge {rubric.name} is compared anew: its rubric changed"
        return notice(title, [f"It had moved on {day(opened)}. The new version's rounds are compared with its own."])
    says = f"On {shift.n} frozen traces it gives {spanned(shift, binary)} against the rounds before, p = {shift.p:.2g}."
    if turn is Turn.BACK:
        title = f"Judge {rubric.name} is back where it was"
        return notice(title, [says, f"It had moved on {day(opened)}. What it gave in between is corrected in tests."])
    if turn is Turn.NEW_NORMAL:
        title = f"Judge {rubric.name} stays where it moved to"
        facts = [says, f"It moved on {day(opened)}. Later rounds are compared with those since then."]
        return notice(title, facts)
    title = f"Judge {rubric.name} moved: it is {'stricter' if shift.points < 0 else 'kinder'} now"
    facts = [says, "The same texts, judged again: the application is not in it."]
    if others:
        shown = ", ".join(map(escaped, others[:_MOST_JUDGES]))
        facts.append(f"New among those who judge: {shown}{' and more' if len(others) > _MOST_JUDGES else ''}.")
    else:
        facts.append("Model and configuration call themselves what they did before.")
    facts.append(f"The move is taken out of the weeks of {name} before its alert speaks.")
    command = escaped(f"evaluator anchors {rubric.name}")
    facts.append(f"{command} shows its rounds. To go on with this judge, do nothing; else name another model.")
    return notice(title, facts)
