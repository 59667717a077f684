"""Rules about retrieval: was anything found, and does the answer keep to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar, Final

from pydantic import Field

from rules.base import Rule, counted, failed, passed, quoted
from rules.measuring import AtLeast, Measure, Measuring, Number
from rules.retrieved import MOST_DOCUMENTS, RETRIEVED, Document, documents
from rules.text import ANSWER, NOT_FOUND, selected_text
from rules.words import LONGEST, runs, without_code, words
from traces import NotApplicable, Path, Trace, Verdict

QUESTION: Final = Path.parse("$.root.input")
RELEVANT: Final = Path.parse("$.root.metadata.relevant_ids")

_FEWEST_RUNS: Final = 5
_MOST_CONTEXT: Final = 1_000_000
"""Characters of all documents together that are cut into words."""

_NO_DOCUMENTS: Final = NotApplicable("no retrieved documents")
_NO_CITATIONS: Final = NotApplicable("no citations")
_NO_QUOTES: Final = NotApplicable("no quotations")
_NO_IDS: Final = NotApplicable("no ids to compare")
_SHORT_ANSWER: Final = NotApplicable("too few words")

_BRACKETS: Final = re.compile(r"\[\^?([^\[\]\n]{1,80})\](?!\()|\u3010([^\u3010\u3011\n]{1,80})\u3011")
_NUMBERED: Final = re.compile(
    r"(?i:(?:docs?|documents?|sources?|refs?|references?|chunks?|passages?)[ _#:-]{0,2})?(\d{1,4})"
)
_RANGE: Final = re.compile(r"(\d{1,4})\s?[-\u2013]\s?(\d{1,4})")
_LOOKS_LIKE_ID: Final = re.compile(r"[A-Za-z][A-Za-z]{0,20}[-_ #:]{0,2}\d{1,12}")
_MOST_CITED: Final = 1000
_QUOTES: Final = re.compile(
    r'"([^"\n]{1,2000})"|\u201c([^\u201c\u201d\n]{1,2000})\u201d|\u201e([^\u201e\u201c\u201d\n]{1,2000})[\u201c\u201d]'
    r"|\u00ab([^\u00ab\u00bb\n]{1,2000})\u00bb"
)
_ELLIPSIS: Final = re.compile(r"\[?(?:\u2026|\.\.\.)\]?")


class RetrievalRule(Rule):
    """A rule over what was retrieved."""

    documents: Path = Field(default=RETRIEVED, description="where the retrieved documents are")


class DocumentCount(RetrievalRule, Measuring):
    """Counts what was retrieved."""

    def measure(self, trace: Trace) -> Measure:
        """Count the documents that have a text."""
        number = sum(bool(document.text.strip()) for document in documents(self.documents, trace))
        return Measure(number, f"{counted(number, 'document')} retrieved")


class RetrievedDocuments(Number, DocumentCount):
    """How many documents were retrieved, those without text left out.

    A document is a text, an item of a list, or an object; also understood are lists under the usual names (`documents`,
    `results`, `matches`, `nodes`, ...) and texts under `page_content`, `content`, `text` and their like. Of a trace the
    first 1,000 documents count. Where nothing was recorded the number is 0.
    """

    example: ClassVar = {"name": "documents-found", "rule": "retrieved_documents"}


class ContextPresent(AtLeast, DocumentCount):
    """At least so many documents with a text were retrieved: an answer without context is a guess.

    What is a document `retrieved_documents` says. Use `when: {observation: {type: RETRIEVER}}` to leave traces out that
    never asked a retriever.
    """

    example: ClassVar = {"name": "found-something", "rule": "context_present", "at_least": 2}

    at_least: float = Field(default=1, ge=1, description="documents that must be there")


class AnswerRule(RetrievalRule):
    """A rule over an answer and the documents it was given."""

    value: Path = Field(default=ANSWER, description="the answer")

    def given(self, trace: Trace) -> tuple[str, list[Document]] | NotApplicable:
        """Return the answer and its documents; a trace that has none of either is not scored."""
        answer = selected_text(self.value, trace)
        if answer is None:
            return NOT_FOUND
        found = documents(self.documents, trace)
        return (answer[:LONGEST], found) if found else _NO_DOCUMENTS


class Citations(AnswerRule):
    """Every citation in the answer refers to a document that was retrieved.

    Citations are `[1]`, `[1, 3]`, `[2-4]`, `[^1]`, `【1】`, `[doc-3]`, `[source 2]`, or an id in brackets. A number
    must be that of a document in order, from 1, or an id; something that looks like an id (letters and a number) must
    be one that a document has (`id`, `doc_id`, `source`, `url`, also in its metadata). Other brackets, links and code
    are left alone. An answer without citations is not scored, or fails with `required: true`.
    """

    example: ClassVar = {"name": "cites-what-it-read", "rule": "citations", "required": True}

    required: bool = Field(default=False, description="whether there must be a citation")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look each citation up."""
        given = self.given(trace)
        if isinstance(given, NotApplicable):
            return given
        answer, found = given
        cited = list(_citations(without_code(answer), {name for document in found for name in document.ids}))
        if not cited:
            return failed(f"no citation of {counted(len(found), 'document')}") if self.required else _NO_CITATIONS
        wrong = [said for said, number in cited if not 0 <= number <= len(found)]
        if wrong:
            many = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            return failed(f"{quoted(wrong[0], 30)}{many} refers to none of {counted(len(found), 'document')}")
        return passed(f"{counted(len(cited), 'citation')} of {counted(len(found), 'document')}")


