"""Import and export of catalogue files."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, cast

from bson import ObjectId
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json

from app.catalogue_files.readers import (
    MAX_ROWS,
    RowReader,
    TooManyRows,
    UnreadableFile,
    reader_of,
)
from app.catalogue_files.rows import (
    SHOWN_STOCK,
    ImportedProduct,
    RowRefused,
    SourceRow,
    bounded,
    validated,
)
from app.errors import CatalogueUnavailable, FileTooLarge
from app.models.product import Product, now
from app.repositories.product_repository import ProductRepository
from app.schemas.catalogue_import import Outcome
from app.search.index import SearchIndex

MAX_REFUSALS = 1_000
MAX_IGNORED_COLUMNS = 50

_IN_MEMORY = 64 * 1024  # bytes of a file; the rest is in a temporary file
_BATCH = 50  # products in one write. The embedded server stores about 100 in a second.
_STEP = 20  # rows between two chances for other tasks
_WRITE_ATTEMPTS = 20
_PAGE = 500  # products of an export read at a time
_CONTENDED = "Too many concurrent changes of these products; try again."


@dataclass(frozen=True, slots=True)
class ImportedRow:
    line: int
    product_id: str
    name: str
    outcome: Outcome
    stock_quantity: int | None


@dataclass(frozen=True, slots=True)
class RefusedRow:
    line: int
    field: str | None
    reason: str


@dataclass(slots=True)
class ImportReport:
    """The fate of each row."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    skipped: int = 0
    rows: list[ImportedRow] = field(default_factory=list)
    refusals: list[RefusedRow] = field(default_factory=list)
    ignored_columns: list[str] = field(default_factory=list)

    def refuse(self, row: RowRefused) -> None:
        self.refused += 1
        if len(self.refusals) < MAX_REFUSALS:
            self.refusals.append(RefusedRow(row.line, row.field, row.reason))

    def accept(self, row: ImportedProduct, product: Product, outcome: Outcome) -> None:
        self.rows.append(ImportedRow(row.line, str(product.id), product.name, outcome, row.stock))
        match outcome:
            case "created":
                self.created += 1
            case "changed":
                self.changed += 1
            case "unchanged":
                self.unchanged += 1


