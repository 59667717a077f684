"""Draws the pictures of messages, the report and the status page, from made-up numbers, with a headless Chromium.

`PYTHONPATH=. python docs/pictures.py`; nothing but this file needs a browser.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np

from evaluator import starter
from evaluator.calibration.trust import Agreement, Trust
from evaluator.definitions import load
from evaluator.definitions.service_config import CoverageConfig
from evaluator.messages.alert import Urls
from evaluator.messages.delivery import Letter
from evaluator.messages.rendering import as_html
from evaluator.pages.report import Report, chapter
from evaluator.pages.report_page import page
from evaluator.pulse import Process
from evaluator.sampling.jobs import Backlog, Lane
from evaluator.sampling.overload import Load
from evaluator.state.coverage import Kept
from evaluator.state.golden_tests import KeptTest
from evaluator.state.hours import Promises
from evaluator.status.overview import Limit, Spending, Status
from evaluator.status.page import Frame, evaluators, overview
from judges.calibration import Figure
from monitors import AlertState, WeekMean
from tests.watching import START, House, recorded
from traces import Usage

PICTURES: Final = Path(__file__).parent / "pictures"
_FALL: Final = 1.1
_REASONS: Final = (
    "It promises a refund within 24 hours; the documents say 14 days.",
    "The answer names a discount that stands in none of the documents.",
    "Two of three claims about the warranty are not in the documents.",
    "It says that Norway is served; the list of countries does not have it.",
    "The delivery time is made up: no document mentions Saturday delivery.",
)
_PAIRS: Final = {
    "faithfulness": (8, (0.66, 0.7, 0.69, 0.74, 0.73, 0.76), False),
    "helpfulness": (6, (0.68, 0.7, 0.66, 0.62, 0.51, 0.44), True),
}
"""Of judges: how many of eight golden tests are as expected, kappa week by week, and whether it is below its floor."""

_COUNTS: Final = ((18_800, 0, 0), (940, 121, 9), (940, 0, 3), (940, 0, 0))
_ROW: Final = (
    '<div style="display:flex;gap:10px;padding:6px 14px;{inset}"><div style="flex:none;width:36px;height:36px;'
    "border-radius:6px;background:#1f4e79;color:#fff;font:700 17px/36px 'DejaVu Sans',sans-serif;text-align:center\">e"
    '</div><div style="flex:1;min-width:0"><div style="font:13px \'DejaVu Sans\',sans-serif;color:#616061"><b style='
    '"color:#1d1c1d">evaluator</b> <span style="background:#ddd;border-radius:2px;font-size:9px;padding:1px 3px">APP'
    "</span> {time}</div>{body}</div></div>"
)


def main() -> int:
    """Draw every picture; return 1 when there is no browser."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.stderr.write("no Chromium was found; the pictures stay as they are\n")
        return 1
    PICTURES.mkdir(exist_ok=True)
    house = _told()
    letters = house.slack.letters
    _draw(browser, "alert", _slack(letters[:1]), 760, 800)
    opening = replace(
        letters[0], chart=None, content={**letters[0].content, "blocks": letters[0].content["blocks"][:2]}
    )
    _draw(browser, "thread", _slack([opening, *letters[1:]]), 760, 1130)
    _draw(browser, "mail", as_html(letters[0].content, _address(letters[0].chart)), 760, 860)
    _draw(browser, "report", page(_report(house)), 960, 1500)
    _draw(browser, "status", _overview(), 1080, 1130)
    _draw(browser, "judges", _judges(), 1080, 830)
    return 0


