"""Validation of requests: money, addresses, sums."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.models.order import OrderStatus
from app.schemas.order import Email, OrderIn, OrderItemOut

prices = st.decimals("0.01", "9999999.99", places=2)
lines = st.lists(st.tuples(prices, st.integers(1, 50)), min_size=1, max_size=20)


def order(lines: list[tuple[Decimal, int]]) -> OrderIn:
    items: list[dict[str, Any]] = [
        {"product_id": f"p{n}", "product_name": "x", "quantity": count, "unit_price": price}
        for n, (price, count) in enumerate(lines)
    ]
    return OrderIn.model_validate(
        {"customer_name": "A", "customer_email": "a@example.com", "items": items}
    )


@given(lines)
def test_promise_55_total_is_the_sum_of_the_lines_to_the_cent(
    lines: list[tuple[Decimal, int]],
) -> None:
    """Promise 55: no rounding error, compared in whole cents."""
    cents = sum(int(price * 100) * count for price, count in lines)
    assert int(order(lines).total_amount * 100) == cents


@given(prices)
def test_promise_55_price_survives_a_json_round_trip(price: Decimal) -> None:
    """Promise 55: Decimal to JSON number to float to the same Decimal."""
    adapter = TypeAdapter(OrderItemOut.model_fields["unit_price"].rebuild_annotation())
    assert Decimal(adapter.dump_json(price).decode()) == price


def test_total_above_the_maximum_amount_is_refused() -> None:
    with pytest.raises(ValidationError, match="total"):
        order([(Decimal("9999999999.99"), 1), (Decimal("0.01"), 1)])


def test_pieces_of_one_product_are_summed() -> None:
    request = order([(Decimal(1), 2)])
    twice = request.model_copy(update={"items": request.items * 3})
    assert twice.pieces == {"p0": 6}


@pytest.mark.parametrize(
    "address",
    ["alice@example.com", "a.b+c_d@shop.test", "x@sub.domain.co.uk", "o'neil@example.org"],
)
def test_valid_address_is_accepted(address: str) -> None:
    assert TypeAdapter(Email).validate_python(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@",
        "@example.com",
        "a@b",
        "a b@example.com",
        "a@example.com\n",
        "a@example.com\r\nBcc: b@example.com",
        "a@-example.com",
        "a@example..com",
        "<a@example.com>",
        "a@example.com,b@example.com",
        "é@example.com",
        "a" * 65 + "@example.com",
        "a@" + "b." * 130 + "com",
    ],
)
def test_address_unsafe_in_a_mail_header_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Email).validate_python(address)


def test_only_pending_and_confirmed_orders_can_be_cancelled() -> None:
    cancellable = {status for status in OrderStatus if status.can_be_cancelled}
    assert cancellable == {OrderStatus.PENDING, OrderStatus.CONFIRMED}