class ImportService:
    """Creates and changes products by the rows of a file.

    A product is found by its external id, so a repeated import changes nothing, also after one that
    was interrupted. The unique index of external ids decides between concurrent imports.

    Args:
        currency: ISO 4217 code of all prices.
        require_indexes: raises until the unique index exists.
    """

    def __init__(
        self,
        repository: ProductRepository,
        index: SearchIndex,
        currency: str,
        require_indexes: Callable[[], Awaitable[None]],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._repository = repository
        self._index = index
        self._currency = currency
        self._require_indexes = require_indexes
        self._now = clock
        self._one_at_a_time = asyncio.Lock()  # bounds the memory of parsed files

    async def run(self, media_type: str, body: AsyncIterator[bytes]) -> ImportReport:
        """Import a file. Each row is stored as a whole or reported as refused.

        The whole body is received before its first row is imported, so that a body that is too
        large or breaks off changes nothing.

        Raises:
            RequestValidationError: the file cannot be read; nothing was imported.
            FileTooLarge: it has too many rows; nothing was imported.
            CatalogueUnavailable: some rows may have been imported. A repetition imports the rest.
        """
        await self._require_unique_ids()
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
            async for part in body:
                spool.write(part)
            async with self._one_at_a_time:
                reader = reader_of(media_type, cast(BinaryIO, spool))
                await _check(reader)
                return await self._import(reader)

    async def _require_unique_ids(self) -> None:
        try:
            await self._require_indexes()
        except RuntimeError:
            message = "The database's indexes are not created yet; try again shortly."
            raise CatalogueUnavailable(message, retry_after=2) from None

    async def _import(self, reader: RowReader) -> ImportReport:
        report = ImportReport()
        lines: dict[str, int] = {}
        batch: list[ImportedProduct] = []
        for number, row in enumerate(reader.rows(), start=1):
            try:
                product = self._product(reader, row)
                if product is None:
                    report.skipped += 1
                else:
                    _require_first(product, lines)
                    batch.append(product)
            except RowRefused as refusal:
                report.refuse(refusal)
            if len(batch) == _BATCH:
                await self._store(batch, report)
                batch = []
            if number % _STEP == 0:
                await asyncio.sleep(0)
        await self._store(batch, report)
        report.rows.sort(key=lambda row: row.line)
        ignored = reader.ignored_columns()[:MAX_IGNORED_COLUMNS]
        report.ignored_columns = [bounded(column, 100) for column in ignored]
        return report

    def _product(self, reader: RowReader, row: SourceRow | RowRefused) -> ImportedProduct | None:
        if isinstance(row, RowRefused):
            raise row
        candidate = reader.layout.candidate(row)
        return None if candidate is None else validated(candidate, self._currency)

    async def _store(self, batch: list[ImportedProduct], report: ImportReport) -> None:
        """Store the rows, reading and planning those again that lost to a concurrent write."""
        pending = batch
        for _ in range(_WRITE_ATTEMPTS):
            if not pending:
                return
            stored = await self._repository.imported([row.external_id for row in pending])
            planned = [(row, *self._plan(row, stored.get(row.external_id))) for row in pending]
            writes = [product for _, product, outcome in planned if outcome != "unchanged"]
            lost = await self._repository.write_many(writes) if writes else set()
            for number, (row, product, outcome) in enumerate(planned, start=1):
                if product.id not in lost:
                    report.accept(row, product, outcome)
                    self._index.put(product)
                if number % _STEP == 0:
                    await asyncio.sleep(0)
            pending = [row for row, product, _ in planned if product.id in lost]
        raise CatalogueUnavailable(_CONTENDED)

    def _plan(self, row: ImportedProduct, stored: Product | None) -> tuple[Product, Outcome]:
        """Return the product that the row wants, and how it differs from the stored one."""
        fields = row.product.model_dump()
        if stored is None:
            moment = self._now()
            external_id = row.external_id
            new = Product(**fields, external_id=external_id, created_at=moment, updated_at=moment)
            return new, "created"
        changes: Mapping[str, Any] = {
            name: fields[name] for name in row.given if fields[name] != getattr(stored, name)
        }
        if not changes:
            return stored, "unchanged"
        return stored.edited(changes, self._now()), "changed"

    async def export(self) -> AsyncIterator[bytes]:
        """Return all products as NDJSON that `run` reads, in pieces.

        The first piece is read before this returns, so that an absent database is an error of the
        request and not a broken answer.
        """
        first = await self._repository.following(None, _PAGE)
        return self._pages(first)

    async def _pages(self, page: list[Product]) -> AsyncIterator[bytes]:
        while page:
            yield b"".join(to_json(_exported(product)) + b"\n" for product in page)
            after: ObjectId = page[-1].id
            page = await self._repository.following(after, _PAGE)


async def _check(reader: RowReader) -> None:
    """Check a file in a thread, because that takes up to a second."""
    try:
        await asyncio.to_thread(reader.check)
    except UnreadableFile as error:
        detail = {"loc": ("body",), "msg": str(error), "type": "unreadable_file"}
        raise RequestValidationError([detail]) from None
    except TooManyRows:
        raise FileTooLarge(f"The file has more than {MAX_ROWS:,} rows: send it in parts.") from None


def _require_first(product: ImportedProduct, lines: dict[str, int]) -> None:
    first = lines.setdefault(product.external_id, product.line)
    if first != product.line:
        reason = f"line {first} has the same external id"
        raise RowRefused(product.line, "external_id", reason)


def _exported(product: Product) -> Mapping[str, Any]:
    return {
        "external_id": product.external_id or str(product.id),
        "name": product.name,
        "description": product.description,
        "price": str(product.price),
        "category": product.category,
        "tags": product.tags,
        "image_url": product.image_url,
        SHOWN_STOCK: product.stock_quantity,
        "plain_text": True,
    }
