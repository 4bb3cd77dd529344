"""A wallet that means harm: whatever it is asked about an order, it answers with the bytes chosen for it."""

import re
import socketserver
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote_plus

_ASKS = re.compile(r"(?:out_trade_no>(?:<!\[CDATA\[)?|\"out_trade_no\":\")(\d{16})")
_SCANS = re.compile(r"(?:13|28)\d{14}(\d\d)\b")


class HostileWallet:
    """`replies` are whole HTTP replies; a barcode's last two digits choose one for its order, for good.

    `strangers` are the paths somebody asked for who was not to: entities, redirects.
    """

    def __init__(self, replies: Mapping[str, bytes]) -> None:
        self.replies = replies
        self.strangers: list[str] = []
        self.asked: dict[str, int] = {}
        self._chosen: dict[str, str] = {}
        self._kinds = list(replies)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def digits(self, kind: str) -> str:
        """The two digits that choose a reply."""
        return f"{self._kinds.index(kind):02d}"

    def reply(self, path: str, body: str) -> bytes:
        """The bytes for one request."""
        order, scanned = _ASKS.search(body), _SCANS.search(body)
        if order is None:
            self.strangers.append(path)
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        if scanned:
            self._chosen[order[1]] = self._kinds[int(scanned[1])]
        kind = self._chosen[order[1]]
        self.asked[kind] = self.asked.get(kind, 0) + 1
        return self.replies[kind].replace(b"@SN@", order[1].encode()).replace(b"@URL@", self.url.encode())

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        wallet = self

        class Handler(BaseHTTPRequestHandler):
            """One request, one reply, goodbye."""

            def do_GET(self) -> None:
                """Nobody has a reason to."""
                wallet.strangers.append(self.path)

            def do_POST(self) -> None:
                """Answer with harm."""
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.close_connection = True
                try:
                    self.wfile.write(wallet.reply(self.path, unquote_plus(body)))
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
