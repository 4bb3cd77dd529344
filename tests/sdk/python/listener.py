"""A merchant's own little web server: takes one callback and says the word the wallet waits for."""

import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Listener:
    """Listens on a free loopback port; `url` is what to put into notify_url."""

    def __init__(self, answer: bytes) -> None:
        """Answer every POST with `answer`."""
        heard: queue.Queue[bytes] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.put(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Stay silent: standard output belongs to the story."""

        self._heard = heard
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/notify"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hear(self) -> bytes:
        """Wait for a callback; at most ten seconds."""
        return self._heard.get(timeout=10)
