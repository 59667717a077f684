from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.messages.alert import Urls, headline, message, notice
from evaluator.messages.blocks import LONGEST_SECTION, MOST_BLOCKS, Message, buttons, escaped, post, section
from evaluator.messages.figures import value
from monitors import Alert, Attribution, Change, Contribution, DropTest, Event, WeekMean, WorstTrace
from monitors.series import WEEK
from sandbox import slack as sandbox_slack
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
CHANGE = Change("prompt_version", "answer:4", 0.31, NOW - timedelta(days=4))
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


URLS = Urls(
    url, scores="https://langfuse.example/project/p/scores", prompt=lambda name: f"https://langfuse.example/{name}"
)


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
    assert message(ALERT, URLS)["text"] == headline(ALERT, TEST)


def test_the_message_names_the_culprit_the_sample_and_the_traces() -> None:
    content = message(ALERT, URLS)
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
    kinds = [block["type"] for block in message(ALERT, URLS)["blocks"]]
    parts = ["header", "section", "section", "section", "section", "context", "context", "actions", "context"]
    assert kinds == parts
    kinds = [block["type"] for block in message(replace(ALERT, changes=(CHANGE,)), URLS)["blocks"]]
    assert kinds == [*parts[:4], "section", *parts[4:]]


def test_what_people_would_have_made_of_the_week_stands_beside_what_the_judge_did() -> None:
    said = "By people 3.60 (95 % 3.50 to 3.70) where the judge gave 3.81"
    assert f"{said}." in texts(message(replace(ALERT, by_people=said), URLS))
    assert "By people" not in whole(message(ALERT, URLS))


def test_what_was_new_in_that_week_is_told_with_its_day() -> None:
    shown = whole(message(replace(ALERT, changes=(CHANGE, replace(CHANGE, dimension="release", value="<r9>"))), URLS))
    assert "*New in that week:*\n• prompt version `answer:4`: since 26 Mar, 31% of traffic" in shown
    assert "• release `&lt;r9&gt;`" in shown
    many = tuple(replace(CHANGE, value=f"v{i}") for i in range(9))
    assert "• and 6 more" in whole(message(replace(ALERT, changes=many), URLS))


def test_buttons_are_links_to_what_there_is_to_read() -> None:
    (row,) = [block for block in message(ALERT, URLS)["blocks"] if block["type"] == "actions"]
    assert [(each["text"]["text"], each["url"]) for each in row["elements"]] == [
        ("Read the worst trace", "https://langfuse.example/project/p/traces/0123456789abcdef"),
        ("All scores", "https://langfuse.example/project/p/scores"),
        ("Prompt answer", "https://langfuse.example/answer"),
    ]
    assert message(replace(ALERT, attribution=None), Urls(url))["blocks"][-1]["type"] == "context"
    assert all(block["type"] != "actions" for block in message(replace(ALERT, attribution=None), Urls(url))["blocks"])


@given(
    st.lists(st.text(max_size=400), max_size=12),
    st.lists(st.text(min_size=1, max_size=4000), max_size=6),
)
def test_no_message_whatever_passes_slacks_limits(names: list[str], comments: list[str]) -> None:
    rows = tuple(replace(ROW, value=name) for name in names[:4])
    worst = tuple(WorstTrace(name, 1.0, comment, -0.1) for name, comment in zip(names, comments, strict=False))
    found = Attribution("prompt_version", rows or (ROW,), 0.0, tuple(("tags", each) for each in names * 9), rows, worst)
    changes = tuple(replace(CHANGE, value=name) for name in names)
    content = message(replace(ALERT, score="s" * 300, attribution=found, changes=changes), URLS)
    assert sandbox_slack.problem_of(content) is None


def test_a_paragraph_is_cut_between_lines_or_names() -> None:
    lines = [f"• {escaped('&' * 90)}" for _ in range(20)]
    shown = section("\n".join(lines))["text"]["text"]
    assert len(shown) <= LONGEST_SECTION
    assert set(shown.split("\n")) == {lines[0], "…"}
    names = ", ".join(escaped(f"name {i}") for i in range(900))
    shown = section(names)["text"]["text"]
    assert len(shown) <= LONGEST_SECTION
    assert shown.count("`") % 2 == 0


def test_a_message_of_too_many_parts_says_so() -> None:
    content = post("t", [section(str(i)) for i in range(80)], "t")
    assert len(content["blocks"]) == MOST_BLOCKS
    assert "32 parts more" in texts(content)[-1]
    assert sandbox_slack.problem_of(content) is None


