"""Settings of product-service; each is an environment variable with its name in upper case."""

from pydantic import Field

from chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    service_name: str = "product-service"
    mongodb_url: str = Field(
        default="mongodb://127.0.0.1:27017/?directConnection=true",
        repr=False,  # may contain a password
    )
    mongodb_database: str = "product_db"
    mongodb_min_pool_size: int = Field(default=0, ge=0)
    mongodb_max_pool_size: int = Field(default=50, gt=0)
    mongodb_timeout_ms: int = Field(
        default=2_500, gt=0, description="deadline of one operation, including server selection"
    )
    shop_currency: str = Field(
        default="USD",
        pattern="^[A-Z]{3}$",
        description="ISO 4217 code of all prices; an import refuses a price in another currency",
    )
