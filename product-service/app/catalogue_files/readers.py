"""Read the rows of a file: CSV, NDJSON, or a JSON array.

A reader first checks the file as a whole, so that a file that cannot be read imports nothing. Both
passes read the file piece by piece.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO, NoReturn, Protocol

import ijson

from app.catalogue_files.layouts import Layout, MissingColumns, OwnLayout, layout_of
from app.catalogue_files.rows import RowRefused, SourceRow, Values
from chassis.app.body_limits import has_too_many_tokens

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_ROWS = 10_000
CSV, NDJSON, JSON = "text/csv", "application/x-ndjson", "application/json"

_MAX_COLUMNS = 500
_MAX_DEPTH = 4  # of a row of a JSON array
_MAX_EVENTS = 1_000  # of a row of a JSON array
_DELIMITERS = ",;\t"
# Python converts no longer integer, and ijson's C backend ends the process at one. Its Python
# backend is more than ten times slower.
_MAX_DIGITS = 4_300
_DIGITS = re.compile(rb"[0-9]+")
_SCANNED = 65_536  # bytes at a time
_BOM = b"\xef\xbb\xbf"
_NOT_JSON = "is not valid JSON"
_NOT_A_JSON_BODY = "The body is not valid JSON in UTF-8."

# The library's limit of 131,072 characters would make it go on in the middle of a longer field.
# The limit is of the whole process; no other code of this service reads CSV.
csv.field_size_limit(MAX_FILE_BYTES)


class UnreadableFile(ValueError):
    """No row of the file can be read. The text says why."""


class TooManyRows(ValueError):
    """The file has more than MAX_ROWS rows."""


class RowReader(Protocol):
    layout: Layout

    def check(self) -> None:
        """Read the file once.

        Raises:
            UnreadableFile: no row can be read.
            TooManyRows: it has too many.
        """

    def rows(self) -> Iterator[SourceRow | RowRefused]:
        """Read the rows, those that cannot be understood as a refusal."""

    def ignored_columns(self) -> list[str]:
        """Return the columns that were found and mean nothing here."""


def reader_of(media_type: str, file: BinaryIO) -> RowReader:
    """Return the reader of a file that is open for reading."""
    if media_type == CSV:
        return CsvReader(file)
    return NdjsonReader(file) if media_type == NDJSON else JsonReader(file)


class CsvReader:
    """RFC 4180, with a comma, a semicolon or a tab, and any line end. The first row is a header."""

    def __init__(self, file: BinaryIO) -> None:
        # A byte that is not UTF-8 becomes a surrogate, which the validation of its row refuses.
        self._text = io.TextIOWrapper(
            file, encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        self._columns: list[str] = []
        self._delimiter = ","

    def check(self) -> None:
        self._text.seek(0)
        header = self._text.readline()
        self._delimiter = max(_DELIMITERS, key=header.count)
        records = self._records()
        _, first = next(records, (0, None))
        if not isinstance(first, list):
            raise UnreadableFile("The file has no valid header row.")
        if len(first) > _MAX_COLUMNS:
            raise UnreadableFile(f"The header row has more than {_MAX_COLUMNS} columns.")
        self._columns = [column.strip().lower() for column in first]
        try:
            self.layout = layout_of(self._columns)
        except MissingColumns as error:
            raise UnreadableFile(str(error)) from None
        number = 0
        for number, (line, cells) in enumerate(records, start=1):
            if number > MAX_ROWS:
                raise TooManyRows
            if isinstance(cells, list) and len(cells) == len(self._columns):
                self.layout.remember(SourceRow(line, self._values(cells)))
        if not number:
            raise UnreadableFile("The file has no row after the header.")

    def rows(self) -> Iterator[SourceRow | RowRefused]:
        records = self._records()
        next(records)
        width = len(self._columns)
        for line, cells in records:
            if isinstance(cells, csv.Error):
                yield RowRefused(line, None, _csv_reason(cells))
            elif len(cells) != width:
                reason = f"the row has {len(cells)} columns, the header has {width}"
                yield RowRefused(line, None, reason)
            else:
                yield SourceRow(line, self._values(cells))

    def ignored_columns(self) -> list[str]:
        return self.layout.ignored(self._columns)

    def _values(self, cells: list[str]) -> Values:
        # The first of two columns with the same name.
        pairs = zip(reversed(self._columns), reversed(cells), strict=True)
        return {column: cell.strip() for column, cell in pairs}

    def _records(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """Yield each record with the number of its first line. Empty ones are left out."""
        self._text.seek(0)
        reader = csv.reader(self._text, delimiter=self._delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, error
                continue
            if any(cells):
                yield line, cells


def _csv_reason(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quoted value begins in this row and has no end"
    return f"is not valid CSV: {error}"


class _ObjectReader:
    """A file of JSON objects, whose columns are the names that they have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.layout: Layout = OwnLayout()
        self._seen: set[str] = set()

    def ignored_columns(self) -> list[str]:
        return self.layout.ignored(self._seen)


