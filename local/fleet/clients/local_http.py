"""HTTP with the standard library that never uses a proxy for this machine."""

from __future__ import annotations

import ipaddress
import urllib.request
from http.client import HTTPResponse
from urllib.parse import urlsplit


def open_url(request: urllib.request.Request, timeout: float) -> HTTPResponse:
    """Open a URL. Use the proxy of the environment only for other machines."""
    own = urllib.request.ProxyHandler({} if is_loopback(request.full_url) else None)
    response: HTTPResponse = urllib.request.build_opener(own).open(request, timeout=timeout)
    return response


def is_loopback(url: str) -> bool:
    """Return whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
