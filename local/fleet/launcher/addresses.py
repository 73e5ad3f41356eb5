"""Web addresses of a running fleet."""

from __future__ import annotations

from fleet.launcher.composition import Fleet
from fleet.services import present
from fleet.terminal import say


def show_addresses(fleet: Fleet) -> None:
    """Print the address of each web page, the gateway's first."""
    for name, url, text in _addresses(fleet):
        say(f"  {name:<14} {url:<34} {text}".rstrip())


def _addresses(fleet: Fleet) -> list[tuple[str, str, str]]:
    gateway = fleet.service("api-gateway").url
    found = [
        ("Start page", f"{gateway}/", ""),
        ("API", f"{gateway}/docs", "all services, through the gateway"),
    ]
    if (mailbox := fleet.mailbox()) is not None:
        found.append(("Mailbox", mailbox.url, "mails sent by the services"))
    found.append(("Kafka topics", fleet.topics_page.url, "messages and consumer lag"))
    if fleet.traces is not None:
        found.append(("Traces", fleet.traces.url, "the latest order: make traces"))
    for service in present(fleet.settings.root):
        if service.api:
            url = f"{fleet.service(service.name).url}/docs"
            found.append(("API", url, f"{service.name} alone, not behind the gateway"))
    return found
