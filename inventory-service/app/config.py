"""Settings of inventory-service: each field is an environment variable of its name."""

from pydantic import Field

from chassis.postgres.database import DatabaseSettings
from chassis.settings import KafkaSettings, ServiceSettings


class Settings(ServiceSettings, DatabaseSettings, KafkaSettings):
    """Built once, in create_app()."""

    service_name: str = "inventory-service"
    database_url: str = "postgresql+asyncpg://postgres:postgres@127.0.0.1:5433/inventory_db"
    low_stock_threshold: int = Field(
        default=10, ge=0, description="low means strictly below this many available pieces"
    )
