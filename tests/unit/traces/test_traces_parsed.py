from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Self

import pytest
from pydantic import BaseModel, ValidationError

from tests.building import trace
from traces import Path, Pattern
from traces.parsed import Parsed


class Even(Parsed):
    __slots__ = ("number",)
    expected: ClassVar = "an even number such as '4'"
    json_schema: ClassVar = {"type": "string"}

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number

    @classmethod
    def parse(cls, text: str) -> Self:
        if int(text) % 2:
            raise ValueError(f"{text} is odd, {{even}} expected")
        return cls(text, int(text))


class Holder(BaseModel):
    one: Even = Even.parse("2")
    several: tuple[Even, ...] = ()
    maybe: Even | None = None


def test_it_is_read_and_written_as_its_text() -> None:
    held = Holder.model_validate({"one": "4", "several": ["6", "8"], "maybe": None})
    assert (held.one.number, [even.number for even in held.several]) == (4, [6, 8])
    assert held.model_dump(mode="json") == {"one": "4", "several": ["6", "8"], "maybe": None}


def test_an_error_is_the_parsers_own_even_with_braces_in_it() -> None:
    with pytest.raises(ValidationError) as caught:
        Holder.model_validate({"one": "3", "several": ["2", "5"]})
    assert [(error["loc"], error["msg"]) for error in caught.value.errors()] == [
        (("one",), "3 is odd, {even} expected"),
        (("several", 1), "5 is odd, {even} expected"),
    ]


def test_what_is_no_text_is_told_what_to_write() -> None:
    with pytest.raises(ValidationError, match="expected an even number such as '4'"):
        Holder.model_validate({"one": 4})


def test_a_default_is_text_in_the_json_schema() -> None:
    schema = Holder.model_json_schema()["properties"]
    assert schema["one"] == {"type": "string", "default": "2", "title": "One"}
    assert schema["maybe"]["anyOf"] == [{"type": "string"}, {"type": "null"}]


def test_the_schema_of_one_use_is_not_that_of_another() -> None:
    assert "title" not in Even.json_schema


def test_values_of_different_kinds_differ_even_with_the_same_text() -> None:
    assert Pattern.parse("$") != Path.parse("$")
    assert hash(Pattern.parse("a")) == hash(Pattern.parse("a"))


def test_compiled_values_may_be_used_by_many_threads() -> None:
    path = Path.parse("$.observations[?search(@.name, '^ro')].output")
    pattern = Pattern.parse("^All")
    built = [trace(output=f"All {number}") for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(path.first, built))
        spans = list(threads.map(pattern.search, outputs))
    assert outputs == [f"All {number}" for number in range(200)]
    assert set(spans) == {(0, 3)}
