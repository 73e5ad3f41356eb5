"""Dependencies of the routes. create_app makes the services once; they hold no request state.

Dependencies are `async def`, though nothing here waits: FastAPI sends a plain function to a thread,
at 0.1 ms of CPU each. Any dependency costs some 0.02 ms, so that the two calls of each order do
without: they call `reader_of` and `stock_of`.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Request

from app.config import Settings
from app.metrics import StockMetrics
from app.services.inventory_service import InventoryReader, InventoryService
from app.services.low_stock import LowStockWatch
from app.services.stock_service import StockService
from chassis.postgres.database import Database


def provide(app: FastAPI, settings: Settings, database: Database, metrics: StockMetrics) -> None:
    """Make the services that the routes of `app` ask for."""
    watch = LowStockWatch(settings.low_stock_threshold, metrics)
    app.state.reader = InventoryReader(database)
    app.state.inventory = InventoryService(database, watch)
    app.state.stock = StockService(database, watch, metrics)


def reader_of(request: Request) -> InventoryReader:
    reader: InventoryReader = request.app.state.reader
    return reader


def stock_of(request: Request) -> StockService:
    stock: StockService = request.app.state.stock
    return stock


async def _inventory_reader(request: Request) -> InventoryReader:
    return reader_of(request)


async def _inventory_service(request: Request) -> InventoryService:
    inventory: InventoryService = request.app.state.inventory
    return inventory


async def _stock_service(request: Request) -> StockService:
    return stock_of(request)


Reader = Annotated[InventoryReader, Depends(_inventory_reader)]
Inventory = Annotated[InventoryService, Depends(_inventory_service)]
Stock = Annotated[StockService, Depends(_stock_service)]
