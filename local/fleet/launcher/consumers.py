"""Wait until the services have joined their consumer groups."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fleet.errors import NotReady
from fleet.launcher.service_program import ServiceProgram
from fleet.terminal import say

JOIN_SECONDS = 30.0
"""The first join of a group takes 5 to 6 s on the embedded broker, 18 s after its restart."""
_LOOK_EVERY = 0.25


def await_consumers(services: Sequence[ServiceProgram], timeout: float = JOIN_SECONDS) -> None:
    """Wait until every consumer has joined its group. Print the names of those that have not."""
    began = time.monotonic()
    waiting = [service for service in services if not has_joined(service)]
    if not waiting:
        return
    while waiting and time.monotonic() - began < timeout:
        time.sleep(_LOOK_EVERY)
        waiting = [service for service in waiting if not has_joined(service)]
    if waiting:
        names = ", ".join(service.name for service in waiting)
        say(f"Not consuming from Kafka yet: {names}. See: make status")
    else:
        say(f"All consumers have joined their groups, {time.monotonic() - began:.1f} s later.")


def has_joined(service: ServiceProgram) -> bool:
    """Return False while the service's readiness reports a consumer outside its group."""
    try:
        dependencies = service.dependencies()
    except NotReady:
        return False
    return all(state.get("error") != "NotConsuming" for state in dependencies.values())
