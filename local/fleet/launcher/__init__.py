"""Start, stop and inspect the fleet: composition, start order, settings, status."""
