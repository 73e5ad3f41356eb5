"""HTTP routes of catalogue files. A handler parses, calls one service method and returns."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from app.catalogue_files.readers import CSV, JSON, MAX_FILE_BYTES, NDJSON
from app.dependencies import Imports
from app.errors import CatalogueUnavailable, FileTooLarge, UnsupportedFileType
from app.schemas.catalogue_import import ImportReportView
from chassis.app.content_type import media_type_of
from chassis.app.json_body import ExactJsonRoute, max_body
from chassis.problems import problem_responses

IMPORT_PATH = "/api/products/import"

router = APIRouter(prefix="/api/products", tags=["products"], route_class=ExactJsonRoute)

_ROW: dict[str, Any] = {
    "external_id": "LAMP-1",
    "name": "Walnut desk lamp",
    "description": "<p>A warm light on a turned walnut stand.</p>",
    "price": "1,049.90",
    "category": "Home",
    "tags": ["lamp", "walnut"],
    "image_url": "/api/products/images/walnut-desk-lamp.svg",
    "stock_quantity": 25,
}
_LINE = to_json(_ROW).decode() + "\n"
_EXPORTED = _LINE.replace("stock_quantity", "shown_stock_quantity")
_CSV_TEXT = (
    "sku,name,description,price,category,tags,stock\n"
    'LAMP-1,Walnut desk lamp,<p>A warm light.</p>,"1,049.90",Home,"lamp,walnut",25\n'
)
_TEXT: dict[str, Any] = {}  # JSON Schema describes no CSV and no NDJSON
_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            CSV: {"schema": _TEXT, "examples": {"own columns": {"value": _CSV_TEXT}}},
            NDJSON: {"schema": _TEXT, "examples": {"one product": {"value": _LINE}}},
            # Any elements: the report refuses those that are no products.
            JSON: {
                "schema": {"type": "array", "minItems": 1, "items": {}},
                "examples": {"one product": {"value": [_ROW]}},
            },
        },
    }
}
_LINES: dict[str, Any] = {
    "description": "one product on each line, in the form that the import reads",
    "content": {NDJSON: {"schema": _TEXT, "examples": {"one product": {"value": _EXPORTED}}}},
}


@router.post(
    "/import",
    response_model=ImportReportView,
    summary="Import a catalogue file",
    responses=problem_responses(FileTooLarge, UnsupportedFileType, CatalogueUnavailable),
    openapi_extra={**_FILE, **max_body(MAX_FILE_BYTES)},
)
async def import_file(request: Request, imports: Imports) -> Response:
    """Create and change products by the rows of a CSV file, of NDJSON or of a JSON array.

    The columns of CSV are `external_id` (or `sku`, `id`, `handle`), `name`, `price`, `category`,
    and optionally `description`, `tags`, `image_url`, `stock_quantity`, `currency`; or those of
    WooCommerce's or Shopify's product export. JSON objects have the same names. HTML in texts
    becomes plain text, unless a row has `plain_text` true.

    A row is found again by its external id: repeat an import at will. A row that breaks a rule is
    reported and not imported. A file has at most 10,000 rows.
    """
    media_type = media_type_of(request.scope["headers"])
    if media_type not in (CSV, NDJSON, JSON):
        headers = {"Accept": ", ".join((CSV, NDJSON, JSON))}
        raise UnsupportedFileType(UnsupportedFileType.example, headers=headers)
    report = await imports.run(media_type, request.stream())
    return Response(to_json(report), media_type="application/json")


@router.get(
    "/export",
    response_class=StreamingResponse,
    summary="Export the catalogue",
    responses={200: _LINES, **problem_responses(CatalogueUnavailable)},
)
async def export(imports: Imports) -> Response:
    """Return all products as NDJSON, ordered by id. Importing it again changes nothing.

    Products that are stored during the export may be missing.
    """
    return StreamingResponse(await imports.export(), media_type=NDJSON)
