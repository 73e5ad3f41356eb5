"""The forwarder that most examples show: a FastAPI route around an httpx client."""

import os

import httpx
from fastapi import FastAPI, Request, Response

app = FastAPI()
_client = httpx.AsyncClient(base_url=os.environ["UPSTREAM"])


@app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def forward(path: str, request: Request) -> Response:
    headers = {k: v for k, v in request.headers.items() if k not in ("host", "connection")}
    answer = await _client.request(
        request.method,
        f"/{path}",
        params=request.query_params,
        headers=headers,
        content=await request.body(),
    )
    return Response(answer.content, answer.status_code, {"content-type": "application/json"})
