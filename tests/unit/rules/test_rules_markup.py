from __future__ import annotations

import pytest
from pydantic import ValidationError

from rules.markup import MarkdownValid, UrlsValid
from tests.building import trace
from traces import NotApplicable, Verdict


def markdown(output: str) -> str:
    """Return what is wrong; empty when nothing is."""
    found = MarkdownValid().check(trace(output=output))
    assert isinstance(found, Verdict)
    return "" if found.value else found.reason


class TestMarkdownValid:
    @pytest.mark.parametrize(
        "output",
        [
            "",
            "Plain text with 2 * 3 * 4 and a_b.",
            "**bold** and **more\nover two lines**",
            "```python\nx = '**'\n[a]()\n```\ndone",
            "~~~\n```\n~~~",
            "````md\n```\n````",
            "`[x](` and `**`",
            '[a](https://x.org) ![b](b.png "title") [c](<with space>) [d](https://x.org/a_(b))',
            "| a | b |\n|---|:-:|\n| 1 | 2 |\n| 3 |\n\nafter | that | anything | goes",
            "a | b\n--|--\n1 | 2 \\| 3",
            "\\*\\* escaped",
            "* item\n* item",
            "***",
        ],
    )
    def test_what_comes_out_as_meant(self, output: str) -> None:
        assert markdown(output) == ""

    @pytest.mark.parametrize(
        ("output", "what"),
        [
            ("x\n```\ncode", "line 2: a code fence is never closed"),
            ("```\na\n~~~", "line 1: a code fence is never closed"),
            ("one\n**bold\n\nnext", "line 2: bold ** is not closed"),
            ("**bold", "line 1: bold ** is not closed"),
            ("see [here]()", "line 1: the link 'here' has no address"),
            ("see [here](our page)", "line 1: the address of the link 'here' has white space in it"),
            ("see [here](https://x.org/a and go", "line 1: a link has no closing bracket"),
            ("| a | b |\n|---|---|\n| 1 | 2 | 3 |", "line 3: a row of 3 cells in a table of 2"),
        ],
    )
    def test_what_shows_as_raw_marks(self, output: str, what: str) -> None:
        assert markdown(output) == what


class TestUrlsValid:
    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com",
            "http://sub.example.co.uk:8080/a/b?c=d%20e#f",
            "https://münchen.de/straße",
            "http://localhost:3000/",
            "http://127.0.0.1/x",
            "http://[::1]/x",
            "https://en.wikipedia.org/wiki/C_(language)",
        ],
    )
    def test_addresses_in_order(self, url: str) -> None:
        for text in (url, f"See {url}.", f"[a]({url})", f"<{url}>", f"({url})!"):
            assert UrlsValid().check(trace(output=text)) == Verdict(True, "1 link in order"), text

    @pytest.mark.parametrize(
        ("url", "what"),
        [
            ("https://", "has no valid host"),
            ("https://nowhere/x", "has no valid host"),
            ("https://-a-.com/", "has no valid host"),
            ("https://a..com/", "has no valid host"),
            ("http://999.1.1.1/", "has no valid host"),
            ("http://example.com:99999/", "is no address"),
            ("http://example.com:0/", "has no valid port"),
            ("http://[::1/", "is no address"),
            ("https://ada:secret@example.com/", "has a user in it"),
            ("https://example.com/%zz", "has a broken % sequence"),
        ],
    )
    def test_addresses_that_are_none(self, url: str, what: str) -> None:
        found = UrlsValid().check(trace(output=f"first https://example.com and {url} here"))
        assert isinstance(found, Verdict)
        assert found.value is False
        assert found.reason.endswith(what)

    def test_only_some_hosts(self) -> None:
        rule = UrlsValid(hosts=("Example.com",))
        assert rule.check(trace(output="https://example.com and https://www.example.com")).value is True  # type: ignore[union-attr]
        found = rule.check(trace(output="https://notexample.com"))
        assert found == Verdict(False, "'https://notexample.com' does not lead to example.com")

    def test_without_addresses_it_is_not_scored(self) -> None:
        assert UrlsValid().check(trace(output="see example.com")) == NotApplicable("no links")

    @pytest.mark.parametrize("host", ["", "https://example.com", "a b.com", "example"])
    def test_hosts_that_are_none_are_refused(self, host: str) -> None:
        with pytest.raises(ValidationError, match="is no host"):
            UrlsValid.model_validate({"hosts": [host]})