def _overview() -> str:
    """Return the status page of a service that misses its coverage while one server is slow."""
    definitions = load(starter.folder())
    service = definitions.service.model_copy(update={"coverage": CoverageConfig(objective=0.99)})
    random, hours = np.random.default_rng(7), {}
    for back in range(23, -1, -1):
        sampled = int(900 + 700 * np.sin((START.hour - back - 8) / 24 * 2 * np.pi) + random.integers(60))
        failed, waits = (int(sampled * 0.04), int(sampled * 0.2)) if back < 1 else (int(random.integers(6)), 0)
        ends = {"scored": sampled - sampled // 9 - failed - waits, "skipped": sampled // 9, "failed": failed}
        hours[START - timedelta(hours=back)] = Counter(
            {("faithfulness", state, ""): number for state, number in {"sampled": sampled, **ends}.items()}
        )
    total = sum(hours.values(), Counter())
    total["faithfulness", "skipped", "no documents"] = total.pop(("faithfulness", "skipped", ""))
    total["faithfulness", "failed", "model_unavailable"] = total.pop(("faithfulness", "failed", ""))
    status = Status(
        leader="scheduler-0",
        behind=timedelta(seconds=97),
        lanes={
            Lane.LIVE: Backlog(2, timedelta(seconds=4)),
            Lane.PATIENT: Backlog(31, timedelta(minutes=19)),
            Lane.BACKFILL: Backlog(),
        },
        in_hand=18,
        sessions=12,
        load=Load(),
        funnel=total,
        dead=Counter({"model_unavailable": 41}),
        undelivered=0,
        budgets={"all judges": Spending(12.41, 20.0)},
        workers=[Process(f"worker-{n}", "worker", 16, "0.1.0", START, START) for n in range(3)],
        hours=hours,
        promises=[Promises(START - timedelta(minutes=5 * n), "faithfulness", 120, 95, 4) for n in range(1, 9)],
        kept=[Kept("answered", 1880, 1880, 0), Kept("faithfulness", 1880, 1541, 262), Kept("helpfulness", 310, 309, 0)],
        limits=[Limit("langfuse", 99, timedelta()), Limit("model", 500, timedelta(seconds=12))],
    )
    return _styled(overview(Frame("Support bot", START), status, replace(definitions, service=service), {}))


def _judges() -> str:
    """Return the page of evaluators: one judge that people agree with, one that they do not, and others unknown."""
    shipped = load(starter.folder())
    chosen = tuple(each for each in shipped.evaluators if each.name in {*_PAIRS, "answered", "instruction-following"})
    funnel: Counter[tuple[str, str, str]] = Counter()
    for each, (sampled, skipped, failed) in zip(chosen, _COUNTS, strict=False):
        scored = sampled - skipped - failed
        funnel += Counter({(each.name, "sampled", ""): sampled, (each.name, "sampled_out", ""): 18_800 - sampled})
        funnel += Counter({(each.name, "scored", ""): scored, (each.name, "skipped", "no documents"): skipped})
        funnel += Counter({(each.name, "failed", "bad_answer"): failed})
    trust = {each.name: Trust(each.version, 8, None, None) for each in chosen if each.rubric is not None}
    for name, (passed, kappas, low) in _PAIRS.items():
        weeks = tuple(
            WeekMean(START - timedelta(weeks=len(kappas) - n), 140, kappa, kappa - 0.1, kappa + 0.09)
            for n, kappa in enumerate(kappas)
        )
        figure = Figure(kappas[-1], kappas[-1] - 0.1, kappas[-1] + 0.09)
        since = START - timedelta(weeks=1) if low else None
        held = Agreement("quality", 0.6, START, "weighted kappa", figure, 140, "", since, weeks)
        trust[name] = Trust(
            trust[name].version, 8, KeptTest(START, trust[name].version, passed, 8 - passed, 0, repeat=3), held
        )
    seen = Status(
        leader="scheduler-0",
        behind=timedelta(seconds=97),
        lanes={},
        in_hand=0,
        sessions=0,
        load=Load(),
        funnel=funnel,
        dead=Counter(),
        undelivered=0,
        trust=trust,
    )
    spent = {name: Usage("", 900, 700_000, 60_000, usd) for name, usd in (("faithfulness", 0.51), ("helpfulness", 0.2))}
    return _styled(evaluators(Frame("Support bot", START), seen, replace(shipped, evaluators=chosen, off=()), spent))


def _styled(text: str) -> str:
    style = (Path(starter.__file__).parent / "pages" / "style.css").read_text(encoding="utf-8")
    return text.replace('<link rel="stylesheet" href="/style.css">', f"<style>{style}</style>")


def _report(house: House) -> Report:
    """Return a report of the bad week."""
    at, spec = START, house.specs[0]
    opened = AlertState(opened=START)
    funnel = Counter({("faithfulness", "sampled", ""): 5040, ("faithfulness", "scored", ""): 4998})
    found = chapter(house.langfuse, spec, at, 12, opened)
    urls = Urls(house.langfuse.trace_url, house.langfuse.session_url)
    return Report("Support bot", at - timedelta(weeks=12), at, (found,), funnel, {}, urls)


def _told() -> House:
    """Return a house with the messages of twelve quiet weeks, a bad version, a worse one, and the old one again."""
    house = House()
    for day in range(91, 7, -1):
        _write(house, day, 0.0)
    for day in range(7, 0, -1):
        _write(house, day, _FALL)
    house.look()
    for day in range(30):
        house.clock.at = START + timedelta(days=day)
        _write(house, -day, 2.4 if day < 9 else 0.0, at_once=day < 9)
        house.clock.at += timedelta(days=1)
        house.look()
    return house


def _write(house: House, days_ago: int, fall: float, *, at_once: bool = False) -> None:
    """Write a day's scores, half of them of the bad version."""
    random = np.random.default_rng([7, 1000 + days_ago])
    start = START - timedelta(days=days_ago)
    for i in range(60):
        bad = fall > 0 and i % 2 == 0
        value = float(np.clip(round(4.3 - (fall if bad else 0) + 0.7 * random.standard_normal()), 1, 5))
        prompt = ("support-answer:5" if at_once else "support-answer:4") if bad else "support-answer:3"
        house.langfuse.held.append(
            recorded(
                value,
                start + timedelta(minutes=23 * i),
                random.bytes(16).hex(),
                prompt,
                comment=_REASONS[int(random.integers(len(_REASONS)))]
                if value < 4
                else "Every claim stands in the documents.",
                metadata={"segments": {"prompt_version": prompt, "model": "gpt-5.4", "trace_name": "support"}},
            )
        )


def _slack(letters: list[Letter]) -> str:
    """Return a page that looks about as a channel does; replies are set in, as in a thread."""
    rows = []
    for letter in letters:
        # Slack shows the chart below the message, in its thread.
        whole = as_html(letter.content)
        body = whole[whole.index(">", whole.index("<body")) + 1 : whole.index("</body>")]
        if letter.chart is not None:
            body += (
                f'<img src="{_address(letter.chart)}" style="max-width:520px;border:1px solid #ddd;border-radius:8px">'
            )
        inset = "margin-left:40px;border-left:3px solid #ddd" if letter.thread else ""
        rows.append(_ROW.format(inset=inset, time="06:00", body=body))
    style = "font:15px/1.45 'DejaVu Sans',sans-serif;color:#1d1c1d;background:#fff;margin:0"
    return f'<!doctype html><meta charset="utf-8"><body style="{style}">{"".join(rows)}</body>'


def _address(picture: bytes | None) -> str | None:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}" if picture else None


def _draw(browser: str, name: str, text: str, width: int, height: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(text, encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1"]
        target = PICTURES / f"{name}.png"
        subprocess.run(  # noqa: S603 - a browser of this machine, on a page of ours
            [browser, *options, f"--window-size={width},{height}", f"--screenshot={target}", source.as_uri()],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    sys.exit(main())
