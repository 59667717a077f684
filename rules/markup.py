"""Rules about Markdown and addresses in a text: do they come out as they were meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from rules.base import counted, failed, passed, quoted
from rules.text import TextRule
from rules.words import LONGEST
from traces import NotApplicable, Verdict

_NO_LINKS: Final = NotApplicable("no links")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_INLINE_CODE: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"!?\[([^\[\]\n]{0,500})\]\(([^()\n]{0,2000}(?:\([^()\n]{0,200}\)[^()\n]{0,200})?)\)")
_UNCLOSED_LINK: Final = re.compile(r"\[[^\[\]\n]{1,200}\]\(https?:[^()\s]{0,2000}(?:\s|\Z)")
_URL: Final = re.compile(r"https?://[^\s<>\"'`\u201c\u201d]{0,2000}", re.IGNORECASE)
_MOST_URLS: Final = 1000
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PERCENT: Final = re.compile(r"%(?![0-9a-fA-F]{2})")


class MarkdownValid(TextRule):
    """The text's Markdown comes out as it was meant.

    Any text is valid Markdown, so found is what shows as raw marks: a code fence that is never closed, bold `**` that
    is opened and not closed within its paragraph, a link without address, with white space in it or without its closing
    bracket, a table of which a row has more cells than its head. Code is left alone. Looked at are the first 100,000
    characters.
    """

    example: ClassVar = {"name": "markdown-in-order", "rule": "markdown_valid"}

    def check_text(self, text: str) -> Verdict:
        """Look for marks that would show."""
        problem = next(_problems(text[:LONGEST]), None)
        if problem is None:
            return passed("the Markdown is in order")
        line, what = problem
        return failed(f"line {line:,}: {what}")


def _host(host: str) -> str:
    if not _is_host(host.lower()):
        raise ValueError(f"{host!r} is no host; write one such as example.com, which stands for www.example.com too")
    return host.lower()


class UrlsValid(TextRule):
    """Every http and https address in the text is one, and leads where it may.

    An address is in order when its host has valid labels and a top level (or is an IP address or localhost), its port
    is a number up to 65535, it has no user and password in it and no broken `%` sequence. Nothing is fetched: whether
    the page exists is not looked at. A text without addresses is not scored.
    """

    example: ClassVar = {"name": "links-to-our-pages", "rule": "urls_valid", "hosts": ["example.com"]}

    hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        default=(), description="hosts that may be linked, with all below them; without it, any"
    )

    def check_text(self, text: str) -> Verdict | NotApplicable:
        """Look at each address."""
        found = islice(_URL.finditer(text), _MOST_URLS)
        urls = [url for one in found if (url := _trim(one[0]))]
        if not urls:
            return _NO_LINKS
        for url in urls:
            problem = self._problem(url)
            if problem is not None:
                return failed(f"{quoted(url, 80)} {problem}")
        return passed(f"{counted(len(urls), 'link')} in order")

    def _problem(self, url: str) -> str | None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return "is no address"
        if not _is_host(host):
            return "has no valid host"
        if port == 0:
            return "has no valid port"
        if "@" in parts.netloc:
            return "has a user in it"
        if _PERCENT.search(url):
            return "has a broken % sequence"
        if self.hosts and not any(host == known or host.endswith(f".{known}") for known in self.hosts):
            return f"does not lead to {' or '.join(self.hosts[:5])}"
        return None


def _problems(text: str) -> Iterator[tuple[int, str]]:
    """Give what is wrong, with its line, from the top."""
    fence, opened, bold, bold_line, columns = "", 0, 0, 0, 0
    before = ""
    for number, raw in enumerate(text.split("\n"), 1):
        mark = _FENCE.match(raw)
        if fence or mark:
            if not fence and mark:
                fence, opened = mark[1], number
            elif mark and mark[1].startswith(fence) and not raw.strip().strip(fence[0]):
                fence = ""
            continue
        line = _INLINE_CODE.sub("", raw)
        yield from ((number, what) for what in _link_problems(line))
        columns = _cells(before) if _is_rule(line) and "|" in before else columns if "|" in line else 0
        if columns and not _is_rule(line) and _cells(line) > columns:
            yield number, f"a row of {_cells(line)} cells in a table of {columns}"
        if not line.strip():
            if bold % 2:
                yield bold_line, "bold ** is not closed"
            bold = 0
        elif "**" in line and line.strip("* "):
            bold, bold_line = bold + line.replace("\\*", "").count("**"), number
        before = line
    if bold % 2:
        yield bold_line, "bold ** is not closed"
    if fence:
        yield opened, "a code fence is never closed"


def _link_problems(line: str) -> Iterator[str]:
    if "](" not in line:
        return
    for found in _LINK.finditer(line):
        target = found[2].strip().split(' "', 1)[0].split(" '", 1)[0]
        if not target:
            yield f"the link {quoted(found[1], 30)} has no address"
        elif " " in target and not target.startswith("<"):
            yield f"the address of the link {quoted(found[1], 30)} has white space in it"
    if _UNCLOSED_LINK.search(line):
        yield "a link has no closing bracket"


def _is_rule(line: str) -> bool:
    """Whether a line is what stands below the head of a table."""
    if "|" not in line or "-" not in line:
        return False
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return all("-" in cell and not cell.strip(":").strip("-") for cell in cells)


def _cells(line: str) -> int:
    return line.replace("\\|", "").strip().strip("|").count("|") + 1


def _trim(url: str) -> str:
    """Return an address without the punctuation of the sentence or the link around it."""
    url = url.split("](", 1)[0]
    while url and (url[-1] in ".,;:!?*_]}" or (url[-1] == ")" and url.count(")") > url.count("("))):
        url = url[:-1]
    return url


def _is_host(host: str) -> bool:
    if host == "localhost" or (":" in host and re.fullmatch(r"[0-9a-f:.]{2,45}", host)):
        return True
    try:
        labels = host.rstrip(".").encode("idna").decode().split(".")
    except UnicodeError:
        return False
    if not all(_LABEL.fullmatch(label) for label in labels):
        return False
    if labels[-1].isdigit():
        return len(labels) == 4 and all(label.isdigit() and int(label) < 256 for label in labels)
    return len(labels) > 1 and len(labels[-1]) > 1
