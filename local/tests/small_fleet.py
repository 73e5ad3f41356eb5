"""A fleet of two small services, for tests of the commands that start and stop them."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

SERVICE = dedent('''
    """As small as a service can be: health, and a way to see its environment."""
    import json
    import os

    async def app(scope, receive, send):
        if scope["type"] != "http":
            await receive()
            return await send({"type": "lifespan.startup.complete"})
        body = b'{"status": "UP", "dependencies": {"database": {"status": "UP"}}}'
        if scope["path"] == "/env":
            shown = {key.lower(): value for key, value in os.environ.items()}
            body = json.dumps(shown).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    ''')
OWN_SERVER = dedent("""
    import sys
    import uvicorn
    sys.argv[1:1] = ["app.main:app"]
    uvicorn.main()
    """)
PORTS = (
    *("PRODUCT_SERVICE_PORT", "NOTIFICATION_SERVICE_PORT", "POSTGRES_PORT", "MONGODB_PORT"),
    *("MAILBOX_SMTP_PORT", "MAILBOX_HTTP_PORT", "KEYCLOAK_PORT", "GATEWAY_PORT"),
    *("TRACES_PORT", "KAFKA_UI_PORT"),
)
FOREIGN = (
    "KEYCLOAK_URL",
    "MONGODB_URL",
    "RATE_LIMIT_STORAGE_URI",
    "REPLICAS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "SMTP_HOST",
    "ORDER_DATABASE_URL",
    "INVENTORY_DATABASE_URL",
)


def write_service(root: Path, name: str, code: str) -> None:
    """Create a service's folder with the tests' own Python environment."""
    folder = root / name
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "main.py").write_text(code, encoding="utf-8")
    (folder / "venv").symlink_to(sys.prefix)