class QuotesInContext(AnswerRule):
    """What the answer puts into quotation marks occurs in a retrieved document, or in the question.

    Looked at are quotations of at least `words` words in "…", “…”, „…“ and «…», outside Markdown code. Case, white
    space and punctuation do not count; where a quotation leaves something out (…, [...]) each part must occur. An
    answer without such quotations is not scored.
    """

    example: ClassVar = {"name": "quotes-are-real", "rule": "quotes_in_context"}

    words: int = Field(default=4, ge=1, le=100, description="words that make a quotation")
    also: Path = Field(default=QUESTION, description="what may be quoted too")

    def check(self, trace: Trace) -> Verdict | NotApplicable:
        """Look for each quotation."""
        given = self.given(trace)
        if isinstance(given, NotApplicable):
            return given
        answer, found = given
        said = ["".join(filter(None, quote)) for quote in _QUOTES.findall(without_code(answer))]
        quotes = [quote for quote in said if len(words(quote)) >= self.words]
        if not quotes:
            return _NO_QUOTES
        sources = [*(document.text for document in found), selected_text(self.also, trace) or ""]
        known = " | ".join(" ".join(words(source)) for source in sources)
        missing = [quote for quote in quotes if not _occurs(quote, f" {known} ")]
        if missing:
            many = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            return failed(f"{quoted(missing[0], 40)}{many} of {counted(len(quotes), 'quotation')} is in no document")
        return passed(f"{counted(len(quotes), 'quotation')} found in {counted(len(found), 'document')}")


class OverlapRule(AnswerRule, Measuring):
    """Measures how much of the answer stands in what was retrieved."""

    run: int = Field(default=3, ge=1, le=20, description="words that make a run")

    def measure(self, trace: Trace) -> Measure | NotApplicable:
        """Count the runs of the answer that some document has."""
        given = self.given(trace)
        if isinstance(given, NotApplicable):
            return given
        answer, found = given
        wanted = runs(words(answer), self.run)
        if len(wanted) < _FEWEST_RUNS:
            return _SHORT_ANSWER
        known: set[tuple[str, ...]] = set()
        left = _MOST_CONTEXT
        for document in found:
            known.update(runs(words(document.text[:left]), self.run))
            left -= len(document.text)
            if left <= 0:
                break
        share = sum(run in known for run in wanted) / len(wanted)
        of_all = f"{share:.2f} of {counted(len(wanted), 'run')} of {self.run} words"
        return Measure(share, f"{of_all} are in {counted(len(found), 'document')}")


class Groundedness(Number, OverlapRule):
    """Which share of the answer's runs of three words stands in the retrieved documents, from 0 to 1.

    A cheap sign of groundedness, not a proof: an answer in other words than its documents scores low, and one that
    denies what they say scores high. Compare it with itself, week by week, and let a judge look where it is low. The
    documents are read up to 1,000,000 characters. An answer of fewer than 5 runs, or without documents, is not scored.
    """

    example: ClassVar = {"name": "groundedness", "rule": "groundedness"}


