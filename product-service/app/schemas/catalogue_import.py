"""Response models of imports."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Outcome = Literal["created", "changed", "unchanged"]
Line = Annotated[
    int, Field(description="line of the file, from 1; the element's number in a JSON array")
]


class RefusedRowView(BaseModel):
    """A row that was not imported, and why."""

    line: Line
    field: Annotated[str | None, Field(description="the column; null if it is the row as a whole")]
    reason: str


class ImportedRowView(BaseModel):
    """A row that is in the catalogue."""

    line: Line
    product_id: str
    name: str
    outcome: Outcome
    stock_quantity: Annotated[int | None, Field(description="null: the file does not have it")]


class ImportReportView(BaseModel):
    """The outcome of each row."""

    created: int
    changed: int
    unchanged: int
    refused: int
    skipped: Annotated[
        int, Field(description="rows that are no product, such as further images of one")
    ]
    rows: list[ImportedRowView]
    refusals: Annotated[list[RefusedRowView], Field(description="the first 1,000")]
    ignored_columns: Annotated[
        list[str], Field(description="columns of the file without a meaning, at most 50")
    ]
