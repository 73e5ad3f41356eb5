"""Split a catalogue file into requests of the product API, between two rows.

A part has at most ``limit.rows`` rows and 1 MiB, except where rows belong together. It is a file of
its own: CSV with the header, or NDJSON.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from fleet.errors import FleetError

PART_ROWS = 500
PART_BYTES = 1024 * 1024
MAX_BYTES = 8 * 1024 * 1024
"""The gateway's limit of a request."""

_ID_COLUMNS = ("external_id", "external id", "sku", "id")
_DELIMITERS = ",;\t"

# As product-service does: beyond the library's limit it would go on in the middle of the value.
csv.field_size_limit(MAX_BYTES)


@dataclass
class Limit:
    """Rows of the parts that are still to be made."""

    rows: int = PART_ROWS


@dataclass
class Part:
    """One request: its rows, and where they are in the file.

    ``lines`` gives the line in the file of a line in the part, for each row.
    """

    content_type: str
    head: bytes = b""
    rows: list[bytes] = field(default_factory=list)
    lines: dict[int, int] = field(default_factory=dict)
    size: int = 0
    height: int = 0  # lines so far

    @property
    def content(self) -> bytes:
        """The body."""
        return b"".join([self.head, *self.rows])

    def add(self, row: bytes, line: int | None, height: int) -> None:
        """Add a row that begins at this line of the file; None for a row that it repeats."""
        if line is not None:
            self.lines[self.height + 1] = line
        self.rows.append(row)
        self.size += len(row)
        self.height += height

    def has_room(self, size: int, limit: Limit) -> bool:
        """Return whether a row of this size can be added."""
        return len(self.lines) < limit.rows and self.size + size <= PART_BYTES


@dataclass(frozen=True)
class Duplicate:
    """A row with the same id as an earlier row. It is not sent."""

    line: int
    column: str
    first: int


def parts_of(path: Path, limit: Limit) -> Iterator[Part | Duplicate]:
    """Yield the parts of a file, by its suffix: .csv, .json, .ndjson or .jsonl."""
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            return _csv_parts(path, limit)
        case ".json":
            return _json_parts(_elements(path), limit)
        case ".ndjson" | ".jsonl":
            return _json_parts(_lines(path), limit)
    raise FleetError(f"{path.name}: the name must end with .csv, .json, .ndjson or .jsonl.")


# -- CSV


@dataclass(frozen=True)
class _Record:
    line: int
    height: int
    raw: bytes
    cells: Sequence[str]


