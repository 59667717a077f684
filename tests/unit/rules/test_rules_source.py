from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest
from pydantic import ValidationError

from rules.source import PythonValid, SourceRule, SqlValid, XmlValid
from tests.building import trace
from traces import NotApplicable, Verdict

ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;&a;</x>'
EXTERNAL = '<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>'


def wrong(rule: SourceRule, output: Any) -> str:
    """Return what is wrong; empty when nothing is."""
    found = rule.check(trace(output=output))
    assert isinstance(found, Verdict), found
    return "" if found.value else found.reason


class TestXml:
    @pytest.mark.parametrize(
        "output",
        ["<a/>", "\n<?xml version='1.0'?><a b='é'>&amp;</a>\n", "```xml\n<a/>\n```", "<a>" * 50_000 + "</a>" * 50_000],
    )
    def test_well_formed(self, output: str) -> None:
        assert wrong(XmlValid(), output) == ""

    @pytest.mark.parametrize(
        ("output", "what"),
        [
            ("<a>", "no XML: no element found at line 1 column 4"),
            ("<a></b>", "no XML: mismatched tag at line 1 column 6"),
            ("<a>\n&b;</a>", "no XML: undefined entity at line 2 column 1"),
            ("text", "no XML: syntax error at line 1 column 1"),
            ("", "no XML: no element found at line 1 column 1"),
            (ENTITIES, "line 1: a document type, which is not read"),
            (EXTERNAL, "line 1: a document type, which is not read"),
        ],
    )
    def test_what_is_none(self, output: str, what: str) -> None:
        assert wrong(XmlValid(), output) == what


class TestSql:
    @pytest.mark.parametrize(
        "output",
        [
            "select a from b where c = 1",
            "insert into t values (1); delete from t",
            "with a as (select 1) select * from a union select 2",
            "create table t (a int)",
            "begin; update t set a = 1; commit;",
            "grant all on t to ada",
            "```sql\nselect 1\n```",
        ],
    )
    def test_statements(self, output: str) -> None:
        assert wrong(SqlValid(), output) == ""

    @pytest.mark.parametrize(
        ("output", "what"),
        [
            ("select * from t wher a = 1", "no SQL: line 1 column"),
            ("select 'open", "no SQL"),
            ("I cannot write that.", "no SQL"),
            ("users", "statement 1 is an expression, no statement"),
            ("select 1; sel * frm t", "statement 2 is an expression"),
            ("", "no statement"),
            ("-- nothing", "no statement"),
            ("(" * 5000, "is nested too deeply"),
        ],
    )
    def test_what_is_none(self, output: str, what: str) -> None:
        assert wrong(SqlValid(), output).startswith(what)

    def test_dialects_differ(self) -> None:
        query = "select [a b] from t"
        assert wrong(SqlValid(dialect="tsql"), query) == ""
        assert wrong(SqlValid(), query) != ""

    def test_an_unknown_dialect_is_refused_with_those_known(self) -> None:
        with pytest.raises(ValidationError, match=r"unknown dialect 'postgre'; known are .*postgres"):
            SqlValid(dialect="postgre")

    def test_the_query_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            assert wrong(SqlValid(), "vacuum secret_table") == ""
        assert "secret" not in caplog.text


class TestPython:
    @pytest.mark.parametrize("output", ["x = 1", "", "import os\nos.nothing", "```python\nx = 1\n```", "x = '\\d'"])
    def test_what_parses(self, output: str) -> None:
        assert wrong(PythonValid(), output) == ""

    def test_it_is_never_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert wrong(PythonValid(), "print('run')\nraise SystemExit") == ""
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(
        ("output", "what"),
        [
            ("def f(:", "cannot be parsed: line 1 column 7"),
            ("if x:\nprint()", "is indented wrongly: line 2 column 1"),
            ("Sure, here it is:", "cannot be parsed"),
            ("-" * 20_000 + "1", "is nested too deeply"),
            ("a" + ".b" * 14_000, "is nested too deeply"),
            ("[" * 20_000, "cannot be parsed"),
            ("f'{" * 500, "cannot be parsed"),
        ],
    )
    def test_what_does_not(self, output: str, what: str) -> None:
        assert wrong(PythonValid(), output).startswith(what)

    def test_warnings_of_the_parser_stay_silent_and_filters_as_they_were(self) -> None:
        before = list(warnings.filters)
        assert wrong(PythonValid(), "assert (x, 'always true')\n'\\d' is 1") == ""
        assert list(warnings.filters) == before


class TestBlocks:
    TEXT = "Do this:\n```python\nx = 1\n```\nor\n````sql\nselect 1\n````\nnot\n```python\nx = = 1\n```"

    def test_only_blocks_of_the_language_are_looked_at(self) -> None:
        assert wrong(SqlValid(look_at="blocks"), self.TEXT) == ""
        assert wrong(PythonValid(look_at="blocks"), self.TEXT) == "block 2: cannot be parsed: line 1 column 5"
        assert XmlValid(look_at="blocks").check(trace(output=self.TEXT)) == NotApplicable("no such code block")

    def test_an_open_block_is_looked_at_too(self) -> None:
        assert wrong(PythonValid(look_at="blocks"), "```py\nprint(") == "block 1: cannot be parsed: line 1 column 6"

    @pytest.mark.parametrize(
        ("rule", "output"), [(SqlValid(), "a" * 10_001), (PythonValid(), "a" * 30_001), (XmlValid(), "a" * 5_000_001)]
    )
    def test_what_is_too_long_is_not_scored(self, rule: SourceRule, output: str) -> None:
        assert rule.check(trace(output=output)) == NotApplicable("too long to be parsed")
