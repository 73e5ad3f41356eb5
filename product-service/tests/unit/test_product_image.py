"""Generated product images."""

from xml.etree import ElementTree  # parses only images of this service

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.product_image import draw_product, is_image_name

SLUGS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=80)


@given(SLUGS)
def test_image_is_well_formed_and_deterministic(slug: str) -> None:
    picture = draw_product(slug)
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314
    assert picture == draw_product(slug)
    assert len(picture) < 8_000


def test_image_shows_name_and_initials() -> None:
    picture = draw_product("walnut-desk-lamp")
    assert ">Walnut desk lamp</text>" in picture
    assert ">WD</text>" in picture


def test_long_name_is_wrapped_and_truncated() -> None:
    picture = draw_product("a-very-long-name-of-a-thing-that-nobody-would-like-to-read-twice")
    assert picture.count('<text x="300"') == 3
    assert "…" in draw_product("x" * 80)


def test_different_names_give_different_images() -> None:
    assert len({draw_product(f"thing-{number}") for number in range(100)}) == 100


@pytest.mark.parametrize("slug", ["", "A", "a_b", "a.b", "é", "x" * 81, "a/b", "a\n", "<svg>"])
def test_image_name_allows_only_lower_case_digits_and_hyphens(slug: str) -> None:
    assert not is_image_name(slug)