class _Table:
    """A CSV file with its header."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._delimiter = ","
        with self._open() as file:
            first = file.readline()
        self._delimiter = max(_DELIMITERS, key=first.count)
        header = next(self._records(), None)
        if header is None:
            raise FleetError(f"{path.name} is empty.")
        self._header = header
        self.columns = [cell.strip().lower() for cell in self._header.cells]

    @property
    def is_shopify(self) -> bool:
        return "variant price" in self.columns or "url handle" in self.columns

    @property
    def is_woocommerce(self) -> bool:
        return "regular price" in self.columns

    def part(self) -> Part:
        """Return an empty part with the header."""
        return Part("text/csv", _ended(self._header.raw), height=self._header.height)

    def cell(self, record: _Record, *columns: str) -> str:
        """Return the first of these cells that is not empty."""
        for column in columns:
            if column in self.columns:
                place = self.columns.index(column)
                if place < len(record.cells) and record.cells[place].strip():
                    return record.cells[place].strip()
        return ""

    def records(self) -> Iterator[_Record]:
        """Yield the rows after the header, with their bytes."""
        records = self._records()
        next(records)
        return records

    def _records(self) -> Iterator[_Record]:
        taken: list[str] = []

        def lines() -> Iterator[str]:
            for text in file:
                taken.append(text)
                yield text

        with self._open() as file:
            reader = csv.reader(lines(), delimiter=self._delimiter, strict=True)
            while True:
                line = reader.line_num + 1
                taken.clear()
                try:
                    cells: Sequence[str] = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:  # the service reports the row
                    if "field limit" in str(error):
                        raise FleetError(
                            f"{self._path.name}, line {line}: a value is larger than 8 MiB."
                        ) from error
                    cells = ()
                raw = "".join(taken).encode("utf-8", "surrogateescape")
                if len(raw) > MAX_BYTES - PART_BYTES:
                    raise FleetError(f"{self._path.name}, line {line}: the row is too large.")
                if raw.strip():
                    yield _Record(line, len(taken), raw, cells)

    def _open(self) -> TextIO:
        return self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _csv_parts(path: Path, limit: Limit) -> Iterator[Part | Duplicate]:
    table = _Table(path)
    parents = _parents(table) if table.is_woocommerce else {}
    seen: dict[str, int] = {}
    part, repeated, handle = table.part(), set[str](), ""
    for record in table.records():
        if not table.is_shopify:  # whose first row of a product the others need
            key = table.cell(record, *_ID_COLUMNS)
            first = seen.setdefault(key, record.line) if key else record.line
            if first != record.line:
                yield Duplicate(record.line, _id_column(table), first)
                continue
        # Rows of one Shopify product stay together.
        same = table.is_shopify and table.cell(record, "handle", "url handle") == handle != ""
        if part.lines and not same and not part.has_room(len(record.raw), limit):
            yield part
            part, repeated = table.part(), set()
        handle = table.cell(record, "handle", "url handle")
        parent = table.cell(record, "parent")
        if parent in parents and parent not in repeated:
            repeated.add(parent)
            found = parents[parent]
            part.add(_ended(found.raw), None, found.height)
        part.add(_ended(record.raw), record.line, record.height)
    if part.lines:
        yield part


def _parents(table: _Table) -> dict[str, _Record]:
    """Return WooCommerce's variable products, which its variations in any part refer to."""
    found: dict[str, _Record] = {}
    for record in table.records():
        if "variable" in table.cell(record, "type").lower().split(", "):
            for key in (table.cell(record, "sku"), f"id:{table.cell(record, 'id')}"):
                found[key] = record
    found.pop("", None)
    return found


def _id_column(table: _Table) -> str:
    return next(column for column in _ID_COLUMNS if column in table.columns)


def _ended(raw: bytes) -> bytes:
    return raw if raw.endswith((b"\n", b"\r")) else raw + b"\n"


# -- JSON


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.strip()


def _elements(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of an array, each as one line. The numbers in them stay as written."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FleetError(f"{path.name} is not UTF-8: byte {error.start}.") from error
    decoder, number = json.JSONDecoder(), 0
    place = _skip(text, 0)
    if text[place : place + 1] != "[":
        raise FleetError(f"{path.name} is not a JSON array.")
    place = _skip(text, place + 1)
    try:
        while text[place : place + 1] != "]":
            number += 1
            _, end = decoder.raw_decode(text, place)
            # A line break is never part of a JSON string.
            yield number, text[place:end].replace("\n", " ").replace("\r", " ").encode()
            place = _skip(text, end)
            if text[place : place + 1] == ",":
                place = _skip(text, place + 1)
            elif text[place : place + 1] != "]":
                raise ValueError("no comma after an element")
    except (ValueError, RecursionError) as error:
        raise FleetError(f"{path.name} is not valid JSON in element {number}: {error}") from error


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _json_parts(rows: Iterator[tuple[int, bytes]], limit: Limit) -> Iterator[Part | Duplicate]:
    seen: dict[str, int] = {}
    part = Part("application/x-ndjson")
    for number, row in rows:
        column, key = _json_id(row)
        first = seen.setdefault(key, number) if key else number
        if first != number:
            yield Duplicate(number, column, first)
            continue
        if len(row) > MAX_BYTES - PART_BYTES:
            raise FleetError(f"Row {number} is too large.")
        if part.lines and not part.has_room(len(row), limit):
            yield part
            part = Part("application/x-ndjson")
        part.add(row + b"\n", number, 1)
    if part.lines:
        yield part


def _json_id(row: bytes) -> tuple[str, str]:
    """Return the name and the value of a row's id; empty texts if there is none."""
    try:
        value = json.loads(row)
    except (ValueError, RecursionError):
        return "", ""
    found = {str(name).lower(): one for name, one in value.items()} if type(value) is dict else {}
    for column in _ID_COLUMNS:
        if found.get(column):
            return column, str(found[column])
    return "", ""
