"""Mailpit's API, and `/api/v1/faults`, which Mailpit does not have."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from fleet.emulators.mailbox.faults import Fault, Faults
from fleet.emulators.mailbox.search import matcher
from fleet.emulators.mailbox.store import Address, Delivery, Mail, Store

router = APIRouter()

Json = dict[str, Any]
Start = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=0, le=10_000)]


class Selection(BaseModel):
    """The body of a delete request; without ids it selects all mails."""

    IDs: list[str] = []


@router.get("/livez")
@router.get("/readyz")
async def ready() -> PlainTextResponse:
    """Answer Mailpit's health paths."""
    return PlainTextResponse("ok")


@router.get("/api/v1/messages")
async def messages(request: Request, start: Start = 0, limit: Limit = 50) -> Json:
    """Return mails, newest first."""
    return _page(_store(request), _store(request).deliveries(), start, limit)


@router.get("/api/v1/search")
async def search(request: Request, query: str, start: Start = 0, limit: Limit = 50) -> Json:
    """Return mails that match ``to:``, ``from:``, ``subject:`` and words, newest first."""
    return _page(_store(request), _store(request).find(matcher(query)), start, limit)


@router.delete("/api/v1/messages")
async def delete(request: Request, selection: Selection | None = None) -> PlainTextResponse:
    """Delete these mails, or all."""
    _store(request).clear(selection.IDs if selection else None)
    return PlainTextResponse("ok")


@router.get("/api/v1/message/{mail_id}")
async def message(request: Request, mail_id: str) -> Json:
    """Return one mail with text and HTML, and mark it as read."""
    mail = _mail(request, mail_id)
    _store(request).mark_read(mail)
    return {
        **_addressing(mail),
        "ReturnPath": mail.sender.address,
        "Date": mail.date.isoformat(),
        "Tags": [],
        "Text": mail.text,
        "HTML": mail.html,
        "Size": mail.size,
        "Inline": [],
        "Attachments": [],
    }


@router.get("/api/v1/message/{mail_id}/headers")
async def headers(request: Request, mail_id: str) -> dict[str, list[str]]:
    """Return all headers of one mail."""
    return _mail(request, mail_id).headers


@router.get("/api/v1/message/{mail_id}/raw")
async def raw(request: Request, mail_id: str) -> PlainTextResponse:
    """Return the source of one mail."""
    return PlainTextResponse(_mail(request, mail_id).raw)


@router.get("/api/v1/faults")
async def list_faults(request: Request) -> list[Json]:
    """Return the scripted SMTP faults with the number of their uses."""
    return _faults(request).status()


@router.put("/api/v1/faults")
async def set_faults(request: Request, faults: list[Fault]) -> list[Json]:
    """Replace all faults; an empty list clears them."""
    _faults(request).replace(faults)
    return _faults(request).status()


def _faults(request: Request) -> Faults:
    faults = request.app.state.faults
    assert isinstance(faults, Faults)  # noqa: S101 - create_app put it there
    return faults


def _store(request: Request) -> Store:
    store = request.app.state.store
    assert isinstance(store, Store)  # noqa: S101 - create_app put it there
    return store


def _mail(request: Request, mail_id: str) -> Mail:
    mail = _store(request).get(mail_id)
    if mail is None:
        raise HTTPException(404, "message not found")
    return mail


def _page(store: Store, found: list[Delivery], start: int, limit: int) -> Json:
    page = found[start : start + limit]
    return {
        "total": len(store),
        "unread": store.unread,
        "count": len(page),
        "messages_count": len(found),
        "messages_unread": sum(not store.is_read(delivery) for delivery in found),
        "start": start,
        "tags": [],
        "messages": [_summary(store, delivery.mail) for delivery in page],
    }


def _summary(store: Store, mail: Mail) -> Json:
    return {
        **_addressing(mail),
        "Read": store.is_read(mail),
        "Created": mail.received.isoformat(),
        "Tags": [],
        "Size": mail.size,
        "Attachments": 0,
        "Snippet": mail.snippet,
    }


def _addressing(mail: Mail) -> Json:
    return {
        "ID": mail.id,
        "MessageID": mail.message_id,
        "From": _person(mail.sender),
        "To": [_person(person) for person in mail.to],
        "Cc": [_person(person) for person in mail.cc],
        "Bcc": [_person(person) for person in mail.bcc],
        "ReplyTo": [],
        "Subject": mail.subject,
    }


def _person(address: Address) -> Json:
    return {"Name": address.name, "Address": address.address}
