"""The columns of catalogue files: this shop's own, WooCommerce's and Shopify's product exports.

A layout turns rows into candidates, one after the other. Rows that are no product by themselves,
such as further images of a product, give none.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import count, takewhile
from typing import Protocol

from app.catalogue_files.rows import SHOWN_STOCK, Candidate, RowRefused, SourceRow, Values

_ALIASES: Mapping[str, Sequence[str]] = {
    "external_id": ("external_id", "external id", "sku", "id", "handle"),
    "name": ("name", "title"),
    "description": ("description", "body"),
    "price": ("price",),
    "category": ("category",),
    "tags": ("tags",),
    "image_url": ("image_url", "image"),
    "stock_quantity": ("stock_quantity", "stock", "quantity", SHOWN_STOCK),
    "currency": ("currency",),
    "plain_text": ("plain_text",),
}
_REQUIRED = ("external_id", "name", "price", "category")
_EMPTY: Mapping[str, object] = {"description": "", "tags": [], "image_url": None}
"""Values of an empty cell and of null. An empty stock cell means that the file has no stock."""

_NO_CATEGORY = "Uncategorized"  # as WooCommerce calls it
_FORMULA = re.compile("'(?=[=+@-])")  # WooCommerce puts an apostrophe before such texts
_COMMA = re.compile(r"(?<!\\),")  # a comma within a name has a backslash


class MissingColumns(ValueError):
    """A file cannot be read, because its header lacks columns."""


class Layout(Protocol):
    def remember(self, row: SourceRow) -> None:
        """Look at a row before any is imported: other rows may refer to it."""

    def candidate(self, row: SourceRow) -> Candidate | None:
        """Return the product of a row, or None if it is none.

        Raises:
            RowRefused: the row cannot be understood.
        """

    def ignored(self, columns: Collection[str]) -> list[str]:
        """Return the columns without a meaning, if that may be a mistake."""


def layout_of(columns: Sequence[str]) -> Layout:
    """Return the layout of a CSV file by its header, in lower case.

    Raises:
        MissingColumns: it is none of the known ones, or incomplete.
    """
    known = set(columns)
    if "regular price" in known:
        _require(known, {"name": ("name",), "SKU or ID": ("sku", "id"), "type": ("type",)})
        return WooCommerceLayout()
    if "variant price" in known or "url handle" in known:
        _require(known, {name: _SHOPIFY[name] for name in ("handle", "title", "price")})
        return ShopifyLayout()
    _require(known, {name: _ALIASES[name] for name in _REQUIRED})
    return OwnLayout()


def _require(known: Collection[str], columns: Mapping[str, Sequence[str]]) -> None:
    missing = [name for name, names in columns.items() if not set(names).intersection(known)]
    if missing:
        raise MissingColumns(f"The header row has no column for: {', '.join(missing)}.")


class OwnLayout:
    """One product in each row or JSON object."""

    def remember(self, row: SourceRow) -> None:
        pass

    def ignored(self, columns: Collection[str]) -> list[str]:
        known = {alias for aliases in _ALIASES.values() for alias in aliases}
        return [column for column in columns if column not in known]

    def candidate(self, row: SourceRow) -> Candidate:
        columns = {
            field: next(alias for alias in aliases if alias in row.values)
            for field, aliases in _ALIASES.items()
            if any(alias in row.values for alias in aliases)
        }
        ids = [alias for alias in _ALIASES["external_id"] if row.values.get(alias)]
        columns["external_id"] = ids[0] if ids else columns.get("external_id", "external_id")
        values = {
            field: row.values[column]
            for field, column in columns.items()
            if field not in ("external_id", "currency", "plain_text")
        }
        for field, value in list(values.items()):
            if value is None or value == "":
                if field in _EMPTY:
                    values[field] = _EMPTY[field]
                elif field == "stock_quantity":
                    del values[field]
        currency = row.values.get(columns.get("currency", ""), "")
        plain = row.values.get(columns.get("plain_text", ""), False)
        return Candidate(
            row.line,
            row.values.get(columns["external_id"]),
            values,
            currency="" if currency is None else currency,
            is_plain=plain in (True, "true", "1"),
            columns=columns,
        )


class WooCommerceLayout:
    """WooCommerce's product export with English column names.

    A variation gets the name of its parent with the values of its attributes, and what it leaves
    empty from its parent. The parent itself is no product. Sale prices are ignored, because the
    catalogue cannot end a sale.
    """

    _COLUMNS: Mapping[str, str] = {
        "external_id": "SKU",
        "name": "Name",
        "description": "Description",
        "price": "Regular price",
        "category": "Categories",
        "tags": "Tags",
        "image_url": "Images",
        "stock_quantity": "Stock",
    }
    _PARENT_COLUMNS = (
        *("name", "published", "description", "short description", "categories", "tags", "images"),
    )
    _UNSOLD = ("grouped", "external")

    def __init__(self) -> None:
        self._parents: dict[str, Values] = {}

    def ignored(self, columns: Collection[str]) -> list[str]:
        return []  # an export has dozens that the catalogue has no field for

    def remember(self, row: SourceRow) -> None:
        if "variable" in _kinds(row.values):
            parent = {name: row.values.get(name, "") for name in self._PARENT_COLUMNS}
            for key in (row.values.get("sku"), f"id:{row.values.get('id', '')}"):
                if key:
                    self._parents[key] = parent

    def candidate(self, row: SourceRow) -> Candidate | None:
        values = row.values
        kinds = _kinds(values)
        if "variable" in kinds:
            return None
        if unsold := kinds.intersection(self._UNSOLD):
            raise RowRefused(row.line, "Type", f"{min(unsold)} products are not sold by themselves")
        parent: Values = {}
        if "variation" in kinds:
            key = values.get("parent", "")
            if key not in self._parents:
                raise RowRefused(row.line, "Parent", f"the file has no variable product {key}")
            parent = self._parents[key]
        for published in (values.get("published", ""), parent.get("published", "")):
            if published not in ("1", ""):
                raise RowRefused(row.line, "Published", "the product is not published")

        def cell(*names: str) -> str:
            filled = (one.get(name) for one in (values, parent) for name in names)
            return _FORMULA.sub("", next(filter(None, filled), ""), count=1)

        name = cell("name")
        if parent and (options := _attributes(values)):
            name = f"{_FORMULA.sub('', parent['name'], count=1)} - {', '.join(options)}"
        found: dict[str, object] = {
            "name": name,
            "description": cell("description", "short description"),
            "price": values.get("regular price", ""),
            "category": next(iter(_listed(cell("categories"))), "").split(">")[-1] or _NO_CATEGORY,
            "tags": _listed(cell("tags")),
            "image_url": next(iter(_listed(cell("images"))), None),
        }
        stock = values.get("stock", "")
        if stock or values.get("in stock?") == "0":
            found["stock_quantity"] = _not_negative(stock or "0")
        number = values.get("id", "")
        sku = _FORMULA.sub("", values.get("sku", ""), count=1)
        external_id = sku or (f"id:{number}" if number else "")
        return Candidate(row.line, external_id, found, columns=self._COLUMNS)


def _kinds(values: Values) -> set[str]:
    return {kind.strip().lower() for kind in values.get("type", "").split(",")}


def _attributes(values: Values) -> list[str]:
    columns = takewhile(values.__contains__, (f"attribute {n} value(s)" for n in count(1)))
    return [values[column].strip() for column in columns if values[column].strip()]


def _listed(text: str) -> list[str]:
    """Return the parts of a list with commas."""
    parts = (part.replace("\\,", ",").strip() for part in _COMMA.split(text))
    return [part for part in parts if part]


_SHOPIFY: Mapping[str, Sequence[str]] = {
    "handle": ("handle", "url handle"),
    "title": ("title",),
    "body": ("body (html)", "description"),
    "type": ("type",),
    "category": ("product category",),
    "tags": ("tags",),
    "published": ("published", "published on online store"),
    "status": ("status",),
    "sku": ("variant sku", "sku"),
    "price": ("variant price", "price"),
    "stock": ("variant inventory qty", "inventory quantity"),
    "tracker": ("variant inventory tracker", "inventory tracker"),
    "image": ("image src", "product image url"),
    "variant image": ("variant image", "variant image url"),
}


class ShopifyLayout:
    """Shopify's product export, with the column names before and since 2025.

    The first row of a handle describes the product and its first variant. Each variant becomes a
    product whose name has the values of its options. Rows with further images give none.
    """

    _COLUMNS: Mapping[str, str] = {
        "external_id": "Variant SKU",
        "name": "Title",
        "description": "Body (HTML)",
        "price": "Variant Price",
        "category": "Type",
        "tags": "Tags",
        "image_url": "Image Src",
        "stock_quantity": "Variant Inventory Qty",
    }

    def __init__(self) -> None:
        self._first: Values = {}

    def ignored(self, columns: Collection[str]) -> list[str]:
        return []

    def remember(self, row: SourceRow) -> None:
        pass

    def candidate(self, row: SourceRow) -> Candidate | None:
        values = {
            name: next((row.values[alias].strip() for alias in aliases if alias in row.values), "")
            for name, aliases in _SHOPIFY.items()
        }
        options = [row.values.get(f"option{n} value", "").strip() for n in (1, 2, 3)]
        options = [option for option in options if option]
        if values["title"]:
            self._first = values
        elif not (values["price"] or values["sku"] or options):
            return None
        first = self._first
        if first.get("handle") != values["handle"]:
            raise RowRefused(row.line, "Title", "the first row of this handle is not before it")
        if first["status"].lower() not in ("active", "") or first["published"].lower() == "false":
            raise RowRefused(row.line, "Status", "the product is not published")
        if options == ["Default Title"]:
            options = []
        found: dict[str, object] = {
            "name": " - ".join(filter(None, [first["title"], " / ".join(options)])),
            "description": first["body"],
            "price": values["price"],
            "category": first["type"] or first["category"].split(">")[-1] or _NO_CATEGORY,
            "tags": first["tags"],
            "image_url": values["variant image"] or first["image"] or None,
        }
        if values["stock"] and (values["tracker"] or not _has(row, "tracker")):
            found["stock_quantity"] = _not_negative(values["stock"])
        sku = values["sku"].removeprefix("'")
        external_id = sku or "/".join(filter(None, [values["handle"], *options]))
        return Candidate(row.line, external_id, found, columns=self._COLUMNS)


def _has(row: SourceRow, name: str) -> bool:
    return any(alias in row.values for alias in _SHOPIFY[name])


def _not_negative(stock: str) -> str:
    """Return 0 for a negative stock: pieces that were sold although there were none."""
    return "0" if stock.strip().startswith("-") else stock
