"""Rows of CSV, NDJSON and JSON files."""

import io
import json
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest

from app.catalogue_files.readers import (
    CSV,
    JSON,
    MAX_ROWS,
    NDJSON,
    TooManyRows,
    UnreadableFile,
    reader_of,
)
from app.catalogue_files.rows import RowRefused, SourceRow

HEADER = "sku,name,price,category\n"


def read(media_type: str, content: bytes | str) -> list[SourceRow | RowRefused]:
    file = io.BytesIO(content.encode() if isinstance(content, str) else content)
    reader = reader_of(media_type, file)
    reader.check()
    return list(reader.rows())


def values(rows: list[SourceRow | RowRefused]) -> list[Any]:
    return [row.values if isinstance(row, SourceRow) else row.reason for row in rows]


def lines(rows: list[SourceRow | RowRefused]) -> list[int]:
    return [row.line for row in rows]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_any_line_end_delimiter_and_bom(end: str, bom: str, delimiter: str) -> None:
    text = 'SKU, Name ,price,category\nL-1,"a ""b""\nc",5,Home\n\nL-2,d,6,Home\n'
    rows = read(CSV, bom + text.replace(",", delimiter).replace("\n", end))
    home = {"category": "Home"}
    assert values(rows) == [
        {"sku": "L-1", "name": f'a "b"{end}c', "price": "5"} | home,
        {"sku": "L-2", "name": "d", "price": "6"} | home,
    ]
    assert lines(rows) == [2, 5]


def test_csv_row_with_other_number_of_columns_is_refused() -> None:
    rows = read(CSV, HEADER + "L-1,a,5\nL-2,a,5,Home,x\nL-3,a,5,Home\n")
    assert [type(row) for row in rows] == [RowRefused, RowRefused, SourceRow]
    assert values(rows)[0] == "the row has 3 columns, the header has 4"


def test_csv_quote_without_end_refuses_its_row() -> None:
    rows = read(CSV, HEADER + 'L-1,a,5,Home\nL-2,"a,5,Home\nL-3,a,5,Home\n')
    assert lines(rows) == [2, 3]
    assert values(rows)[1] == "a quoted value begins in this row and has no end"


def test_csv_text_after_quote_refuses_only_its_row() -> None:
    rows = read(CSV, HEADER + 'L-1,"5" pipe",5,Home\nL-2,5" pipe,5,Home\n')
    assert [type(row) for row in rows] == [RowRefused, SourceRow]


def test_csv_field_of_several_megabytes_is_one_value() -> None:
    """With the library's own limit the rest of the field would be read as rows."""
    rows = read(CSV, HEADER + 'L-1,"' + "x\n" * 1_000_000 + '",5,Home\nL-2,a,5,Home\n')
    assert lines(rows) == [2, 1_000_003]


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("sku,name\n", "price, category"),
        ("name,price,category\n", "external_id"),
        ("Name,Type,Regular price\n", "SKU or ID"),
        ("Handle,Variant Price\n", "title"),
        ("a\x00b,c\n", "external_id, name, price, category"),
    ],
)
def test_csv_without_columns_names_them(header: str, missing: str) -> None:
    with pytest.raises(UnreadableFile, match=f"no column for: {missing}"):
        read(CSV, header + "x,x\n")


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        (CSV, b""),
        (CSV, b"\n\n"),
        (CSV, HEADER.encode()),
        (CSV, HEADER.encode("utf-16")),
        (CSV, b'"' * 10_000),
        (CSV, b"," * 10_000 + b"\n1"),
        (NDJSON, b""),
        (NDJSON, b" \n\n"),
        (JSON, b""),
        (JSON, b"[]"),
        (JSON, b"{}"),
        (JSON, b"null"),
        (JSON, b'"text"'),
        (JSON, b"[NaN]"),
        (JSON, b'[{"sku":"\xff"}]'),
        (JSON, b'[{"sku":"a"}'),
        (JSON, b'[{"sku":"a"}] []'),
        (JSON, b"[" * 1_000_000),
        (JSON, b"[" + b"9" * 5_000 + b"]"),
        (JSON, b"9" * 5_000),
        (JSON, b'["' + b"x" * 63_000 + b'",' + b"9" * 5_000 + b"]"),  # in two pieces of the scan
        (JSON, b"\xff\xfe[]"),
    ],
)
def test_unreadable_file_is_refused_as_a_whole(media_type: str, content: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read(media_type, content)


def test_ndjson_line_that_is_no_object_refuses_only_that_line() -> None:
    wrong = [b"{", b"[]", b"5", b'{"a":NaN}', b'{"sku":"\xff"}', b"[" * 100_000, b'{"a":' * 90_000]
    wrong += [b"9" * 5_000, b'{"a":[' + b"1," * 5_000 + b"1]}", b"\x00"]
    rows = read(NDJSON, b"\n".join([b'\xef\xbb\xbf{"sku":"L-1"}', b"", *wrong, b'{"SKU":"L-2"}']))
    assert lines(rows) == [1, *range(3, 4 + len(wrong))]
    assert [row.line for row in rows if isinstance(row, SourceRow)] == [1, 3 + len(wrong)]


def test_json_element_that_is_no_object_refuses_only_that_element() -> None:
    deep = '{"a":' * 50 + "1" + "}" * 50
    many = '{"a":[' + "1," * 2_000 + "1]}"
    elements = ['{"sku":"L-1"}', "5", "null", "[]", deep, many, '{"sku":"L-2","price":12.10}']
    rows = read(JSON, "\ufeff[" + ",".join(elements) + "]")
    assert lines(rows) == [1, 2, 3, 4, 5, 6, 7]
    assert [row.line for row in rows if isinstance(row, SourceRow)] == [1, 7]
    assert values(rows)[-1] == {"sku": "L-2", "price": Decimal("12.10")}


def test_json_element_of_eight_megabytes_takes_little_memory() -> None:
    """The library's own builder would make 2.6 million dictionaries of it."""
    content = b'[{"sku":"L-1"},[' + b"{}," * 2_600_000 + b'1],{"sku":"L-2"}]'
    tracemalloc.start()
    reader = reader_of(JSON, io.BytesIO(content))
    reader.check()
    rows = list(reader.rows())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [type(row) for row in rows] == [SourceRow, RowRefused, SourceRow]
    assert peak < 5_000_000


@pytest.mark.parametrize("media_type", [CSV, NDJSON, JSON])
def test_file_with_too_many_rows_is_refused(media_type: str) -> None:
    row = json.dumps({"sku": "L"})
    contents = {
        CSV: HEADER + "a,b,1,c\n" * (MAX_ROWS + 1),
        NDJSON: f"{row}\n" * (MAX_ROWS + 1),
        JSON: f"[{','.join([row] * (MAX_ROWS + 1))}]",
    }
    with pytest.raises(TooManyRows):
        read(media_type, contents[media_type])