def test_a_button_whose_address_is_too_long_is_left_out() -> None:
    assert buttons([("a", "https://e.example/" + "x" * 3000)]) == []
    assert len(buttons([("a" * 100, "https://e.example")] * 9)[0]["elements"]) == 5


def test_an_alert_that_grew_says_how_deep_it_was_before() -> None:
    content = message(replace(ALERT, event=Event.GREW, told=0.1, update=1, opened=NOW - WEEK), URLS)
    assert content["text"].startswith("faithfulness fell further 4.10 → 3.81")
    assert "First to be seen on 23 Mar. It had fallen by 0.10 when last told." in whole(content)


def test_a_notice_escapes_a_name_once() -> None:
    content = notice("Money", [f"spent by {escaped('<a> & b')}"])
    assert content["text"] == "Money. spent by &lt;a&gt; &amp; b"
    assert texts(content, "mrkdwn") == ["spent by `&lt;a&gt; &amp; b`"]


def test_an_expected_change_says_why_the_alert_is_closed() -> None:
    content = message(replace(ALERT, event=Event.EXPECTED, test=None, note="A change was expected: <b>"), URLS)
    assert content["text"] == "faithfulness changed as expected. A change was expected: &lt;b&gt;"


def test_a_segment_that_was_there_before_shows_its_course() -> None:
    text = whole(message(replace(ALERT, attribution=replace(FOUND, rows=(OLD,))), URLS))
    assert "`gpt-x`: 4.20 → 3.10; 31% of traffic (20% before)" in text


def test_a_fall_of_everything_blames_nobody() -> None:
    nobody = Attribution(None, (), -0.287, (), (), ())
    text = whole(message(replace(ALERT, attribution=nobody), URLS))
    assert "no segment stands out" in text
    assert "Read these first" not in text


def test_other_new_segments_are_told_but_not_those_already_named() -> None:
    alike = replace(ROW, dimension="release", value="r9")
    fresh = replace(ROW, dimension="tags", value="beta")
    text = whole(message(replace(ALERT, attribution=replace(FOUND, new=(alike, fresh))), URLS))
    assert "Also new: tags `beta`" in text
    assert "Also new: release" not in text


def test_a_mix_that_moved_is_told() -> None:
    text = whole(message(replace(ALERT, test=replace(TEST, mean=3.6)), URLS))
    assert "mix of traffic moved too and took the plain mean down by 0.21, to 3.60" in text


def test_pass_rates_are_shown_in_percent_and_points() -> None:
    test = replace(TEST, baseline=0.921, mean=0.853, drop=0.068, low=0.041, high=0.095)
    content = message(replace(ALERT, score="user-feedback", binary=True, test=test), URLS)
    assert content["text"].startswith(
        "user-feedback fell 92.1 % → 85.3 % (\N{MINUS SIGN}6.8 points, 95 % interval "
        "\N{MINUS SIGN}4.1 points to \N{MINUS SIGN}9.5 points)".replace(" points to", " to")
    )


def test_a_baseline_below_zero_has_no_percent() -> None:
    below = replace(TEST, baseline=-1.0)
    content = message(replace(ALERT, test=below), URLS)
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
    return message(replace(ALERT, score=text, attribution=found), URLS)


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
    plain = texts(message(replace(ALERT, attribution=found), URLS), "plain_text")
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
    content = message(replace(ALERT, event=event, note="v1 → <v2>", at=NOW + timedelta(days=14)), URLS)
    assert said in content["text"]
    assert "30 Mar" in whole(content) or event is Event.REMEASURED
    safe(content)


def test_the_headline_says_how_many_there_were_to_be_scored() -> None:
    assert "412 of about 8,140 scored this week" in headline(ALERT, replace(TEST, population=8140.2))
    assert "412 scored this week" in headline(ALERT, replace(TEST, population=412.0))


def test_a_mix_that_hides_a_fall_is_said_to_hide_it() -> None:
    hidden = replace(TEST, mean=4.15)
    text = whole(message(replace(ALERT, test=hidden), URLS))
    assert "The plain mean did not fall, it is 4.15" in text
    assert "which hides the fall" in text


def test_an_alert_that_nothing_can_end_says_so_without_a_line() -> None:
    lost = Alert("id-1", Event.LOST, HOSTILE, NOW, NOW, False, (), note="It stands in monitors.yaml no more.")
    content = message(lost, URLS)
    assert whole(content).endswith("It stands in monitors.yaml no more.")
    assert "<!channel>" not in json.dumps(content["text"])
