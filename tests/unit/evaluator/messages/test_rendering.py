"""Messages as text and as HTML: what strangers write stays text."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from evaluator.messages.blocks import buttons, context, escaped, link, plain, post, remark, section
from evaluator.messages.rendering import as_html, as_text, title_of

TAGS = {"html", "head", "meta", "title", "body", "h1", "p", "b", "code", "a", "br", "img"}


class Read(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.words = ""
        self.handed: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handed |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_message_reads_the_same_everywhere() -> None:
    content = post(
        "It fell & rose",
        [
            section(f"*Who:* {escaped('a*b*<c>')}\nnow :small_red_triangle_down:"),
            context(link("https://e.example/?a=1&b=2", "read it")),
            *buttons([("All", "https://e.example/all")]),
        ],
        "x",
    )
    assert title_of(content) == "It fell & rose"
    assert as_text(content) == (
        "It fell & rose\n\nWho: a*b*<c>\nnow ▼\n\nread it (https://e.example/?a=1&b=2)\n\nAll: https://e.example/all\n"
    )
    page = Read(as_html(content, "cid:chart"))
    assert (
        page.links == ["https://e.example/?a=1&b=2", "https://e.example/all", "cid:chart"] or "cid:chart" in page.links
    )
    assert "Who: a*b*<c>" in page.words


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_whatever_becomes_markup(name: str, comment: str) -> None:
    blocks = [
        section(f"*Who:* {escaped(name)}"),
        remark(link(f"https://e.example/{name}", name), plain(comment) or "-"),
    ]
    content = post(name, blocks, name)
    page = Read(as_html(content))
    assert page.tags <= TAGS
    assert page.handed <= {"lang", "charset", "style", "href", "src", "alt"}
    assert all(url.startswith("https://e.example/") for url in page.links)
    assert plain(comment) in page.words
    assert plain(comment) in as_text(content)
