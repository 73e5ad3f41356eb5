"""ASGI application of product-service: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from app.catalogue_files.readers import MAX_FILE_BYTES
from app.config import Settings
from app.database import Database
from app.repositories.product_repository import MongoProductRepository, refold
from app.routes import image_routes, import_routes, product_routes
from app.search.index import SearchIndex
from app.services.import_service import ImportService
from app.services.index_updater import IndexUpdater
from app.services.product_service import ProductService
from chassis.app.factory import add_routes, service_app
from chassis.app.health import Dependency, health_router
from chassis.observability.logging import configure_logging
from chassis.observability.metrics import metrics_router, new_registry
from chassis.observability.span_export import configure_tracing, span_export
from chassis.settings import load_settings

TAGS = [
    {"name": "products", "description": "The catalogue"},
    {"name": "images", "description": "Generated product images"},
    {"name": "operations", "description": "Health and metrics"},
]


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or load_settings(Settings)
    configure_logging(settings.service_name, settings.log_level)
    configure_tracing(settings)
    registry = new_registry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with span_export(settings, registry), AsyncExitStack() as stack:
            database = Database(settings, registry, upgrade=refold)
            stack.push_async_callback(database.close)
            seconds = settings.mongodb_timeout_ms / 1000
            repository = MongoProductRepository(database.catalogue, seconds)
            index = SearchIndex()
            updater = IndexUpdater(repository, index, registry)
            stack.push_async_callback(updater.stop)
            updater.start()
            app.state.database, app.state.index_updater = database, updater
            app.state.products = ProductService(repository, index, updater)
            app.state.imports = ImportService(
                repository, index, settings.shop_currency, database.indexed
            )
            yield

    app = service_app(
        settings,
        registry,
        lifespan,
        title="Product service",
        description="Create, read, list, search, update and delete the products of the shop.",
        openapi_tags=TAGS,
        larger_bodies={import_routes.IMPORT_PATH: MAX_FILE_BYTES},
    )
    dependencies = (
        Dependency("database", lambda: app.state.database.ping(), critical=True),
        Dependency("indexes", lambda: app.state.database.indexed()),
        Dependency("search index", lambda: app.state.index_updater.probe()),
    )
    operations = health_router(settings.service_name, dependencies), metrics_router(registry)
    # The addresses of imports before those of products, which have an id at the same place.
    routers = import_routes.router, product_routes.router, image_routes.router
    add_routes(app, *routers, *operations)
    return app


app = create_app()
