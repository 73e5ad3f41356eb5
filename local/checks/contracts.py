"""The contracts between services: are they written down as they are, and does a change break one?

.venv/bin/python -m checks.contracts          what `make check` asks
.venv/bin/python -m checks.contracts write    writes contracts/openapi anew (`make contracts`)

What may not break is what the history of main holds (docs/adr/0010). A change that breaks somebody
passes with a new major version of the API, or with a new version of the event beside the old one.
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
    "that pass; whoever calls it has to be told."
)


class Contracts:
    """What is written down below a checkout, and what its history promised."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.history = History(root)

    def promised(self, path: str) -> list[str]:
        """Every content that must not be broken; the file itself where there is no history."""
        if self.history.base:
            return self.history.states(path)
        file = self.root / path
        return [file.read_text()] if file.exists() else []

    def snapshot(self, service: str) -> Path:
        """Where a service's API is written down."""
        return self.root / APIS / f"{service}.json"

    def scripts(self) -> Iterator[Mapping[str, Any]]:
        """What one service relies on at another (contracts/http)."""
        for path in sorted((self.root / "contracts" / "http").glob("*.json")):
            yield json.loads(path.read_text())

    def event_api(self) -> EventApi:
        """contracts/asyncapi.yaml with the schemas that it refers to."""
        schemas = sorted((self.root / EVENTS).glob(f"*{SCHEMA}"))
        files = {f"./events/{path.name}": json.loads(path.read_text()) for path in schemas}
        return EventApi(_yaml((self.root / DOCUMENT).read_text()), files)


def _yaml(text: str) -> Any:
    """By libyaml where it is there, which is ten times as fast."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


def text_of(document: Mapping[str, Any]) -> str:
    """As it is written down."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def drift(contracts: Contracts, services: Mapping[str, Described]) -> list[str]:
    """Where contracts/openapi is not what the code says."""
    found = []
    for name, service in services.items():
        path = contracts.snapshot(name)
        if not path.exists() or path.read_text() != text_of(service.openapi):
            found.append(f"{APIS}/{name}.json is not what {name} says of itself: `make contracts`")
    stale = (each for each in (contracts.root / APIS).glob("*.json") if each.stem not in services)
    found += [f"{APIS}/{each.name}: there is no such service: `make contracts`" for each in stale]
    return found


def broken_callers(contracts: Contracts, services: Mapping[str, Described]) -> dict[str, list[str]]:
    """By service, what its API as the code has it breaks of what was promised under its version."""
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
    """Who is known to call it: services by contracts/http, and everybody through the gateway."""
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
    """What consumers cannot read any more of what was promised."""
    found: dict[str, None] = {}
    for address, schema in api.files.items():
        path = f"contracts/{address.removeprefix('./')}"
        message = Path(path).name.removesuffix(SCHEMA)
        whom = ", ".join(api.receivers(message.rpartition(".v")[0], message)) or "nobody known"
        for promise in map(json.loads, contracts.promised(path)):
            for sentence in breaks(
                Placed(promise, promise), Placed(schema, schema), Direction.ANSWER
            ):
                found[f"{message} breaks {whom}: {sentence}"] = None
    for text in contracts.promised(DOCUMENT):
        try:
            promised = EventApi(_yaml(text), api.files)
        except yaml.YAMLError:
            continue  # the history has a commit with invalid YAML, which promised nothing
        if openapi.major_of(promised.document) == openapi.major_of(api.document):
            found |= dict.fromkeys(events.breaking_changes(promised, api))
    return list(found)


def check(
    contracts: Contracts, services: Mapping[str, Described], folders: list[Path]
) -> list[str]:
    """All that is wrong, a line each."""
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
    found += [f"{DOCUMENT} is not what the code does: {line}" for line in differing]
    broken = broken_consumers(contracts, api)
    if broken:
        broken.append("  A new version of the event, beside the old one, lets that pass.")
    return found + broken


def write(contracts: Contracts, services: Mapping[str, Described]) -> list[str]:
    """Write every API down that breaks nobody; the lines that say why another was not."""
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
    """0: all is well; NOT_CHECKED: as far as can be seen without the whole history."""
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
        print("no whole git history here: what was promised before is not known")
        return NOT_CHECKED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
