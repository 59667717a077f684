"""What was retrieved: the documents in the outputs of retrievers, however they were recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from traces import Path, Trace, as_text

RETRIEVED: Final = Path.parse("$.observations[?@.type == 'RETRIEVER'].output")
MOST_DOCUMENTS: Final = 1000

_TEXTS: Final = ("page_content", "pageContent", "content", "text", "chunk", "passage", "snippet", "body", "document")
_LISTS: Final = ("documents", "docs", "results", "matches", "chunks", "passages", "nodes", "hits", "items", "data")
_IDS: Final = ("id", "doc_id", "docId", "document_id", "documentId", "chunk_id", "chunkId", "_id", "source", "url")
_INSIDE: Final = ("metadata", "meta", "node", "payload", "_source", "fields")
"""Under which names libraries and vector stores put the text of a document, a list of them, an id, and more of it."""

_LONGEST_ID: Final = 500
_LARGEST_ID: Final = 2**64


class Document(NamedTuple):
    """A retrieved document: every id it goes by, and its text."""

    ids: tuple[str, ...]
    text: str


def documents(path: Path, trace: Trace) -> list[Document]:
    """Return the retrieved documents in their order, the first 1,000.

    A text is a document; a list holds one in each item; an object is one, or holds a list under a usual name.
    """
    found: list[Document] = []
    for value in path.values(trace):
        for document in _in(value):
            found.append(document)
            if len(found) == MOST_DOCUMENTS:
                return found
    return found


def _in(value: Any) -> Iterator[Document]:
    for item in _items(value):
        document = _document(item)
        if document.text.strip() or document.ids:
            yield document


def _items(value: Any) -> list[Any]:
    """Return what may be a document each; lists in lists, as one for each query, are opened once."""
    if value is None:
        return []
    listed = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), None) if _is(value) else value
    if not isinstance(listed, list):
        return [value]
    items = listed[:MOST_DOCUMENTS]
    opened = [inner for item in items for inner in (item if isinstance(item, list) else [item])]
    return [item for item in opened[:MOST_DOCUMENTS] if item is not None]


def _document(item: Any, *, opened: bool = False) -> Document:
    if not _is(item):
        return Document((), as_text(item))
    parts = [item, *(item[name] for name in _INSIDE if _is(item.get(name)))]
    ids = [str(part[name]) for part in parts for name in _IDS if _is_id(part.get(name))]
    texts = (part[name] for part in parts for name in _TEXTS if isinstance(part.get(name), (str, dict)))
    text = next(texts, None)
    if _is(text) and not opened:  # the document itself, one level further in
        inner = _document(text, opened=True)
        return Document(tuple(dict.fromkeys([*ids, *inner.ids])), inner.text)
    if text is None:
        return Document(tuple(dict.fromkeys(ids)), "" if ids else as_text(item))
    return Document(tuple(dict.fromkeys(ids)), as_text(text))


def _is(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= _LONGEST_ID
    return type(value) is int and abs(value) < _LARGEST_ID
