"""A client as plain as the system gives it: what is sent is what is given, byte by byte."""

import json
import socket
import struct
from contextlib import suppress
from typing import Protocol, Self

from tests.harness.live import Json, Shop, sign


class Listening(Protocol):
    """Whatever has an address."""

    @property
    def url(self) -> str:
        """Where it listens."""


class Wire:
    """One connection; `wait_s` is how long nothing may come before the test fails."""

    def __init__(self, server: Listening, *, wait_s: int = 20) -> None:
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=wait_s)
        self._wait_s = wait_s
        self._file = self._socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """Send; a gateway that has heard enough may hang up meanwhile."""
        with suppress(ConnectionError):
            for part in parts:
                self._socket.sendall(part)

    def answer(self) -> Json:
        """Read one reply: HTTP 200 and a JSON object in the protocol's envelope."""
        status, headers, content = self.reply()
        assert status == 200
        assert headers["content-type"] == "application/json; charset=utf-8"
        found = json.loads(content)
        assert {"result_code", "error_code", "error_message"} <= found.keys()
        assert isinstance(found, dict)
        return found

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        """Read status, headers and body of whatever comes next."""
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while (line := self._file.readline().decode().rstrip("\r\n")) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers, self._file.read(int(headers.get("content-length", "0")))

    def hush(self) -> None:
        """Say that nothing more will be sent."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Arrange that the connection ends as if the cable was cut, not as if the talk was over."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def has_heard(self) -> bool:
        """Whether there is something to read: an answer, or the end."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        finally:
            self._socket.settimeout(self._wait_s)
        return True

    def goodbye(self) -> bytes:
        """Whatever still comes until the other side hangs up, which it must."""
        with suppress(ConnectionError):
            return self._file.read()
        return b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()


def request(
    content: bytes, shop: Shop, *, path: str = "/upay/v2/pay", method: str = "POST", **headers: str | None
) -> bytes:
    """A whole request, signed by the shop's terminal; a header given as None is left out."""
    given: dict[str, str | None] = {
        "Host": "gateway",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Authorization": f"{shop.terminal_sn} {sign(content, shop.terminal_key)}",
    }
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
    return f"{method} {path} HTTP/1.1\r\n".encode() + "\r\n".join([*lines, "", ""]).encode() + content
