"""Sanitise HTML for mails."""

from collections.abc import Sequence

import nh3

_TAGS = {"p", "br", "b", "strong", "i", "em", "ul", "ol", "li", "a"}


class Sanitiser:
    """Keep basic formatting, and links with an allowed prefix.

    Args:
        link_prefixes: such as `https://shop.example.com/`; without any, all links are removed.
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
        """Return the HTML without disallowed tags, attributes and links."""
        return self._cleaner.clean(html)

    def _attribute(self, tag: str, name: str, value: str) -> str | None:
        return value if self._prefixes and value.startswith(self._prefixes) else None
