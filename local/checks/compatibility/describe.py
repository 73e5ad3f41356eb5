"""Run by a service's own interpreter, in its folder: what its code says of its contracts, as JSON.

It starts nothing and needs nothing: the app is made and not run, with no settings but its own.

openapi: what the app serves at /openapi.json. A service that publishes others' APIs has an
    ``app/openapi_snapshot.py``, which merges their documents; standard input holds them by name.
events: the event classes of ``app/events.py``, by their event_type: is it one that this service
    makes or one that it reads, and the JSON schema of it.
"""

import importlib
import importlib.util
import json
import sys
from typing import Any


def openapi(others: dict[str, Any]) -> Any:
    """The service's OpenAPI document."""
    if importlib.util.find_spec("app.openapi_snapshot") is not None:
        return importlib.import_module("app.openapi_snapshot").openapi(others)
    return importlib.import_module("app.main").app.openapi()


def events() -> list[dict[str, Any]]:
    """Every class that narrows ``event_type`` to a constant."""
    if importlib.util.find_spec("app.events") is None:
        return []
    envelope = importlib.import_module("chassis.kafka.events")
    found = []
    for name, kind in vars(importlib.import_module("app.events")).items():
        if not (isinstance(kind, type) and issubclass(kind, envelope.Envelope)):
            continue
        model: Any = kind
        makes = issubclass(model, envelope.Event)
        schema = model.model_json_schema(mode="serialization" if makes else "validation")
        if (event_type := schema["properties"]["event_type"].get("const")) is not None:
            found.append({"name": name, "type": event_type, "makes": makes, "schema": schema})
    return found


if __name__ == "__main__":
    print(json.dumps({"openapi": openapi(json.load(sys.stdin)), "events": events()}))
