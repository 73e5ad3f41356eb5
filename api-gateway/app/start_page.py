"""The page at `/`: links to the API documentation, the health state and the tools."""

import base64
import hashlib
import html

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response

from app.config import Settings

_STYLE = """\
:root { color-scheme: light dark; }
body { max-width: 40rem; margin: 3rem auto; padding: 0 1rem;
  font: 1rem/1.5 system-ui, sans-serif; }
li { margin: 0.4rem 0; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>E-commerce API</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
<h1>E-commerce API</h1>
<p>This is the gateway of all services. Its API is below <code>/api</code>.</p>
<ul>
{links}
</ul>
</main>
</body>
</html>
"""


def install_start_page(app: FastAPI, settings: Settings) -> None:
    """Serve the static page at `/`; a tool is linked if the settings have its URL."""
    page = _PAGE.format(style=_STYLE, links="\n".join(_links(settings)))

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def start_page() -> Response:
        return HTMLResponse(page, headers=_HEADERS)


def _links(settings: Settings) -> list[str]:
    targets = [
        ("docs", "API documentation", "all operations, with examples to try out"),
        ("api/products", "Catalogue", "the first products, as JSON"),
        ("health/ready", "State", "what each service behind the gateway reports"),
        (settings.mailbox_url, "Mailbox", "mails that the shop has sent"),
        (settings.kafka_ui_url, "Kafka topics", "messages and consumer lag"),
        (settings.traces_url, "Traces", "each request through all services"),
    ]
    return [
        f'<li><a href="{html.escape(url)}">{name}</a>: {text}</li>'
        for url, name, text in targets
        if url
    ]
