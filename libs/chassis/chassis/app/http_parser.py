"""Ignore offers of a protocol upgrade, as RFC 9110 section 7.8 allows a server to do.

httptools stops at a request with `Connection: upgrade` and an `Upgrade` header, and skips its
body. uvicorn (0.54) logs "Unsupported upgrade request." and goes on: it loses the body, and reads
the body's bytes as the next request. Java's HttpClient offers `h2c` with every first request.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class RequestParser:
    """Parse the requests of one connection, with the interface of httptools' parser.

    A head with an offer is parsed twice: first unchanged, then without its `Upgrade` headers by a
    new parser, which reads the body and all later requests. `should_upgrade` is true only during
    the first pass, when the protocol must ignore `on_headers_complete` and `on_message_complete`.
    """

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self._parser = self._new_parser()

    def feed_data(self, data: bytes) -> None:
        """Parse the next bytes of the connection.

        Raises:
            httptools.HttpParserError: the data is not valid HTTP, or asks for a tunnel (CONNECT).
        """
        rest = memoryview(data)
        while rest:
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as stop:
                head = self._head_without_offer()
                self._parser = self._new_parser()
                self._parser.feed_data(head)
                rest = rest[stop.args[0] :]

    def get_http_version(self) -> str:
        return self._parser.get_http_version()

    def get_method(self) -> bytes:
        return self._parser.get_method()

    def should_keep_alive(self) -> bool:
        return self._parser.should_keep_alive()

    def should_upgrade(self) -> bool:
        return self._parser.should_upgrade()

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._protocol)
        # As uvicorn does: data after a request with `Connection: close` is ignored.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _head_without_offer(self) -> bytes:
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT is not supported")
        version = self._parser.get_http_version().encode("ascii")
        lines = [b"%b %b HTTP/%b" % (method, self._protocol.url, version)]
        lines += [b"%b: %b" % pair for pair in self._protocol.headers if pair[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
