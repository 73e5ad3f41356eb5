"""Read the contracts of each service from its code, with its own interpreter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installer import ROOT, SetupError

_DESCRIBE = Path(__file__).with_name("describe.py")
_SETTINGS = {"DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none"}
"""Values for settings without a default. No connection is opened."""


@dataclass(frozen=True)
class EventClass:
    """A class of a service's ``app/events.py``."""

    service: str
    name: str
    event_type: str
    makes: bool
    """Whether the service makes such events or reads them."""
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Described:
    """The contracts of one service."""

    name: str
    openapi: Mapping[str, Any]
    events: tuple[EventClass, ...]


def describe(folders: Sequence[Path]) -> dict[str, Described]:
    """Describe all services. The gateway, whose document contains the others, comes last."""
    own = [folder for folder in folders if not _publishes_others(folder)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = {each.name: each for each in pool.map(lambda folder: _asked(folder, {}), own)}
    documents = {name: each.openapi for name, each in found.items()}
    for folder in folders:
        if folder not in own:
            found[folder.name] = _asked(folder, documents)
    return found


def _publishes_others(folder: Path) -> bool:
    return (folder / "app" / "openapi_snapshot.py").exists()


def _asked(folder: Path, others: Mapping[str, Any]) -> Described:
    """Run ``describe.py``; raise ``SetupError`` if the service's code fails."""
    done = subprocess.run(
        [str(folder / "venv" / "bin" / "python"), str(_DESCRIBE)],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **_SETTINGS},
        input=json.dumps(others),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        name = folder.relative_to(ROOT)
        raise SetupError(f"{name}: reading its contracts failed:\n{done.stderr}")
    said = json.loads(done.stdout)
    events = [
        EventClass(folder.name, each["name"], each["type"], each["makes"], each["schema"])
        for each in said["events"]
    ]
    return Described(folder.name, said["openapi"], tuple(events))
