"""Compatibility rules of schemas: accepted and breaking changes, for requests and responses."""

from __future__ import annotations

from typing import Any

import pytest

from checks.compatibility.schemas import Direction, Placed, breaks

TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
FINE, BREAKS = False, True


def _object(required: str = "", **members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": required.split()}


def _minded(old: Any, new: Any, direction: Direction) -> list[str]:
    return breaks(Placed(old, {}), Placed(new, {}), direction)


# change, before, after, breaks callers (as a request), breaks readers (as a response)
RULES: list[tuple[str, Any, Any, bool, bool]] = [
    ("nothing", _object("a", a=TEXT), _object("a", a=TEXT), FINE, FINE),
    ("a new optional member", _object(), _object(a=TEXT), FINE, FINE),
    ("a new required member", _object(), _object("a", a=TEXT), BREAKS, FINE),
    ("a member is gone", _object("a", a=TEXT), _object(), BREAKS, BREAKS),
    ("an optional member is gone", _object(a=TEXT), _object(), BREAKS, BREAKS),
    ("now required", _object(a=TEXT), _object("a", a=TEXT), BREAKS, FINE),
    ("no longer required", _object("a", a=TEXT), _object(a=TEXT), FINE, BREAKS),
    ("another type", TEXT, WHOLE, BREAKS, BREAKS),
    ("a wider type", WHOLE, NUMBER, FINE, BREAKS),
    ("a narrower type", NUMBER, WHOLE, BREAKS, FINE),
    ("null too", TEXT, {"type": ["string", "null"]}, FINE, BREAKS),
    ("null no more", {"anyOf": [TEXT, {"type": "null"}]}, TEXT, BREAKS, FINE),
    ("anything at all", TEXT, {}, FINE, BREAKS),
    ("no longer anything", True, TEXT, BREAKS, FINE),
    ("one value more", {"enum": ["A"]}, {"enum": ["A", "B"]}, FINE, BREAKS),
    ("one value less", {"enum": ["A", "B"]}, {"enum": ["A"]}, BREAKS, FINE),
    ("no list of values any more", {"enum": ["A"]}, TEXT, FINE, BREAKS),
    ("a list of values", TEXT, {"type": "string", "enum": ["A"]}, BREAKS, FINE),
    ("a constant changed", {"const": 1}, {"const": 2}, BREAKS, BREAKS),
    ("true is not 1", {"const": 1}, {"const": True}, BREAKS, BREAKS),
    ("a constant among values", {"const": "A"}, {"enum": ["A", "B"]}, FINE, BREAKS),
    ("longer", {**TEXT, "maxLength": 5}, {**TEXT, "maxLength": 9}, FINE, BREAKS),
    ("shorter", {**TEXT, "maxLength": 9}, {**TEXT, "maxLength": 5}, BREAKS, FINE),
    ("no longest", {**TEXT, "maxLength": 9}, TEXT, FINE, BREAKS),
    ("empty allowed", {**TEXT, "minLength": 1}, TEXT, FINE, BREAKS),
    ("empty refused", TEXT, {**TEXT, "minLength": 1}, BREAKS, FINE),
    ("more items", {"type": "array", "maxItems": 5}, {"type": "array"}, FINE, BREAKS),
    ("lower minimum", {**WHOLE, "minimum": 1}, {**WHOLE, "minimum": 0}, FINE, BREAKS),
    ("higher minimum", {**WHOLE, "minimum": 0}, {**WHOLE, "minimum": 1}, BREAKS, FINE),
    ("equivalent bounds", {**WHOLE, "minimum": 1}, {**WHOLE, "exclusiveMinimum": 0}, FINE, FINE),
    (
        "without the bound",
        {**NUMBER, "minimum": 1},
        {**NUMBER, "exclusiveMinimum": 1},
        BREAKS,
        FINE,
    ),
    ("higher maximum", {**WHOLE, "maximum": 5}, {**WHOLE, "maximum": 6}, FINE, BREAKS),
    ("lower maximum", {**WHOLE, "maximum": 6}, {**WHOLE, "maximum": 5}, BREAKS, FINE),
    ("pydantic's word", {**NUMBER, "le": "5.5"}, {**NUMBER, "le": "6"}, FINE, BREAKS),
    ("more places", {**NUMBER, "decimal_places": 2}, {**NUMBER, "decimal_places": 3}, FINE, BREAKS),
    ("another pattern", {**TEXT, "pattern": "a"}, {**TEXT, "pattern": "b"}, BREAKS, BREAKS),
    ("a format", TEXT, {**TEXT, "format": "uuid"}, BREAKS, FINE),
    ("no format any more", {**TEXT, "format": "uuid"}, TEXT, FINE, BREAKS),
    ("in steps", NUMBER, {**NUMBER, "multipleOf": 5}, BREAKS, FINE),
    ("all different", {"type": "array"}, {"type": "array", "uniqueItems": True}, BREAKS, FINE),
    (
        "items of another type",
        {"type": "array", "items": TEXT},
        {"type": "array", "items": WHOLE},
        BREAKS,
        BREAKS,
    ),
    (
        "unknown members are refused now",
        _object(),
        {**_object(), "additionalProperties": False},
        BREAKS,
        FINE,
    ),
    (
        "unknown members are taken now",
        {**_object(), "additionalProperties": False},
        _object(),
        FINE,
        FINE,
    ),
    (
        "a map of something else",
        {**_object(), "additionalProperties": TEXT},
        {**_object(), "additionalProperties": WHOLE},
        BREAKS,
        BREAKS,
    ),
    ("one form more", {"oneOf": [TEXT]}, {"oneOf": [TEXT, WHOLE]}, FINE, BREAKS),
    ("one form less", {"anyOf": [TEXT, WHOLE]}, {"anyOf": [TEXT]}, BREAKS, FINE),
    (
        "a part of a whole",
        {"allOf": [_object("a", a=TEXT), _object(b=TEXT)]},
        {"allOf": [_object("a", a=TEXT)]},
        BREAKS,
        BREAKS,
    ),
    ("a keyword without a rule", {"not": TEXT}, {"not": WHOLE}, BREAKS, BREAKS),
    ("prose", {**TEXT, "title": "A", "examples": ["a"]}, {**TEXT, "title": "B"}, FINE, FINE),
]


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(
    ("old", "new", "request_", "answer"),
    [rule[1:] for rule in RULES],
    ids=[rule[0].replace(" ", "-") for rule in RULES],
)
def test_compatibility_rule(
    old: Any, new: Any, request_: bool, answer: bool, direction: Direction
) -> None:
    expected = request_ if direction is Direction.REQUEST else answer
    for inside in (
        lambda schema: schema,
        lambda schema: _object("x", x={"type": "array", "items": schema}),
        lambda schema: {"anyOf": [schema, {"const": "or so"}]},
    ):
        found = _minded(inside(old), inside(new), direction)
        assert bool(found) is expected, found


def test_incompatibility_names_position_and_change() -> None:
    order = _object("items", items={"type": "array", "items": _object("price", price=NUMBER)})
    later = _object("items", items={"type": "array", "items": _object("price", price=TEXT)})
    assert _minded(order, later, Direction.ANSWER) == [
        "`items[].price`: string is sent, number is read"
    ]


def _tree(leaf: Any) -> dict[str, Any]:
    """Return a schema that contains itself."""
    node = _object("value", value=leaf, next={"anyOf": [{"$ref": "#/Node"}, {"type": "null"}]})
    return {"Node": node}


@pytest.mark.parametrize(("leaf", "expected"), [(TEXT, FINE), (WHOLE, BREAKS)])
def test_recursive_references_terminate(leaf: Any, expected: bool) -> None:
    old, new = _tree(TEXT), _tree(leaf)
    reference = {"$ref": "#/Node"}
    found = breaks(Placed(reference, old), Placed(reference, new), Direction.ANSWER)
    assert bool(found) is expected, found
