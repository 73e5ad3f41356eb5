"""The gauge of connections in use, with events of the driver."""

from prometheus_client import CollectorRegistry
from pymongo.monitoring import ConnectionCheckedInEvent, ConnectionCheckedOutEvent

from app.config import Settings
from app.metrics import PoolUse

ADDRESS = ("localhost", 27017)


def test_connections_in_use_are_counted_between_checkout_and_checkin() -> None:
    registry = CollectorRegistry()
    use = PoolUse(Settings(), registry)
    for number in (1, 2):
        use.connection_checked_out(ConnectionCheckedOutEvent(ADDRESS, number, 0.0))
    assert registry.get_sample_value("database_connections_in_use") == 2
    use.connection_checked_in(ConnectionCheckedInEvent(ADDRESS, 1))
    assert registry.get_sample_value("database_connections_in_use") == 1
