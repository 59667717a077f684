from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.base import Rule
from rules.retrieval import (
    Citations,
    ContextPrecision,
    ContextPresent,
    ContextRecall,
    Groundedness,
    MinContextPrecision,
    MinGroundedness,
    QuotesInContext,
    RetrievedDocuments,
)
from rules.retrieved import MOST_DOCUMENTS, RETRIEVED, Document, documents
from tests.building import ANY_TEXT, nested, step, trace
from traces import NotApplicable, Trace, Verdict

TEXTS = ["Refunds take five working days after we receive the parcel.", "Parcels can be returned within thirty days."]
DOCUMENTS = [{"id": "doc-7", "text": TEXTS[0]}, {"id": "doc-9", "text": TEXTS[1]}]


def retrieved(found: Any, **fields: Any) -> Trace:
    return trace(step("search", type="RETRIEVER", output=found), **fields)


def said(rule: Rule, answer: str, output: Any = DOCUMENTS, **fields: Any) -> Verdict:
    found = rule.check(retrieved(output, output=answer, **fields))
    assert isinstance(found, Verdict), found
    return found


class TestDocuments:
    @pytest.mark.parametrize(
        ("output", "expected"),
        [
            ("a text", [Document((), "a text")]),
            (["a", "b"], [Document((), "a"), Document((), "b")]),
            ([["a"], ["b", None, " "]], [Document((), "a"), Document((), "b")]),
            ({"documents": [{"id": 1, "content": "a"}]}, [Document(("1",), "a")]),
            ({"matches": [{"id": "x", "metadata": {"text": "a", "url": "u"}}]}, [Document(("x", "u"), "a")]),
            ([{"page_content": "a", "metadata": {"source": "s.pdf"}}], [Document(("s.pdf",), "a")]),
            ([{"document": {"id": "x", "content": "a"}, "score": 0.9}], [Document(("x",), "a")]),
            ([{"node": {"text": "a"}, "score": 1}], [Document((), "a")]),
            ([{"id": "x"}], [Document(("x",), "")]),
            ([{"title": "t"}], [Document((), '{"title": "t"}')]),
            ([{"id": True, "text": "a"}, {"id": 10**5000, "text": "b"}], [Document((), "a"), Document((), "b")]),
            (None, []),
            ([], []),
            ({"documents": []}, []),
        ],
    )
    def test_forms_in_use(self, output: Any, expected: list[Document]) -> None:
        assert documents(RETRIEVED, retrieved(output)) == expected

    def test_several_retrievers_follow_each_other(self) -> None:
        built = trace(step("a", type="RETRIEVER", output=["1"]), step("b", type="RETRIEVER", output=["2"]))
        assert [document.text for document in documents(RETRIEVED, built)] == ["1", "2"]

    def test_only_so_many_are_read(self) -> None:
        assert len(documents(RETRIEVED, retrieved(["a"] * 5000))) == MOST_DOCUMENTS

    @given(
        st.recursive(
            st.none() | ANY_TEXT | st.integers(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["id", "text", "documents", "metadata", "content", "x"]), inner)
            ),
            max_leaves=12,
        )
    )
    @settings(max_examples=50)
    def test_odd_outputs_are_read_as_they_can(self, output: Any) -> None:
        assert all(isinstance(document.text, str) for document in documents(RETRIEVED, retrieved(output)))

    def test_deep_outputs(self) -> None:
        deep: Any = "bottom"
        for _ in range(5000):
            deep = {"content": deep}
        assert len(documents(RETRIEVED, retrieved([deep, nested(5000)]))) == 2


class TestContextPresent:
    def test_counts(self) -> None:
        assert said(RetrievedDocuments(), "x") == Verdict(2.0, "2 documents retrieved")
        assert said(ContextPresent(), "x") == Verdict(True, "2 documents retrieved; at least 1 wanted")
        assert said(ContextPresent(at_least=3), "x").value is False

    @pytest.mark.parametrize("output", [None, [], "", {"results": []}, [{"id": "no text"}]])
    def test_nothing_found(self, output: Any) -> None:
        assert said(ContextPresent(), "x", output).value is False
        assert RetrievedDocuments().check(trace()) == Verdict(0.0, "0 documents retrieved")