class NdjsonReader(_ObjectReader):
    """A JSON object on each line."""

    def check(self) -> None:
        number = 0
        for number, _ in enumerate(self._lines(), start=1):
            if number > MAX_ROWS:
                raise TooManyRows
        if not number:
            raise UnreadableFile("The file is empty.")

    def rows(self) -> Iterator[SourceRow | RowRefused]:
        for number, line in self._lines():
            yield _row(number, _parsed(line), self._seen)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        self._file.seek(0)
        for number, line in enumerate(self._file, start=1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                yield number, text


class JsonReader(_ObjectReader):
    """An array of objects."""

    def check(self) -> None:
        number = 0
        if _has_too_long_number(self._file):
            raise UnreadableFile(_NOT_A_JSON_BODY)
        try:
            for number, _ in self._elements():
                if number > MAX_ROWS:
                    raise TooManyRows
        except (ijson.JSONError, ArithmeticError, ValueError) as error:
            if isinstance(error, TooManyRows | UnreadableFile):
                raise
            raise UnreadableFile(_NOT_A_JSON_BODY) from None
        if not number:
            raise UnreadableFile("The array is empty.")

    def rows(self) -> Iterator[SourceRow | RowRefused]:
        for number, value in self._elements():
            yield _row(number, value, self._seen)

    def _elements(self) -> Iterator[tuple[int, Any]]:
        """Yield each element with its number. One with too many parts is a refusal's text.

        The library's own `items` would build an element of any depth and size.
        """
        self._file.seek(0)
        if self._file.read(len(_BOM)) != _BOM:
            self._file.seek(0)
        number = depth = events = 0
        builder = ijson.ObjectBuilder()
        for event, value in ijson.basic_parse(self._file):
            starts, ends = event.startswith("start_"), event.startswith("end_")
            depth -= ends
            if number == depth == 0 and not ends and event != "start_array":
                raise UnreadableFile("The body is not a JSON array.")
            if depth == 1 and not ends:
                number += 1
                builder, events = ijson.ObjectBuilder(), 0
            if depth >= 1:
                events += 1 if depth <= _MAX_DEPTH else _MAX_EVENTS
                if events <= _MAX_EVENTS:
                    builder.event(event, value)
                if depth == 1 and not starts:
                    yield number, builder.value if events <= _MAX_EVENTS else _TOO_LARGE
            depth += starts


def _has_too_long_number(file: BinaryIO) -> bool:
    """Return whether a file has a sequence of digits that the parser must not see."""
    file.seek(0)
    end = b""  # the digits with which the part before ends
    while part := file.read(_SCANNED):
        text, end = end + part, b""
        for digits in _DIGITS.finditer(text):
            if digits.end() - digits.start() > _MAX_DIGITS:
                return True
            if digits.end() == len(text):
                end = digits[0]
    return False


class _Unusable(str):
    """The reason why a JSON text is no row."""


_TOO_LARGE = _Unusable("has too many or too deeply nested values")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parsed(line: bytes) -> Any:
    if has_too_many_tokens(line):
        return _TOO_LARGE
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return _Unusable("is not valid UTF-8")
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, ArithmeticError):
        return _Unusable(_NOT_JSON)


def _row(number: int, value: Any, seen: set[str]) -> SourceRow | RowRefused:
    if isinstance(value, _Unusable):
        return RowRefused(number, None, str(value))
    if not isinstance(value, dict):
        return RowRefused(number, None, "is not a JSON object")
    values = {str(name).strip().lower(): one for name, one in value.items()}
    if len(seen) < _MAX_COLUMNS:
        seen.update(values)
    return SourceRow(number, values)
