"""Datasets of the stand-in behave as Langfuse's do."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.reviews import Reviews


@pytest.fixture
def reviews() -> Reviews:
    made = Reviews("proj")
    made.put_dataset({"name": "folder/a"})
    return made


def item(**fields: Any) -> dict[str, Any]:
    return {"datasetName": "folder/a", "id": "i1", "input": {"q": 1}, "metadata": {"m": 1}, **fields}


def test_a_dataset_that_is_there_stays_with_what_is_in_it(reviews: Reviews) -> None:
    reviews.put_item(item())
    again = reviews.put_dataset({"name": "folder/a", "description": "said again"})
    assert (again["name"], again["projectId"]) == ("folder/a", "proj")
    assert len(reviews.dataset("folder/a")) == 1


def test_of_a_known_item_only_what_is_given_is_replaced(reviews: Reviews) -> None:
    first = reviews.put_item(item(sourceTraceId="t1"))
    then = reviews.put_item({"datasetName": "folder/a", "id": "i1", "status": "ARCHIVED"})
    assert (then["status"], then["input"], then["sourceTraceId"]) == ("ARCHIVED", {"q": 1}, "t1")
    assert then["createdAt"] == first["createdAt"]
    assert first["status"] == "ACTIVE"


def test_items_are_read_page_by_page_archived_ones_too(reviews: Reviews) -> None:
    for number in range(5):
        reviews.put_item(item(id=f"i{number}", sourceTraceId=f"t{number}"))
    reviews.put_item({"datasetName": "folder/a", "id": "i0", "status": "ARCHIVED"})
    pages = [reviews.items({"datasetName": "folder/a", "page": str(page), "limit": "2"}) for page in (1, 2, 3)]
    assert sorted(each["id"] for page in pages for each in page["data"]) == ["i0", "i1", "i2", "i3", "i4"]
    assert pages[0]["meta"] == {"page": 1, "limit": 2, "totalItems": 5, "totalPages": 3}
    (one,) = reviews.items({"sourceTraceId": "t3"})["data"]
    assert (one["id"], one["datasetName"]) == ("i3", "folder/a")


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda r: r.items({"datasetName": "none"}), 404),
        (lambda r: r.items({"datasetName": "folder/a", "limit": "101"}), 400),
        (lambda r: r.put_item(item(datasetName="none")), 404),
        (lambda r: r.put_item(item(status="GONE")), 400),
        (lambda r: r.put_item({"id": "x"}), 400),
        (lambda r: r.put_dataset({"description": "no name"}), 400),
    ],
)
def test_what_langfuse_refuses_is_refused(reviews: Reviews, ask: Any, status: int) -> None:
    with pytest.raises(Refusal) as refused:
        ask(reviews)
    assert refused.value.status == status


def test_an_item_belongs_to_one_dataset(reviews: Reviews) -> None:
    reviews.put_item(item())
    reviews.put_dataset({"name": "b"})
    with pytest.raises(Refusal) as refused:
        reviews.put_item(item(datasetName="b"))
    assert (refused.value.status, "already exists in a dataset other" in str(refused.value.body)) == (404, True)
