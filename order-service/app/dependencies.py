"""Dependencies of the routes, each as an annotated type.

All are async, because FastAPI runs a plain function in a thread, which costs more than these do.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Query, Request

from app.authorization import Caller
from app.config import Settings
from app.errors import IdentityProviderUnavailable, MalformedId, Unauthenticated
from app.models.order import OrderStatus
from app.repositories.order_repository import Place
from app.services.order_service import OrderService
from chassis.app.pagination import InvalidCursor, PageLimit, decode_cursor
from chassis.email_address import comparable_address
from chassis.security.token_verifier import (
    InvalidToken,
    TokenVerifier,
    UnverifiableToken,
    bearer_token,
)

log = logging.getLogger(__name__)


async def _caller(request: Request) -> Caller:
    settings: Settings = request.app.state.settings
    verifier: TokenVerifier = request.app.state.verifier
    try:
        token = bearer_token(request.headers.getlist("authorization"))
        if token is not None:
            return Caller(await verifier.verify(token))
    except UnverifiableToken:
        raise IdentityProviderUnavailable(
            IdentityProviderUnavailable.example, retry_after=3
        ) from None
    except InvalidToken as error:
        log.info("token refused", extra={"reason": error.reason})
        raise Unauthenticated(error.detail) from error
    if settings.auth_required:
        raise Unauthenticated(Unauthenticated.example)
    return Caller()


CurrentCaller = Annotated[Caller, Depends(_caller)]


async def _order_id(
    order_id: Annotated[
        str, Path(description="a UUID", examples=["7c9e6679-7425-40de-944b-e07fc1f90ae7"])
    ],
) -> UUID:
    try:
        return UUID(order_id)
    except ValueError:
        raise MalformedId(MalformedId.example) from None


OrderId = Annotated[UUID, Depends(_order_id)]


async def _customer_email(
    email: Annotated[str, Path(description="e-mail address", examples=["alice@example.com"])],
) -> str:
    try:
        return comparable_address(email)
    except ValueError:
        raise MalformedId("This is not an e-mail address.") from None


CustomerEmail = Annotated[str, Depends(_customer_email)]
"""Normalised for comparison, like the address in a token."""


@dataclass(frozen=True, slots=True)
class Page:
    """Parameters of one page of a list."""

    limit: int
    after: Place | None
    status: OrderStatus | None


async def _page(
    limit: PageLimit = 50,
    cursor: Annotated[
        str | None, Query(description="from the Link header of the page before")
    ] = None,
    status: OrderStatus | None = None,
) -> Page:
    return Page(limit, _place(cursor) if cursor is not None else None, status)


def _place(cursor: str) -> Place:
    created_at, order_id = decode_cursor(cursor, 2)
    try:
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None:
            raise ValueError
        return Place(moment, UUID(order_id))
    except ValueError:
        raise InvalidCursor(InvalidCursor.example) from None


PageQuery = Annotated[Page, Depends(_page)]


async def _order_service(request: Request) -> OrderService:
    orders: OrderService = request.app.state.orders
    return orders


Orders = Annotated[OrderService, Depends(_order_service)]
