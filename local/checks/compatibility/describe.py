"""Print the contracts of a service as JSON. The service's own interpreter runs it in its folder.

The app is created but not started, with default settings.

openapi: the app's OpenAPI document. The gateway's ``app/openapi_snapshot.py`` merges the documents
    of the other services, which standard input contains by name.
events: the event classes of ``app/events.py``: event_type, whether the service produces or consumes
    the event, and the JSON schema.
"""

import importlib
import importlib.util
import json
import sys
from typing import Any


def openapi(others: dict[str, Any]) -> Any:
    """Return the service's OpenAPI document."""
    if importlib.util.find_spec("app.openapi_snapshot") is not None:
        return importlib.import_module("app.openapi_snapshot").openapi(others)
    return importlib.import_module("app.main").app.openapi()


def events() -> list[dict[str, Any]]:
    """Return all classes whose ``event_type`` is a constant."""
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
