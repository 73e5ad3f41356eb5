"""Response of a call to another service."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import quote

from chassis.http_client.errors import Reason, UpstreamUnavailable


@dataclass(frozen=True, slots=True)
class Reply:
    """A response with a status below 500, except 429.

    Attributes:
        content: the body, for `Model.model_validate_json`.
        attempts: number of requests made, this one included.
        unanswered_attempts: earlier requests that may have run at the peer although it did not
            confirm it (no response, or 502, 503, 504). While there are any, a refusal does not
            prove that nothing ran.
    """

    target: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    attempts: int = 1
    unanswered_attempts: int = 0

    def json(self) -> Any:
        """Return the parsed body, with fractions as Decimal.

        Raises:
            UpstreamUnavailable: the body is not JSON (BAD_ANSWER).
        """
        try:
            return json.loads(self.content, parse_float=Decimal, parse_constant=_reject_constant)
        except (ValueError, RecursionError, ArithmeticError) as error:
            raise UpstreamUnavailable(
                self.target,
                Reason.BAD_ANSWER,
                status=self.status,
                attempts=self.attempts,
                maybe_executed=True,
            ) from error


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def segment(value: str) -> str:
    """Quote a value as one path segment.

    `.` and `..` are quoted too: unquoted, they would change the path.
    """
    return quote(value, safe="") if value.strip(".") else value.replace(".", "%2E")
