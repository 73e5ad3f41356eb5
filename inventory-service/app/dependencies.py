"""What a route asks for, put together for each request.

All of it is `async def`, though nothing here waits: FastAPI sends a plain function to a thread, at
0.1 ms of CPU each.
"""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings
from app.database import reader, transaction
from app.metrics import StockMetrics
from app.repositories.inventory_repository import InventoryRepository
from app.repositories.ledger_repository import LedgerRepository
from app.services.inventory_service import InventoryReader, InventoryService
from app.services.low_stock import LowStockWatch
from app.services.stock_service import StockService

# scope="function" ends the transaction before the reply is sent. Without it FastAPI answers first
# and commits afterwards, and a commit that fails leaves behind a caller who was told it is done.
Transaction = Annotated[AsyncSession, Depends(transaction, scope="function")]
Reading = Annotated[AsyncSession, Depends(reader, scope="function")]


async def _metrics(request: Request) -> StockMetrics:
    metrics: StockMetrics = request.app.state.metrics
    return metrics


Metrics = Annotated[StockMetrics, Depends(_metrics)]


async def _watch(request: Request, session: Transaction, metrics: Metrics) -> LowStockWatch:
    settings: Settings = request.app.state.settings
    return LowStockWatch(session, settings.low_stock_threshold, metrics)


Watch = Annotated[LowStockWatch, Depends(_watch)]


async def _inventory_reader(session: Reading) -> InventoryReader:
    return InventoryReader(InventoryRepository(session))


async def _inventory_service(session: Transaction, watch: Watch) -> InventoryService:
    return InventoryService(InventoryRepository(session), LedgerRepository(session), watch)


async def _stock_service(session: Transaction, watch: Watch, metrics: Metrics) -> StockService:
    return StockService(InventoryRepository(session), LedgerRepository(session), watch, metrics)


Reader = Annotated[InventoryReader, Depends(_inventory_reader)]
Inventory = Annotated[InventoryService, Depends(_inventory_service)]
Stock = Annotated[StockService, Depends(_stock_service)]
