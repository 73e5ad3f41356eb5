"""A catalogue file is split between its rows, and every row keeps its line number."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.tools.catalogue_parts import PART_BYTES, Duplicate, Limit, Part, parts_of

HEADER = "sku,name,price,category\n"


def split(
    tmp_path: Path, content: str | bytes, name: str = "c.csv", rows: int = 500
) -> list[Part | Duplicate]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(parts_of(path, Limit(rows)))


def parts(found: list[Part | Duplicate]) -> list[Part]:
    return [one for one in found if isinstance(one, Part)]


def rows_of(part: Part) -> list[tuple[int, list[str]]]:
    """Read a part as the service does: each row with the line where it begins."""
    reader = csv.reader(io.StringIO(part.content.decode(), newline=""))
    next(reader)
    found, line = [], reader.line_num + 1
    for cells in reader:
        found.append((line, cells))
        line = reader.line_num + 1
    return found


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("rows", [1, 2, 7, 500])
def test_every_csv_row_is_sent_once_with_its_line(tmp_path: Path, end: str, rows: int) -> None:
    names = ['"a\nb ""c"", d\n\n"', "plain", '""', '"\n"', "5 pipe", "\u00e9\U0001f600"]
    lines = [f"L-{number},{names[number % 6]},1,Home\n" for number in range(40)]
    lines.insert(7, "\n\n")
    text = (HEADER + "".join(lines)).replace("\n", end)
    path = tmp_path / "whole.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    with path.open(encoding="utf-8-sig", newline="") as file:
        whole = csv.reader(file)
        next(whole)
        expected, line = {}, whole.line_num + 1
        for cells in whole:
            if cells:
                expected[line] = cells
            line = whole.line_num + 1
    sent: dict[int, list[str]] = {}
    for part in parts(list(parts_of(path, Limit(rows)))):
        assert 1 <= len(part.lines) <= rows
        for line, cells in rows_of(part):
            original = part.lines[line]
            assert original not in sent
            sent[original] = cells
    assert sent == expected


def test_part_is_at_most_one_megabyte(tmp_path: Path) -> None:
    row = "L-{},{},1,Home\n"
    content = HEADER + "".join(row.format(number, "x" * 9_000) for number in range(300))
    found = parts(split(tmp_path, content))
    assert len(found) == 3
    assert all(len(part.content) <= PART_BYTES + len(HEADER) for part in found)


def test_row_of_several_megabytes_is_sent_alone(tmp_path: Path) -> None:
    content = HEADER + "A,a,1,c\n" + 'B,"' + "x\n" * 1_500_000 + '",1,c\nC,c,1,c\n'
    assert [list(part.lines.values()) for part in parts(split(tmp_path, content))] == [
        [2], [3], [1_500_004]
    ]  # fmt: skip


def test_broken_rows_are_sent_as_they_are(tmp_path: Path) -> None:
    broken = b'A,"5" pipe",1,c\nB,Caf\xe9,1,c\nC,"never closed,1,c\nD,d,1,c\n'
    (part,) = parts(split(tmp_path, HEADER.encode() + broken))
    assert part.content == HEADER.encode() + broken
    assert list(part.lines.values()) == [2, 3, 4]


def test_rows_of_a_shopify_product_stay_together(tmp_path: Path) -> None:
    header = "Handle,Title,Variant SKU,Variant Price,Image Src\n"
    rows = [f"h{n // 4},{'' if n % 4 else 'T'},S-{n},1.00,\n" for n in range(40)]
    found = parts(split(tmp_path, header + "".join(rows), rows=6))
    assert [len(part.lines) for part in found] == [8, 8, 8, 8, 8]


def test_parent_of_a_woocommerce_variation_is_sent_with_it(tmp_path: Path) -> None:
    header = "ID,Type,SKU,Name,Regular price,Parent\n"
    rows = "9,variation,v0,T,1,p\n1,variable,p,T,,\n2,simple,s,S,1,\n3,variation,v1,T,1,p\n"
    rows += "4,variation,v2,T,1,id:1\n"
    found = parts(split(tmp_path, header + rows, rows=1))
    assert [[cells[2] for _, cells in rows_of(part)] for part in found] == [
        ["p", "v0"], ["p"], ["s"], ["p", "v1"], ["p", "v2"]
    ]  # fmt: skip
    assert [list(part.lines.values()) for part in found] == [[2], [3], [4], [5], [6]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", HEADER + "A,a,1,c\nB,b,1,c\nA,c,1,c\n"),
        ("c.ndjson", '{"a":1}\n{"SKU":"A"}\n{"sku":"B"}\n{"sku":"A"}\n'),
        ("c.json", '[{"a":1},{"sku":"A"},{"id":5},{"sku":"A"}]'),
    ],
)
def test_second_row_with_the_same_id_is_not_sent(tmp_path: Path, name: str, content: str) -> None:
    found = split(tmp_path, content, name, rows=1)
    (duplicate,) = (one for one in found if isinstance(one, Duplicate))
    assert (duplicate.line, duplicate.column, duplicate.first) == (4, "sku", 2)


def test_json_array_is_sent_as_lines_with_its_numbers_unchanged(tmp_path: Path) -> None:
    content = ' [ {"id": 1,\r\n "price": 12.10, "name": "a\\nb"} ,\n5, [1], "x" ] '
    (part,) = parts(split(tmp_path, content, "c.json"))
    lines = part.content.splitlines()
    assert json.loads(lines[0])["name"] == "a\nb"
    assert b"12.10" in lines[0]
    assert lines[1:] == [b"5", b"[1]", b'"x"']
    assert part.lines == {1: 1, 2: 2, 3: 3, 4: 4}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", b"{}"),
        ("c.json", b""),
        ("c.json", b'[{"a":1}'),
        ("c.json", b'[{"a":1} {"a":2}]'),
        ("c.json", b"[" * 100_000),
        ("c.json", b'["\xff"]'),
        ("c.csv", b""),
        ("c.csv", HEADER.encode() + b'A,"' + b"x" * 9_000_000),
        ("c.xlsx", b"PK"),
    ],
)
def test_file_that_cannot_be_split_is_an_error_in_one_sentence(
    tmp_path: Path, name: str, content: bytes
) -> None:
    with pytest.raises(FleetError) as caught:
        split(tmp_path, content, name)
    assert len(str(caught.value)) < 300
