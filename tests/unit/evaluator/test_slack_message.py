from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.message import DigestLine, Message, digest, escaped, headline, message, value
from monitors import Alert, Attribution, Contribution, DropTest, Event, NotEnoughHistory, WeekMean, WorstTrace
from monitors.series import WEEK
from tests.weeks import NOW

TEST = DropTest(
    baseline=4.1,
    mean=3.813,
    drop=0.287,
    low=0.164,
    high=0.41,
    p=0.00071,
    alpha=0.004,
    smallest=0.04,
    weeks=10,
    n=412,
    n_baseline=3950,
    sessions=200,
    effective=317.4,
)
ROW = Contribution(
    dimension="prompt_version",
    value="answer:4",
    share=0.31,
    share_before=0.0,
    mean=3.1,
    mean_before=None,
    points=-0.27,
    low=-0.35,
    high=-0.19,
    p=1e-6,
    q=1e-5,
    sessions=60,
    new=True,
)
OLD = replace(ROW, dimension="model", value="gpt-x", mean_before=4.2, share_before=0.2, points=-0.1, new=False)
WORST = (WorstTrace("0123456789abcdef", 1.0, "The second claim is not in the documents.", -0.01),)
FOUND = Attribution("prompt_version", (ROW,), -0.017, (("release", "r9"),), (), WORST)
LINE = (
    *(WeekMean(NOW - (k + 1) * WEEK, 400, 4.1, 4.0, 4.2) for k in range(10, 0, -1)),
    WeekMean(NOW - WEEK, 412, 3.81, 3.7, 3.9),
)
ALERT = Alert("id-1", Event.FELL, "faithfulness", NOW, NOW, False, LINE, TEST, FOUND)
HOSTILE = "<!channel> <@U123> <https://evil.example|click> @here *b* `c` & \n# x\u202e\x00 https://evil.example"


def url(trace_id: str) -> str:
    return f"https://langfuse.example/project/p/traces/{trace_id}"


