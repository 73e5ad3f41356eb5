"""SQL with named parameters."""

import re
from collections.abc import Mapping
from typing import Any

_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")  # `:name`, but not the cast `::name`


class Statement:
    """An SQL statement with parameters such as `:email`, which asyncpg wants as `$1`.

    A parameter more changes the number of no other one.
    """

    def __init__(self, text: str) -> None:
        self._names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        self.text = _PARAMETER.sub(lambda match: f"${self._names.index(match[1]) + 1}", text)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of the numbers; KeyError for one that is missing."""
        return [values[name] for name in self._names]
