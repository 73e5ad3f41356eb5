"""Entity tags and preconditions, as RFC 9110 sections 8.8.3 and 13.1 define them."""

import httpx2
import pytest
from fastapi import FastAPI, Response

from chassis.app.conditional_requests import (
    Conditions,
    EntityTags,
    InvalidEntityTag,
    PreconditionFailed,
    Preconditions,
    not_modified,
)
from chassis.problems import install_problem_handlers


def tags(value: str) -> EntityTags:
    return EntityTags.parse("If-Match", value)


@pytest.mark.parametrize(
    ("value", "strong", "weak"),
    [
        ('"7"', {'"7"'}, set()),
        ('W/"7"', set(), {'"7"'}),
        ('"a", "b"', {'"a"', '"b"'}, set()),
        ('"a",W/"b",\t"c"', {'"a"', '"c"'}, {'"b"'}),
        ('"a,b"', {'"a,b"'}, set()),
        ('""', {'""'}, set()),
        (', "a" ,, "b",', {'"a"', '"b"'}, set()),
        ('"\\"', {'"\\"'}, set()),
        ('"\xe9*"', {'"\xe9*"'}, set()),
        ('"*"', {'"*"'}, set()),
    ],
)
def test_parse_list_returns_strong_and_weak_tags(
    value: str, strong: set[str], weak: set[str]
) -> None:
    assert tags(value) == EntityTags(frozenset(strong), frozenset(weak))


@pytest.mark.parametrize("value", ["*", " *\t"])
def test_parse_star_matches_any_state(value: str) -> None:
    assert tags(value).match_strongly('"7"')
    assert tags(value).match_weakly('"7"')


@pytest.mark.parametrize(
    "value",
    [
        "", " ", ",", ", ,", "7", "'7'", '"7', '7"', '"a" "b"', '"a"b', "W/7", 'w/"7"', 'W / "7"',
        '*, "7"', '"7", *', "**", '"a b"', '"\x7f"', '"a\x00"', '"' + "a" * 50_000, "," * 50_000,
    ],
)  # fmt: skip
def test_parse_malformed_value_is_refused(value: str) -> None:
    with pytest.raises(InvalidEntityTag, match=r"^If-Match must be"):
        tags(value)


def test_strong_comparison_ignores_weak_tags() -> None:
    assert not tags('W/"7", "8"').match_strongly('"7"')
    assert tags('W/"7", "8"').match_weakly('"7"')


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "may_write", "may_read", "is_not_modified"),
    [
        (None, None, True, True, False),
        ('"7"', None, True, True, False),
        ('"6", "7"', None, True, True, False),
        ("*", None, True, True, False),
        ('"6"', None, False, False, None),
        ('W/"7"', None, False, False, None),
        (None, '"6"', True, True, False),
        (None, '"7"', False, True, True),
        (None, 'W/"7"', False, True, True),
        (None, "*", False, True, True),
        ('"7"', '"7"', False, True, True),
        ('"6"', '"7"', False, False, None),
    ],
)
def test_preconditions_against_current_tag_7(
    if_match: str | None,
    if_none_match: str | None,
    may_write: bool,
    may_read: bool,
    is_not_modified: bool | None,
) -> None:
    conditions = Preconditions(
        None if if_match is None else tags(if_match),
        None if if_none_match is None else tags(if_none_match),
    )
    if may_write:
        conditions.require('"7"')
    else:
        with pytest.raises(PreconditionFailed):
            conditions.require('"7"')
    if may_read:
        assert conditions.is_not_modified('"7"') is is_not_modified
    else:
        with pytest.raises(PreconditionFailed):
            conditions.is_not_modified('"7"')


async def test_header_on_several_lines_is_one_list() -> None:
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/thing")
    async def read(conditions: Conditions) -> Response:
        if conditions.is_not_modified('"7"'):
            return not_modified('"7"')
        return Response("state", headers={"ETag": '"7"'})

    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:

        async def status(*headers: tuple[str, str]) -> int:
            return (await client.get("/thing", headers=list(headers))).status_code

        assert await status() == 200
        assert await status(("If-None-Match", '"1"'), ("if-none-match", 'W/"7"')) == 304
        assert await status(("If-Match", '"1"'), ("If-Match", '"2"')) == 412
        assert await status(("If-Match", "*"), ("If-Match", '"7"')) == 400
        assert await status(("If-None-Match", "")) == 400
        unchanged = await client.get("/thing", headers={"If-None-Match": '"7"'})
        assert (unchanged.content, unchanged.headers["etag"]) == (b"", '"7"')
        refused = await client.get("/thing", headers={"If-None-Match": "7"})
        assert refused.json()["detail"].startswith("If-None-Match must be")
