from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.building import ANY_TEXT
from traces import Limit, in_characters, in_tokens, shortened, tokens
from traces.lengths import remark


@given(st.text(max_size=2000), st.integers(200, 600))
def test_a_shortened_text_fits_and_says_what_is_missing(text: str, longest: int) -> None:
    result = shortened(text, in_characters(longest))
    assert len(result.text) <= longest
    if result.left_out == 0:
        assert result.text == text
        return
    head, _, rest = result.text.partition(remark(result.left_out))
    assert text.startswith(head)
    assert text.endswith(rest)
    assert len(head) + len(rest) + result.left_out == len(text)
    assert len(head) > len(rest) > 0


@given(ANY_TEXT.map(lambda text: text * 50), st.sampled_from([in_tokens(100), in_tokens(1), in_characters(10)]))
def test_no_limit_is_ever_passed(text: str, limit: Limit) -> None:
    assert limit.cost(shortened(text, limit).text) <= limit.most


@given(st.text(max_size=3000), st.integers(20, 500), st.integers(0, 500))
def test_more_room_never_shows_less(text: str, room: int, more: int) -> None:
    assert shortened(text, in_tokens(room + more)).left_out <= shortened(text, in_tokens(room)).left_out


@given(st.text(max_size=200))
def test_a_text_that_fits_stays_as_it_is(text: str) -> None:
    assert shortened(text, in_characters(200)).text == text


def test_head_and_tail_of_a_long_text_are_kept() -> None:
    text = "BEGIN" + "x" * 12_345_678 + "END"
    result = shortened(text, in_characters(1000))
    assert result.text.startswith("BEGINx")
    assert result.text.endswith("xEND")
    assert "[... 12,344,728 characters left out ...]" in result.text
    assert len(result.text) == 1000


@given(ANY_TEXT, ANY_TEXT)
def test_two_texts_cost_what_both_do(one: str, two: str) -> None:
    plain = [text.encode(errors="replace").decode() for text in (one, two)]
    cost = in_tokens(1).cost
    assert cost("".join(plain)) == cost(plain[0]) + cost(plain[1])


@given(st.characters())
def test_no_character_is_free(character: str) -> None:
    for limit in (in_tokens(1), in_characters(1)):
        assert limit.cost(character) >= limit.cheapest > 0


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("", 0),
        ("The quick brown fox jumps over the lazy dog. It was seen near the river twice this week.", 20),
        ('{"order": 77, "status": "delivered", "lines": [{"sku": "A-17", "price": 29}], "paid": true}', 35),
        ("您好，我想询问一下我的订单什么时候能够送达。系统显示订单已经发货，但是物流信息三天没有更新了。", 28),  # noqa: RUF001 - Chinese has its own comma
        ("先日注文した商品がまだ届いていないのですが、配送状況を確認していただけますでしょうか。", 26),
        ("Guten Tag, ich möchte gerne wissen, wann meine Bestellung geliefert wird.", 15),
        ("Здравствуйте, я хотел бы узнать, когда будет доставлен мой заказ.", 14),
        ("def total(prices: list[float]) -> float:\n    return sum(price for price in prices if price > 0)\n", 26),
    ],
)
def test_the_estimate_is_near_what_a_tokenizer_counts(text: str, counted: int) -> None:
    """Counted with o200k_base. An estimate that is too high packs a little more than it had to."""
    assert 0.85 * counted <= tokens(text) <= max(2.2 * counted, 1)
