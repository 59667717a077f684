"""Whether the application or the judge is why a score is low, in words and for programs."""

from __future__ import annotations

from typing import Any

from evaluator.messages.figures import change, day
from monitors import DropTest
from monitors.drift import Anchored, DriftState, Shift
from monitors.drop import Difference


def spanned(shift: Shift, binary: bool) -> str:
    """Return by how much a judge gives more or less, with the interval."""
    points, low, high = (change(each, binary, sign=True) for each in (shift.points, shift.low, shift.high))
    return f"{points} (95 % {low} to {high})"


def in_words(state: DriftState, shift: Shift | None, binary: bool) -> str:
    """Return in one line how a judge stands."""
    if shift is None:
        return "nothing to compare yet"
    says = f"on {shift.n} frozen traces it gives {spanned(shift, binary)} against the rounds before, {day(shift.at)}"
    if state.opened is not None:
        return f"the judge moved on {day(state.opened)}: {says}"
    return f"the judge did not move: {says}"


def remeasured(
    judge: Anchored | None, old: str | None, new: str | None, binary: bool, bridge: Difference | None = None
) -> str:
    """Say what another ruler makes of the same traces, as sentences behind another; empty where no anchors know.

    `bridge` is how far the week lies below those before it once they are taken over by that.
    """
    shift = judge.between(old or "", new or "") if judge is not None else None
    if shift is None:
        return ""
    said = f" On {shift.n} frozen traces the new one gives {spanned(shift, binary)} against the old one."
    if bridge is None:
        return said
    moved, least, most = (change(-each, binary, sign=True) for each in (bridge.drop, bridge.high, bridge.low))
    return f"{said} Beside that the plain mean moved by {moved} (95 % {least} to {most}) against the weeks before."


def blamed(test: DropTest, binary: bool) -> str:
    """Say whether the application or the judge is why a score is low, or that the judge moved; empty where none did."""
    shift, blame = test.judge, test.blame
    if shift is None or (blame is None and not test.taken_out):
        return ""
    rounds = f"on {shift.n} frozen traces, judged again on {day(shift.at)},"
    if blame is None:
        return f"*The judge moved:* {rounds} it gives {spanned(shift, binary)}; that is taken out."
    if blame == "judge":
        return f"*The judge:* {rounds} it gives {spanned(shift, binary)}; with that taken out the score is not low."
    if blame == "unclear":
        return f"*The app or the judge?* {rounds} it gives {spanned(shift, binary)}: that may be all of the fall."
    if test.taken_out:
        return f"*The app:* the judge moved too ({rounds} {spanned(shift, binary)}), and the figures are without that."
    return f"*The app, not the judge:* {rounds} it gives {spanned(shift, binary)}."


def blame_of(test: DropTest) -> dict[str, Any] | None:
    """Return the same for programs; None where no anchors know."""
    if (shift := test.judge) is None:
        return None
    return {
        "blame": test.blame,
        "points": shift.points,
        "low": shift.low,
        "high": shift.high,
        "p": shift.p,
        "anchors": shift.n,
        "judged_at": shift.at.isoformat(),
        "taken_out": test.taken_out,
    }