class TestCitations:
    @pytest.mark.parametrize(
        "answer",
        [
            "Five days [1].",
            "Both [1, 2] and [1-2], also [1][2]",
            "By id [doc-7] or [doc-7; doc-9]",
            "By number [doc 2], [Source 1], [^2]",
            "五日【1】",
            "Known [1], a link [77](https://x.org), [sic], [Your Name], `x[99]`",
        ],
    )
    def test_what_refers_to_a_document(self, answer: str) -> None:
        assert said(Citations(), answer).value is True

    @pytest.mark.parametrize(
        ("answer", "named"),
        [
            ("[3]", "'[3]'"),
            ("[0]", "'[0]'"),
            ("[1] [doc-8]", "'[doc-8]'"),
            ("[1-4]", "'[1-4]'"),
            ("【9】 [8]", "'【9】' and 1 more"),
        ],
    )
    def test_what_refers_to_none(self, answer: str, named: str) -> None:
        assert said(Citations(), answer) == Verdict(False, f"{named} refers to none of 2 documents")

    def test_an_answer_without_citations(self) -> None:
        assert Citations().check(retrieved(DOCUMENTS, output="Five days.")) == NotApplicable("no citations")
        assert said(Citations(required=True), "Five days.") == Verdict(False, "no citation of 2 documents")

    def test_without_documents_it_is_not_scored(self) -> None:
        assert Citations().check(trace(output="[1]")) == NotApplicable("no retrieved documents")
        assert Citations().check(retrieved(DOCUMENTS, output=None)) == NotApplicable("value not found")


class TestQuotes:
    @pytest.mark.parametrize(
        "answer",
        [
            'It says "refunds take five\u00a0working days".',
            "It says \u201cRefunds  take FIVE working days, after we receive\u201d.",
            "It says \u00abParcels can be \u2026 within thirty days\u00bb.",
            'You asked "where is my blue umbrella", and',
        ],
    )
    def test_what_occurs(self, answer: str) -> None:
        assert said(QuotesInContext(), answer, input="Hi, where is my blue umbrella?").value is True

    def test_what_does_not(self) -> None:
        found = said(QuotesInContext(), 'It says "refunds take ten working days" and "parcels can be returned within".')
        assert found == Verdict(False, "'refunds take ten working days' of 2 quotations is in no document")

    def test_a_quotation_does_not_run_over_two_documents(self) -> None:
        assert said(QuotesInContext(), '"receive the parcel parcels can be"').value is False

    @pytest.mark.parametrize(
        "answer", ["no quotes", 'a "short one" only', '`"in code this is fine"`', 'five " inches wide']
    )
    def test_without_quotations_it_is_not_scored(self, answer: str) -> None:
        assert QuotesInContext().check(retrieved(DOCUMENTS, output=answer)) == NotApplicable("no quotations")


class TestGroundedness:
    def test_a_copied_answer_and_an_invented_one(self) -> None:
        assert said(Groundedness(), TEXTS[0].upper()).value == 1.0
        assert said(Groundedness(), "We never give anything back to anybody at all.").value == 0.0

    def test_the_share_is_that_of_runs(self) -> None:
        found = said(Groundedness(), "Refunds take five working days, and we are glad.")
        assert found == Verdict(3 / 7, "0.43 of 7 runs of 3 words are in 2 documents")

    def test_the_limit(self) -> None:
        assert said(MinGroundedness(), TEXTS[1]).value is True
        assert said(MinGroundedness(at_least=0.5), "Refunds take five working days, and we are glad.").value is False

    def test_a_run_over_two_documents_is_none(self) -> None:
        assert said(Groundedness(run=2), "the parcel parcels can be returned").value == 4 / 5

    def test_short_answers_are_not_scored(self) -> None:
        assert Groundedness().check(retrieved(DOCUMENTS, output="Five days.")) == NotApplicable("too few words")

    @given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=7, max_size=30), ANY_TEXT)
    @settings(max_examples=30)
    def test_it_is_a_share(self, answer: list[str], document: str) -> None:
        found = Groundedness().check(retrieved([f"x {document}", "a b c a b c"], output=" ".join(answer)))
        assert isinstance(found, Verdict)
        assert 0 <= float(found.value) <= 1


class TestIds:
    RELEVANT: Final = {"relevant_ids": ["doc-9", "doc-1", "doc-2"]}

    def test_precision_and_recall(self) -> None:
        assert said(ContextPrecision(), "x", root_metadata=self.RELEVANT) == Verdict(
            0.5, "1 of 2 retrieved documents relevant"
        )
        found = said(ContextRecall(), "x", root_metadata=self.RELEVANT)
        assert found == Verdict(1 / 3, "1 of 3 relevant documents retrieved")

    def test_the_limit(self) -> None:
        assert said(MinContextPrecision(), "x", root_metadata=self.RELEVANT).value is True
        assert said(MinContextPrecision(at_least=0.6), "x", root_metadata=self.RELEVANT).value is False

    def test_numbers_are_ids_too(self) -> None:
        output = [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]
        assert said(ContextPrecision(), "x", output, root_metadata={"relevant_ids": [2, [3], None, True]}).value == 0.5

    @pytest.mark.parametrize("metadata", [{}, {"relevant_ids": []}, {"relevant_ids": {"a": 1}}])
    def test_without_ids_it_is_not_scored(self, metadata: dict[str, Any]) -> None:
        built = retrieved(DOCUMENTS, root_metadata=metadata)
        assert ContextPrecision().check(built) == NotApplicable("no ids to compare")
        assert ContextRecall().check(retrieved(["text"], root_metadata=self.RELEVANT)) == NotApplicable(
            "no ids to compare"
        )
