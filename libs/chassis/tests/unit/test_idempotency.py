"""Equality of two requests with one Idempotency-Key, within and across releases."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from chassis.app.idempotency import is_same_request, request_text
from chassis.field_types import PositiveMoney


class Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    product: str
    price: PositiveMoney


class Order(BaseModel):
    """A request of the previous release."""

    model_config = ConfigDict(extra="forbid")

    name: str
    lines: list[Line]


class LineWithNote(Line):
    note: str | None = None


class OrderWithNote(Order):
    """The same request after optional fields were added on both levels."""

    lines: list[LineWithNote]  # type: ignore[assignment]
    gift: bool = False
    note: str | None = None


SENT: dict[str, Any] = {"name": "José", "lines": [{"product": "p", "price": Decimal("10.50")}]}


def test_request_stored_before_new_fields_is_the_same_request() -> None:
    old = Order.model_validate(SENT)
    new = OrderWithNote.model_validate(SENT)
    assert is_same_request(old.model_dump_json(), new)
    assert is_same_request(request_text(old), new)


def test_newer_release_stores_the_same_text_as_the_older() -> None:
    """Releases before this module compare the stored text itself."""
    assert (
        request_text(OrderWithNote.model_validate(SENT))
        == Order.model_validate(SENT).model_dump_json()
    )


@pytest.mark.parametrize("more", [{"note": None}, {"gift": False}, {"note": None, "gift": False}])
def test_explicit_null_or_default_is_the_same_as_an_absent_field(more: dict[str, Any]) -> None:
    absent, explicit = (OrderWithNote.model_validate(one) for one in (SENT, {**SENT, **more}))
    assert is_same_request(request_text(absent), explicit)
    assert is_same_request(request_text(explicit), absent)
    assert is_same_request(explicit.model_dump_json(), absent)


@pytest.mark.parametrize(
    "stored",
    [
        '{"lines": [{"price": 10.5, "product": "p"}], "name": "José"}',  # order, white space
        '{"name":"José","lines":[{"product":"p","price":10.50}]}',  # equal number
        '{"name":"Jose\\u0301","lines":[{"product":"p","price":10.5}]}',  # escaped, decomposed
    ],
)
def test_equivalent_json_is_the_same_request(stored: str) -> None:
    assert is_same_request(stored, Order.model_validate(SENT))


@pytest.mark.parametrize(
    "stored",
    [
        '{"name":"Jose","lines":[{"product":"p","price":10.5}]}',
        '{"name":"José","lines":[{"product":"p","price":10.51}]}',
        '{"name":"José","lines":[{"product":"p","price":10.5},{"product":"p","price":10.5}]}',
        '{"name":"José","lines":[{"product":"p","price":10.5,"note":"x"}]}',
        '{"name":"José","lines":[{"product":"p","price":10.5}],"gift":true}',
        '{"name":"José","lines":[{"product":"p","price":10.5}],"from_a_newer_release":1}',
    ],
)
def test_different_value_is_a_different_request(stored: str) -> None:
    assert not is_same_request(stored, OrderWithNote.model_validate(SENT))
