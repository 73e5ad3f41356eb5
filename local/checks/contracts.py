"""Check the contracts between services: they match the code, and no change breaks a caller.

.venv/bin/python -m checks.contracts          check (`make check`)
.venv/bin/python -m checks.contracts write    write contracts/openapi (`make contracts`)

The baseline is the history of the main branch (docs/adr/0010). An incompatible change needs a new
major version of the API, or a new version of the event beside the old one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from bootstrap import service_folders
from installer import ROOT, SetupError

from checks.check import NOT_CHECKED
from checks.compatibility import code, events, openapi
from checks.compatibility.events import EventApi
from checks.compatibility.history import History
from checks.compatibility.schemas import Direction, Placed, breaks
from checks.compatibility.services import Described, describe
from checks.compatibility.usage import usage_of
from fleet.topics import RETENTION_DAYS, TOPICS

GATEWAY = "api-gateway"
APIS, EVENTS, DOCUMENT = "contracts/openapi", "contracts/events", "contracts/asyncapi.yaml"
SCHEMA = ".schema.json"
PASSES = (
    "A new major version of its API (in create_app; the gateway's in app/api_document.py) lets "
    "that pass. Inform the callers."
)


class Contracts:
    """The contracts of a checkout and of its Git history."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.history = History(root)

    def promised(self, path: str) -> list[str]:
        """Return all earlier contents of a contract, or the current file without a history."""
        if self.history.base:
            return self.history.states(path)
        file = self.root / path
        return [file.read_text()] if file.exists() else []

    def snapshot(self, service: str) -> Path:
        """Return the path of a service's OpenAPI snapshot."""
        return self.root / APIS / f"{service}.json"

    def scripts(self) -> Iterator[Mapping[str, Any]]:
        """Return the HTTP contracts between services (contracts/http)."""
        for path in sorted((self.root / "contracts" / "http").glob("*.json")):
            yield json.loads(path.read_text())

    def event_api(self) -> EventApi:
        """Return contracts/asyncapi.yaml with its referenced schemas."""
        schemas = sorted((self.root / EVENTS).glob(f"*{SCHEMA}"))
        files = {f"./events/{path.name}": json.loads(path.read_text()) for path in schemas}
        return EventApi(_yaml((self.root / DOCUMENT).read_text()), files)


def _yaml(text: str) -> Any:
    """Parse YAML, with libyaml if available, which is ten times faster."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


def text_of(document: Mapping[str, Any]) -> str:
    """Format a snapshot."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def drift(contracts: Contracts, services: Mapping[str, Described]) -> list[str]:
    """List the differences between contracts/openapi and the code."""
    found = []
    for name, service in services.items():
        path = contracts.snapshot(name)
        if not path.exists() or path.read_text() != text_of(service.openapi):
            found.append(f"{APIS}/{name}.json differs from the code of {name}: `make contracts`")
    stale = (each for each in (contracts.root / APIS).glob("*.json") if each.stem not in services)
    found += [f"{APIS}/{each.name}: there is no such service: `make contracts`" for each in stale]
    return found


def broken_callers(contracts: Contracts, services: Mapping[str, Described]) -> dict[str, list[str]]:
    """Return service → changes of its API that break callers of the same major version."""
    found = {}
    for name, service in services.items():
        promises = map(json.loads, contracts.promised(f"{APIS}/{name}.json"))
        major = openapi.major_of(service.openapi)
        broken = {
            change: None
            for promise in promises
            if openapi.major_of(promise) == major
            for change in openapi.breaking_changes(promise, service.openapi)
        }
        if broken:
            found[name] = [
                f"{name} breaks {_callers(name, change.operation, contracts)}: "
                f"{change.operation}: {change.sentence}"
                for change in broken
            ]
    return found


