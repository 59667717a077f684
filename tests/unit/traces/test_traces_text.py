from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.building import ANY_TEXT, nested
from traces import TooDeep, as_text, json_text, parsed_json, well_formed
from traces.text import DEEPEST

CALL = {"id": "c1", "type": "function", "function": {"name": "get_user", "arguments": '{"id": 7}'}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class TestAsText:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, ""),
            ("as it is\n", "as it is\n"),
            (7, "7"),
            (True, "true"),
            ([], "[]"),
            ({}, "{}"),
            ({"a": [1, "é"]}, '{"a": [1, "é"]}'),
            ([1, 2], "[1, 2]"),
        ],
    )
    def test_plain_values(self, value: object, text: str) -> None:
        assert as_text(value) == text

    def test_a_message_is_role_and_content(self) -> None:
        assert as_text({"role": "user", "content": "hi"}) == "user: hi"

    def test_content_alone_is_its_text(self) -> None:
        assert as_text({"content": "hi"}) == "hi"

    def test_messages_stand_one_after_the_other(self) -> None:
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
        assert as_text(messages) == "system: Be kind.\nuser: hi"

    def test_tool_calls_are_told_with_their_arguments(self) -> None:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        assert as_text(message) == 'assistant calls get_user({"id": 7})'

    def test_content_stands_before_tool_calls(self) -> None:
        message = {"role": "assistant", "content": "One moment.", "tool_calls": [CALL, CALL]}
        assert as_text(message).splitlines() == ["assistant: One moment.", *['assistant calls get_user({"id": 7})'] * 2]

    def test_a_message_without_the_key_content_is_one_too(self) -> None:
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [CALL]}]
        assert as_text(messages).endswith('\nassistant calls get_user({"id": 7})')

    def test_arguments_that_were_parsed_become_json(self) -> None:
        call = {"function": {"name": "f", "arguments": {"id": 7}}}
        assert as_text({"role": "assistant", "tool_calls": [call]}) == 'assistant calls f({"id": 7})'

    def test_a_tool_message_keeps_its_content_and_drops_its_ids(self) -> None:
        assert as_text({"role": "tool", "tool_call_id": "c1", "name": "get_user", "content": "Ada"}) == "tool: Ada"

    def test_parts_of_a_message_are_joined(self) -> None:
        parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "x"}}, "plain"]
        assert as_text({"role": "user", "content": parts}) == (
            'user: What is this?\n{"type": "image_url", "image_url": {"url": "x"}}\nplain'
        )

    @pytest.mark.parametrize(
        "value",
        [
            {"content": "text", "title": "kept", "score": 3},
            {"role": "assistant", "content": None, "refusal": "I cannot"},
            {"role": "assistant", "content": "x", "reasoning": "kept"},
            {"role": "assistant", "content": {"not": "text"}},
            {"role": "assistant", "tool_calls": "not a list"},
            {"role": "assistant", "tool_calls": [{"no": "function"}]},
            {"role": "assistant", "content": [{"no": "type"}]},
            {"role": "assistant", "content": None},
            {"role": 7, "content": "x"},
            [{"content": "a document", "id": 1, "source": "kept"}],
            [{"role": "user", "content": "hi"}, "mixed"],
        ],
    )
    def test_what_only_resembles_a_message_stays_json(self, value: object) -> None:
        assert json.loads(as_text(value)) == value

    def test_mappings_that_are_no_dict_count(self) -> None:
        assert as_text(MappingProxyType({"role": "user", "content": "hi"})) == "user: hi"
        assert as_text(MappingProxyType({"a": 1})) == '{"a": 1}'

    @given(JSON)
    def test_any_json_becomes_text_that_can_be_encoded(self, value: Any) -> None:
        as_text(value).encode()

    @given(st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "refusal", "x"]), JSON))
    def test_anything_that_looks_like_a_message_becomes_text(self, value: Mapping[str, Any]) -> None:
        as_text(value).encode()
        as_text([value]).encode()


class TestJsonText:
    @given(JSON)
    def test_can_be_read_back(self, value: Any) -> None:
        assert json.loads(json_text(value)) == value

    def test_what_json_cannot_hold_becomes_its_text(self) -> None:
        moment = datetime(2026, 3, 2, tzinfo=UTC)
        assert (
            json_text({"at": moment, "set": frozenset()}) == '{"at": "2026-03-02 00:00:00+00:00", "set": "frozenset()"}'
        )

    def test_keys_that_are_no_text_become_text(self) -> None:
        assert json_text({(1, 2): "x"}) == '{"(1, 2)": "x"}'

    @pytest.mark.parametrize("levels", [900, 1024, 5000, 100_000])
    def test_a_deep_value_never_raises(self, levels: int) -> None:
        text = json_text(nested(levels))
        assert "bottom" in text or text.count("[") + text.count("{") == DEEPEST

    def test_a_deep_value_keeps_its_upper_levels(self) -> None:
        text = json_text({"top": "kept", "deep": nested(100_000)})  # every interpreter gives up before
        assert '"top": "kept"' in text
        assert '"…"' in text


class TestWellFormed:
    @pytest.mark.parametrize("text", ["", "plain", "é 漢 😀", "a\x00b", "\u2028"])
    def test_proper_text_stays_the_same_object(self, text: str) -> None:
        assert well_formed(text) is text

    @pytest.mark.parametrize(
        ("text", "mended"),
        [("a\ud800b", "a\ufffdb"), ("\udfff", "\ufffd"), ("\ud83d\ude00", "😀"), ("é\ud83d", "é\ufffd")],
    )
    def test_halves_are_replaced_and_pairs_joined(self, text: str, mended: str) -> None:
        assert well_formed(text) == mended

    @given(ANY_TEXT)
    def test_the_result_can_always_be_encoded_and_does_not_change_again(self, text: str) -> None:
        once = well_formed(text)
        once.encode()
        assert well_formed(once) == once


class TestParsedJson:
    @given(JSON)
    def test_json_is_read_as_what_was_written(self, value: object) -> None:
        written = json.dumps(value)
        assume("Infinity" not in written)
        assert parsed_json(written) == parsed_json(written.encode())

    @given(ANY_TEXT, ANY_TEXT)
    def test_a_character_cut_in_half_costs_only_itself(self, before: str, after: str) -> None:
        written = json.dumps({"before": before, "cut": "emoji \ud83d", "after": f"\\ud83d {after}"})
        assert parsed_json(written) == {
            "before": well_formed(before),
            "cut": "emoji \ufffd",
            "after": f"\\ud83d {well_formed(after)}",
        }

    @pytest.mark.parametrize("written", ["", "to be", "[1] as they say", r"{\ud83d", '{"a":', b"\xff", "NaN"])
    def test_what_is_no_json_is_an_error(self, written: str | bytes) -> None:
        with pytest.raises(ValueError, match=r"."):
            parsed_json(written)

    def test_nesting_without_end_is_an_error_of_its_own(self) -> None:
        with pytest.raises(TooDeep):
            parsed_json("[" * 100_000 + "]" * 100_000)
