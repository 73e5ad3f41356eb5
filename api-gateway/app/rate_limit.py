"""How often a caller may ask: `60/minute`, `1000 per hour`, `100/5 minutes`."""

import re
from dataclasses import dataclass
from typing import Self

_LIMIT = re.compile(r"(\d{1,12})\s*(?:/|per)\s*(\d{1,6})?\s*(second|minute|hour|day)s?", re.ASCII)
_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many requests in a window of so many seconds.

    In the words of the `limits` library, which is not imported for it: with all the stores that it
    knows it takes 19 MB, and only several gateways need one of them.
    """

    amount: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """A limit from its words; raises ValueError."""
        found = _LIMIT.fullmatch(text.strip().lower())
        if found is None or not int(found[1]) or found[2] == "0":
            raise ValueError(f"{text!r} is no limit such as 60/minute")
        return cls(int(found[1]), int(found[2] or 1) * _SECONDS[found[3]])
