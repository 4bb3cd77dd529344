"""People who want what is not theirs: forged and replayed callbacks, foreign orders, wrong keys (M6, M9)."""

import asyncio
import hashlib
import zlib
from collections.abc import Callable
from random import Random

import msgspec

from paymux.domain.people import Terminal
from tests.simulation.checkers.court import Court
from tests.simulation.checkers.kept import Kept
from tests.simulation.history import History
from tests.simulation.process import Process
from tests.simulation.roads import Roads, forged

_CALLS = ("query", "cancel", "revoke", "refund")


class Intruder:
    """Knows the protocol, sees what is on the road, and has a till of his own at another merchant."""

    def __init__(
        self,
        *,
        terminals: list[Terminal],
        kept: Kept,
        roads: Roads,
        door: Callable[[], Process | None],
        court: Court,
        history: History,
        dice: Random,
    ) -> None:
        self.attempts = 0
        self._terminals = terminals
        self._kept = kept
        self._roads = roads
        self._door = door
        self._court = court
        self._history = history
        self._dice = dice

    async def try_once(self, at_s: float) -> None:
        """Wait for a good moment, and do one bad thing."""
        await asyncio.sleep(at_s)
        process = self._door()
        if process is None or not self._kept.orders:
            return
        self.attempts += 1
        trick = self._dice.choice(
            (self._forge_callback, self._replay_callback, self._foreign, self._wrong_key)
        )
        await trick(process)

    async def _forge_callback(self, process: Process) -> None:
        """Tell the gateway that an order is paid, in a wallet's words and without its key."""
        if not self._roads.callbacks:
            return
        genuine = self._dice.choice(self._roads.callbacks)
        order = self._kept.orders[self._dice.choice(list(self._kept.orders))]
        account = genuine.url.partition("/callbacks/")[2].partition("/")[0]
        if account != order.account or "/refunds/" in genuine.url:
            return
        head, _, _ = genuine.url.partition("/callbacks/")
        rest = genuine.url[len(head) :].split("/")
        rest[3:5] = [str(_bucket(order.merchant)), order.merchant]
        path = "/".join([*rest[:5], order.sn])
        body = forged(genuine.body, order.sn, order.total)
        if body != genuine.body:
            await self._post(process, path, dict(genuine.headers), body, order.sn)

    async def _replay_callback(self, process: Process) -> None:
        """Send an old callback once more."""
        if self._roads.callbacks:
            old = self._dice.choice(self._roads.callbacks)
            path = "/" + old.url.partition("//")[2].partition("/")[2]
            await self._post(process, path, dict(old.headers), old.body, old.url.rpartition("/")[2])

    async def _post(self, process: Process, path: str, headers: dict[str, str], body: bytes, sn: str) -> None:
        self._history.note("intruder", "calls back", sn, body)
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = await process.call("POST", path, raw, body)
        self._history.note("intruder", "is answered", sn, str(answer))

    async def _foreign(self, process: Process) -> None:
        """Ask about, cancel or refund somebody else's order, with a key of one's own."""
        order = self._kept.orders[self._dice.choice(list(self._kept.orders))]
        mine = next(one for one in self._terminals if one.merchant_sn != order.merchant)
        fields = {"terminal_sn": mine.terminal_sn, "sn": order.sn}
        answer = await self._call(process, mine, mine.current_key, fields)
        seen = answer is not None and "data" in answer.get("biz_response", {})
        self._court.holds(
            not seen, "M9", (order.sn,), "{} is shown a foreign order: {}", mine.merchant_sn, answer
        )

    async def _wrong_key(self, process: Process) -> None:
        """Sign with a guessed key, or send another body than was signed."""
        order = self._kept.orders[self._dice.choice(list(self._kept.orders))]
        theirs = next(one for one in self._terminals if one.merchant_sn == order.merchant)
        fields = {"terminal_sn": theirs.terminal_sn, "sn": order.sn}
        answer = await self._call(process, theirs, "0" * 32, fields)
        refused = answer is None or answer["error_code"] == "ILLEGAL_SIGN"
        self._court.holds(refused, "M9", (order.sn,), "a wrong key was answered {}", answer)

    async def _call(
        self, process: Process, terminal: Terminal, key: str, fields: dict[str, str]
    ) -> dict[str, dict[str, object]] | None:
        name = self._dice.choice(_CALLS)
        if name == "refund":
            fields |= {"refund_request_no": f"X{self.attempts}", "refund_amount": "1", "operator": "eve"}
        body = msgspec.json.encode(fields)
        sign = hashlib.md5(body + key.encode()).hexdigest()  # noqa: S324 - the protocol prescribes MD5
        headers = [(b"authorization", f"{terminal.terminal_sn} {sign}".encode())]
        self._history.note("intruder", f"→ {name}", fields["sn"], body)
        raw = await process.call("POST", f"/upay/v2/{name}", headers, body)
        if raw is None:
            return None
        self._history.note("intruder", f"← {name}", fields["sn"], raw[1])
        answer: dict[str, dict[str, object]] = msgspec.json.decode(raw[1])
        return None if answer["result_code"] == "500" else answer


def _bucket(merchant: str) -> int:
    return zlib.crc32(merchant.encode()) % 64