def _callers(service: str, operation: str, contracts: Contracts) -> str:
    """Name the callers of an operation: services by contracts/http, clients of the gateway."""
    method, path = operation.split(" ")
    pattern = re.compile(re.sub(r"\\\{.*?\\\}", "[^/?]+", re.escape(path)) + r"(\?.*)?")
    found = {
        script["caller"]
        for script in contracts.scripts()
        for step in script["steps"]
        if script["service"] == service
        and step["call"].split(" ")[0] == method
        and pattern.fullmatch(step["call"].split(" ")[1])
    }
    gateway = contracts.snapshot(GATEWAY)
    through = json.loads(gateway.read_text())["paths"] if gateway.exists() else {}
    if service == GATEWAY or method.lower() in through.get(path, {}):
        found.add("callers of the gateway")
    return " and ".join(sorted(found)) or "its callers"


def broken_consumers(contracts: Contracts, api: EventApi) -> list[str]:
    """List the changes of events that break a consumer."""
    found: dict[str, None] = {}
    for address, schema in api.files.items():
        path = f"contracts/{address.removeprefix('./')}"
        message = Path(path).name.removesuffix(SCHEMA)
        whom = ", ".join(api.receivers(message.rpartition(".v")[0], message)) or "no known consumer"
        for promise in map(json.loads, contracts.promised(path)):
            for sentence in breaks(
                Placed(promise, promise), Placed(schema, schema), Direction.ANSWER
            ):
                found[f"{message} breaks {whom}: {sentence}"] = None
    for text in contracts.promised(DOCUMENT):
        try:
            promised = EventApi(_yaml(text), api.files)
        except yaml.YAMLError:
            continue  # a commit of the history has invalid YAML
        if openapi.major_of(promised.document) == openapi.major_of(api.document):
            found |= dict.fromkeys(events.breaking_changes(promised, api))
    return list(found)


def check(
    contracts: Contracts, services: Mapping[str, Described], folders: list[Path]
) -> list[str]:
    """List all problems, one line each."""
    found = drift(contracts, services)
    for lines in broken_callers(contracts, services).values():
        found += [*lines, f"  {PASSES}"]
    api = contracts.event_api()
    if mistaken := events.mistakes(api):
        return found + [f"{DOCUMENT}: {line}" for line in mistaken]
    used = {folder.name: usage_of(folder, TOPICS) for folder in folders}
    classes = [each for service in services.values() for each in service.events]
    differing = [
        *code.differing_topics(api, TOPICS, RETENTION_DAYS),
        *code.differing_use(api, used),
        *code.differing_classes(api, classes),
    ]
    found += [f"{DOCUMENT} differs from the code: {line}" for line in differing]
    broken = broken_consumers(contracts, api)
    if broken:
        broken.append("  A new version of the event, beside the old one, lets that pass.")
    return found + broken


def write(contracts: Contracts, services: Mapping[str, Described]) -> list[str]:
    """Write the snapshots of compatible APIs; return why others were not written."""
    refused = broken_callers(contracts, services)
    contracts.snapshot("").parent.mkdir(parents=True, exist_ok=True)
    for name, service in services.items():
        path, text = contracts.snapshot(name), text_of(service.openapi)
        if name not in refused and (not path.exists() or path.read_text() != text):
            path.write_text(text)
            print(f"  {APIS}/{path.name} written")
    for path in (contracts.root / APIS).glob("*.json"):
        if path.stem not in services:
            path.unlink()
            print(f"  {APIS}/{path.name} removed")
    return [line for lines in refused.values() for line in lines]


def _report(lines: Iterable[str]) -> int:
    for line in lines:
        print(line)
    return 1


def main(arguments: list[str]) -> int:
    """Return 0 if no problem was found, NOT_CHECKED if the Git history is incomplete."""
    folders, contracts = service_folders(), Contracts()
    try:
        services = describe(folders)
    except SetupError as error:
        return _report([str(error)])
    if arguments == ["write"]:
        refused = write(contracts, services)
        if not refused:
            return 0
        return _report(["Not written:", *refused, f"  {PASSES}"])
    if found := check(contracts, services, folders):
        return _report(found)
    if not contracts.history.whole():
        print("the Git history is incomplete: earlier contracts are unknown")
        return NOT_CHECKED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