class MinGroundedness(AtLeast, OverlapRule):
    """Enough of the answer stands in the retrieved documents: its `groundedness` is at least a limit."""

    example: ClassVar = {"name": "keeps-to-documents", "rule": "min_groundedness", "at_least": 0.3}

    at_least: float = Field(default=0.2, ge=0, le=1, description="the smallest share that is allowed")


class IdRule(RetrievalRule, Measuring):
    """Compares the ids of what was retrieved with those of what should have been."""

    relevant: Path = Field(default=RELEVANT, description="the ids of the relevant documents: a list, or several values")

    def ids(self, trace: Trace) -> tuple[list[frozenset[str]], frozenset[str]] | NotApplicable:
        """Return the ids of each document that has any, and those of the relevant ones."""
        found = [frozenset(document.ids) for document in documents(self.documents, trace) if document.ids]
        wanted = frozenset(_ids(self.relevant.values(trace)))
        return (found, wanted) if found and wanted else _NO_IDS


class PrecisionRule(IdRule):
    """Measures how much of what was retrieved is relevant."""

    def measure(self, trace: Trace) -> Measure | NotApplicable:
        """Divide the relevant by the retrieved."""
        ids = self.ids(trace)
        if isinstance(ids, NotApplicable):
            return ids
        found, wanted = ids
        relevant = sum(not wanted.isdisjoint(names) for names in found)
        return Measure(relevant / len(found), f"{relevant} of {counted(len(found), 'retrieved document')} relevant")


class ContextPrecision(Number, PrecisionRule):
    """Which share of the retrieved documents is relevant, from 0 to 1 (context precision, by ids).

    `relevant` selects the ids that should have been found, such as those of a test set in the trace's metadata; a
    document is relevant when any id it goes by is among them. Without ids on either side the trace is not scored.
    """

    example: ClassVar = {"name": "context-precision", "rule": "context_precision"}


class MinContextPrecision(AtLeast, PrecisionRule):
    """Enough of the retrieved documents are relevant: `context_precision` is at least a limit."""

    example: ClassVar = {"name": "precise-enough", "rule": "min_context_precision", "at_least": 0.6}

    at_least: float = Field(default=0.5, ge=0, le=1, description="the smallest share that is allowed")


class ContextRecall(Number, IdRule):
    """Which share of the relevant documents was retrieved, from 0 to 1 (context recall, by ids).

    Ids as in `context_precision`.
    """

    example: ClassVar = {"name": "context-recall", "rule": "context_recall"}

    def measure(self, trace: Trace) -> Measure | NotApplicable:
        """Divide the relevant that were found by all the relevant."""
        ids = self.ids(trace)
        if isinstance(ids, NotApplicable):
            return ids
        found, wanted = ids
        hit = len(wanted & frozenset().union(*found))
        return Measure(hit / len(wanted), f"{hit} of {counted(len(wanted), 'relevant document')} retrieved")


def _citations(answer: str, ids: set[str]) -> Iterator[tuple[str, int]]:
    """Give each citation with the number it names; 0 for an id that is known, -1 for one that is not."""
    for found in islice(_BRACKETS.finditer(answer), _MOST_CITED):
        inside = (found[1] or found[2]).strip()
        if inside in ids:
            yield found[0], 0
            continue
        for part in re.split(r"\s*[,;]\s*", inside):
            if part in ids:
                yield found[0], 0
            elif span := _RANGE.fullmatch(part):
                yield found[0], int(span[1]) or -1
                yield found[0], int(span[2]) or -1
            elif numbered := _NUMBERED.fullmatch(part):
                yield found[0], int(numbered[1]) or -1
            elif _LOOKS_LIKE_ID.fullmatch(part):
                yield found[0], -1


def _occurs(quote: str, known: str) -> bool:
    parts = [" ".join(words(part)) for part in _ELLIPSIS.split(quote)]
    return all(f" {part} " in known for part in parts if part)


def _ids(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from _ids(item for item in value[:MOST_DOCUMENTS] if not isinstance(item, list))
        elif isinstance(value, (str, int)) and not isinstance(value, bool):
            yield str(value)
