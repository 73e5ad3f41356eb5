"""The page at `/docs`: the API of all services, with login to try it out."""

from fastapi import FastAPI, Response

from app.api_document import SCOPES
from app.document_store import DocumentStore
from chassis.app.docs import PageLogin, install_docs

CLIENT_ID = "storefront"  # a public client with PKCE: a browser cannot keep a secret


def install_api_page(app: FastAPI, store: DocumentStore, issuer: str) -> None:
    """Serve `/docs` and the merged `/openapi.json`; the app has `openapi_url=None`.

    Args:
        issuer: the identity provider's realm, at the address that browsers use.
    """
    install_docs(app, PageLogin(CLIENT_ID, issuer, tuple(SCOPES)))

    @app.api_route("/openapi.json", methods=["GET", "HEAD"], include_in_schema=False)
    async def openapi() -> Response:
        content = await store.merged()
        return Response(
            content, media_type="application/json", headers={"Cache-Control": "no-cache"}
        )