def texts(content: Message, kind: str | None = None) -> list[str]:
    """Return all texts of a message's blocks, of one kind (mrkdwn, plain_text) when asked."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("text"), str) and kind in {None, node.get("type")}:
                found.append(node["text"])
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(content["blocks"])
    return found


def whole(content: Message) -> str:
    return "\n".join(texts(content))


def test_the_headline_says_everything_in_one_sentence() -> None:
    assert headline(ALERT, TEST) == (
        "faithfulness fell 4.10 → 3.81 (\N{MINUS SIGN}7 %, 95 % interval \N{MINUS SIGN}4 to \N{MINUS SIGN}10 %); "
        "412 scored this week against 3,950 in the 10 weeks before"
    )
    assert message(ALERT, url)["text"] == headline(ALERT, TEST)


def test_the_message_names_the_culprit_the_sample_and_the_traces() -> None:
    content = message(ALERT, url)
    text = whole(content)
    assert content["blocks"][0]["text"]["text"] == "faithfulness fell 4.10 → 3.81 (\N{MINUS SIGN}7 %)"
    assert "effective sample size 317" in text
    assert "`answer:4`: new this week, 3.10; 31% of traffic, 94% of the fall" in text
    assert "Cannot be told apart from release `r9`" in text
    assert "everything else: \N{MINUS SIGN}0.02" in text
    assert "<https://langfuse.example/project/p/traces/0123456789abcdef|1.00 · 0123456789ab>" in text
    assert "The second claim is not in the documents." in texts(content, "plain_text")
    assert "▁" in text
    assert "mix of traffic" not in text


def test_the_whole_message_is_as_agreed() -> None:
    kinds = [block["type"] for block in message(ALERT, url)["blocks"]]
    assert kinds == ["header", "section", "section", "section", "section", "context", "context"]


def test_a_segment_that_was_there_before_shows_its_course() -> None:
    text = whole(message(replace(ALERT, attribution=replace(FOUND, rows=(OLD,))), url))
    assert "`gpt-x`: 4.20 → 3.10; 31% of traffic (20% before)" in text


def test_a_fall_of_everything_blames_nobody() -> None:
    nobody = Attribution(None, (), -0.287, (), (), ())
    text = whole(message(replace(ALERT, attribution=nobody), url))
    assert "no segment stands out" in text
    assert "Read these first" not in text


def test_other_new_segments_are_told_but_not_those_already_named() -> None:
    alike = replace(ROW, dimension="release", value="r9")
    fresh = replace(ROW, dimension="tags", value="beta")
    text = whole(message(replace(ALERT, attribution=replace(FOUND, new=(alike, fresh))), url))
    assert "Also new: tags `beta`" in text
    assert "Also new: release" not in text


def test_a_mix_that_moved_is_told() -> None:
    text = whole(message(replace(ALERT, test=replace(TEST, mean=3.6)), url))
    assert "mix of traffic moved too and took the plain mean down by 0.21, to 3.60" in text


def test_pass_rates_are_shown_in_percent_and_points() -> None:
    test = replace(TEST, baseline=0.921, mean=0.853, drop=0.068, low=0.041, high=0.095)
    content = message(replace(ALERT, score="user-feedback", binary=True, test=test), url)
    assert content["text"].startswith(
        "user-feedback fell 92.1 % → 85.3 % (\N{MINUS SIGN}6.8 points, 95 % interval "
        "\N{MINUS SIGN}4.1 points to \N{MINUS SIGN}9.5 points)".replace(" points to", " to")
    )


def test_a_baseline_below_zero_has_no_percent() -> None:
    below = replace(TEST, baseline=-1.0)
    content = message(replace(ALERT, test=below), url)
    assert "points" in content["text"]
    assert content["blocks"][0]["text"]["text"] == "faithfulness fell"


@pytest.mark.parametrize(
    ("points", "binary", "shown"),
    [(4.1, False, "4.10"), (0.9212, True, "92.1 %"), (1234.5, False, "1,234.50"), (0.0, True, "0.0 %")],
)
def test_scores_as_people_write_them(points: float, binary: bool, shown: str) -> None:
    assert value(points, binary) == shown


# -- hostile text ----------


def hostile(text: str) -> Message:
    row = replace(ROW, value=text)
    worst = (WorstTrace(text, 1.0, text, -0.1),)
    found = Attribution("tags", (row,), 0.0, (("model", text),), (replace(row, dimension="release"),), worst)
    return message(replace(ALERT, score=text, attribution=found), url)


def safe(content: Message) -> None:
    for text in [*texts(content, "mrkdwn"), content["text"]]:
        # The only things in angle brackets are our own links.
        for inside in re.findall(r"<([^>]*)>?", text):
            assert inside.startswith("https://langfuse.example/"), inside
        assert "\u202e" not in text
    for text in texts(content, "mrkdwn"):
        for line in text.split("\n"):
            assert line.count("`") % 2 == 0
    assert len(content["blocks"]) <= 50
    for block in content["blocks"]:
        assert len(json.dumps(block)) < 20_000
    assert len(content["blocks"][0]["text"]["text"]) <= 150
    assert content["unfurl_links"] is False


def test_hostile_text_can_neither_ping_nor_link() -> None:
    content = hostile(HOSTILE)
    safe(content)
    text = whole(content)
    assert "<!channel>" not in "\n".join(texts(content, "mrkdwn"))
    assert "&lt;!channel&gt;" in text
    every = re.findall(r'\{[^{}]*"type": "mrkdwn"[^{}]*\}', json.dumps(content["blocks"]))
    assert every
    assert all('"verbatim": true' in block for block in every)


@given(st.text(max_size=400))
def test_no_text_whatever_breaks_out(text: str) -> None:
    safe(hostile(text))


def test_a_name_is_one_line_of_code_and_short() -> None:
    assert escaped("a\nb`c") == "`a b'c`"
    assert escaped("") == "`?`"
    assert len(escaped("x" * 500)) <= 82


def test_a_long_comment_is_cut() -> None:
    found = replace(FOUND, worst=(WorstTrace("t", 1.0, "word " * 500, -1.0), WorstTrace("u", 1.0, "", -1.0)))
    plain = texts(message(replace(ALERT, attribution=found), url), "plain_text")
    assert max(len(text) for text in plain) <= 280
    assert "no comment" in plain


# -- what follows ----------


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Event.RESOLVED, "has recovered"),
        (Event.NEW_NORMAL, "new normal"),
        (Event.REMEASURED, "measured differently now"),
    ],
)
def test_later_messages_say_what_happened(event: Event, said: str) -> None:
    content = message(replace(ALERT, event=event, note="v1 → <v2>", at=NOW + timedelta(days=14)), url)
    assert said in content["text"]
    assert "30 Mar" in whole(content) or event is Event.REMEASURED
    safe(content)


def test_the_digest_has_a_line_for_every_score() -> None:
    short = NotEnoughHistory("2 earlier weeks to compare with; 4 are needed", 2, 40, 3.9)
    none = NotEnoughHistory("0 scores this week; 5 are needed", 0, 0, None)
    content = digest(
        [
            DigestLine("faithfulness", False, LINE, TEST, NOW),
            DigestLine("new-score", False, LINE[-3:], short),
            DigestLine("silent", False, (), none),
            DigestLine("user-feedback", True, LINE, replace(TEST, baseline=0.9, mean=0.91, drop=-0.01)),
        ],
        NOW,
    )
    text = whole(content)
    assert content["text"] == "Quality this week, 30 Mar 2026: 4 scores watched, low: faithfulness"
    assert "`faithfulness` *3.81* from 412 scored" in text
    assert "\N{MINUS SIGN}0.29 against the 10 weeks before" in text
    assert "low since the week to 30 Mar" in text
    assert "not compared: 2 earlier weeks" in text
    assert "`silent` no scores this week" in text
    assert "*91.0 %*" in text
    assert "+1.0 points" in text


def test_a_digest_of_hundreds_of_scores_fits_into_a_message() -> None:
    lines = [DigestLine(f"score-{i}", False, LINE, TEST) for i in range(300)]
    content = digest(lines, NOW)
    assert len(content["blocks"]) <= 50
    assert "260 more scores" in whole(content)
    assert "no open alert" in content["text"]
