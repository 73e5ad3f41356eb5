"""HTML that may go into a mail."""

from collections.abc import Sequence

import nh3

_TAGS = {"p", "br", "b", "strong", "i", "em", "ul", "ol", "li", "a"}


class Sanitiser:
    """Plain formatting, and links whose address begins with an allowed prefix; nothing else.

    Args:
        link_prefixes: such as `https://shop.example.com/`; with none there is no link.
    """

    def __init__(self, link_prefixes: Sequence[str] = ()) -> None:
        self._prefixes = tuple(link_prefixes)
        self._cleaner = nh3.Cleaner(
            tags=_TAGS,
            attributes={"a": {"href"}},
            attribute_filter=self._attribute,
            url_schemes={"https"},
            clean_content_tags={"script", "style"},
        )

    def clean(self, html: str) -> str:
        """The harmless part of it."""
        return self._cleaner.clean(html)

    def _attribute(self, tag: str, name: str, value: str) -> str | None:
        return value if self._prefixes and value.startswith(self._prefixes) else None
