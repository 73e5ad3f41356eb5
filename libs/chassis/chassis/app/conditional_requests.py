"""Conditional requests: entity tags, If-Match and If-None-Match (RFC 9110, section 13).

A resource's entity tag changes with each of its states. A client that sends back the tag it has
read overwrites only the state it has seen, so two editors cannot lose each other's update.
"""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from chassis.problems import Problem

# entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE (section 8.8.3), up to the next comma of the list.
# RFC 9110 section 5.6.1 requires a recipient to accept empty list elements.
_ELEMENT = re.compile(r'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|$)')


class InvalidEntityTag(Problem):
    status = 400
    type = "/problems/invalid-entity-tag"
    title = "Invalid entity tag"
    example = 'If-Match must be * or a list of entity tags in double quotes, such as "7".'

    def __init__(self, header: str) -> None:
        super().__init__(self.example.replace("If-Match", header))


class PreconditionFailed(Problem):
    status = 412
    type = "/problems/precondition-failed"
    title = "Precondition failed"
    example = "The resource has changed since this entity tag was issued; read it again."

    def __init__(self) -> None:
        super().__init__(self.example)


@dataclass(frozen=True, slots=True)
class EntityTags:
    """The value of If-Match or If-None-Match; tags are kept with their quotes.

    Attributes:
        any: the value was `*`.
    """

    strong: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()
    any: bool = False

    @classmethod
    def parse(cls, header: str, value: str) -> "EntityTags":
        """Parse one header's value.

        Raises:
            InvalidEntityTag: the value is neither `*` nor a list with at least one entity tag.
        """
        if value.strip(" \t") == "*":
            return cls(any=True)
        tags: dict[bool, set[str]] = {True: set(), False: set()}
        position = 0
        while position < len(value):
            element = _ELEMENT.match(value, position)
            if element is None:
                raise InvalidEntityTag(header)
            weak, opaque = element.groups()
            if opaque is not None:
                tags[weak is None].add(f'"{opaque}"')
            position = element.end()
        if not tags[True] and not tags[False]:
            raise InvalidEntityTag(header)
        return cls(frozenset(tags[True]), frozenset(tags[False]))

    def match_strongly(self, entity_tag: str) -> bool:
        """Compare for If-Match: a weak tag never matches (section 8.8.3.2)."""
        return self.any or entity_tag in self.strong

    def match_weakly(self, entity_tag: str) -> bool:
        """Compare for If-None-Match: a weak tag matches the strong one with the same text."""
        return self.any or entity_tag in self.strong or entity_tag in self.weak


@dataclass(frozen=True, slots=True)
class Preconditions:
    """If-Match and If-None-Match of one request; None for a header that was not sent."""

    if_match: EntityTags | None = None
    if_none_match: EntityTags | None = None

    def require(self, entity_tag: str) -> None:
        """Check the preconditions of a write against the current state, before it is changed.

        The caller makes the check and the write atomic: it holds the row's lock, or replaces only
        the state that it has checked.

        Raises:
            PreconditionFailed: one of them does not hold; the write must not happen.
        """
        if self.if_match is not None and not self.if_match.match_strongly(entity_tag):
            raise PreconditionFailed
        if self.if_none_match is not None and self.if_none_match.match_weakly(entity_tag):
            raise PreconditionFailed

    def is_not_modified(self, entity_tag: str) -> bool:
        """Return True if a read is answered with 304: the client has the current state.

        Raises:
            PreconditionFailed: If-Match was sent and does not hold.
        """
        if self.if_match is not None and not self.if_match.match_strongly(entity_tag):
            raise PreconditionFailed
        return self.if_none_match is not None and self.if_none_match.match_weakly(entity_tag)


NO_PRECONDITIONS = Preconditions()


async def _preconditions(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="Entity tags of the states that the caller has seen, or `*`; 412 if the "
            "current one is not among them.",
            examples=['"7"'],
        ),
    ] = None,
    if_none_match: Annotated[
        str | None,
        Header(
            alias="If-None-Match",
            description="Entity tags, or `*`. If the current one is among them, the response is "
            "304 to a GET and 412 to any other method.",
            examples=['"7"'],
        ),
    ] = None,
) -> Preconditions:
    return Preconditions(_tags_of(request, "If-Match"), _tags_of(request, "If-None-Match"))


def _tags_of(request: Request, header: str) -> EntityTags | None:
    # A list may be spread over several header lines (section 5.3).
    values = request.headers.getlist(header)
    return EntityTags.parse(header, ", ".join(values)) if values else None


# An async dependency, though it awaits nothing: FastAPI runs a plain one in a thread.
Conditions = Annotated[Preconditions, Depends(_preconditions)]
"""The request's preconditions; a malformed one is a 400."""

ETAG_HEADER = {
    "ETag": {
        "description": "strong entity tag of this state, for If-Match and If-None-Match",
        "schema": {"type": "string", "examples": ['"7"']},
    }
}
WITH_ETAG = {"headers": ETAG_HEADER}
"""An entry of a route's `responses`, for the status that carries an ETag."""

NOT_MODIFIED = {"description": "The client has the current state", **WITH_ETAG}
"""The entry of a route's `responses` for 304."""


def not_modified(entity_tag: str) -> Response:
    """Return the response without content that tells a client that its copy is current."""
    return Response(status_code=304, headers={"ETag": entity_tag})
