"""People who want what is not theirs: forged and replayed callbacks, foreign orders, wrong keys (M6, M9)."""

import asyncio
from collections.abc import Mapping
from random import Random

import msgspec

from paymux.domain.people import Terminal, bucket_of
from tests.simulation.checkers.court import Court
from tests.simulation.checkers.kept import Kept
from tests.simulation.history import History
from tests.simulation.process import Door, Process
from tests.simulation.roads import Roads, forged
from tests.simulation.tills import signed

_CALLS = ("query", "cancel", "revoke", "refund")


class Intruder:
    """Knows the protocol, sees what is on the road, and has a till of his own at another merchant."""

    def __init__(
        self,
        *,
        terminals: list[Terminal],
        kept: Kept,
        roads: Roads,
        door: Door,
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
        head, _, rest = genuine.url.partition("/callbacks/")
        if rest.partition("/")[0] != order.account or "/refunds/" in rest:
            return
        url = f"{head}/callbacks/{order.account}/{bucket_of(order.merchant)}/{order.merchant}/{order.sn}"
        body = forged(genuine.body, order.sn, order.total)
        if body != genuine.body:
            await self._post(process, url, genuine.headers, body)

    async def _replay_callback(self, process: Process) -> None:
        """Send an old callback once more."""
        if self._roads.callbacks:
            old = self._dice.choice(self._roads.callbacks)
            await self._post(process, old.url, old.headers, old.body)

    async def _post(self, process: Process, url: str, headers: Mapping[str, str], body: bytes) -> None:
        about = url.rpartition("/")[2]
        self._history.note("intruder", "calls back", about, body)
        answer = await process.called_back(url, headers, body)
        self._history.note("intruder", "is answered", about, str(answer))

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
        headers = signed(terminal.terminal_sn, key, body)
        self._history.note("intruder", f"→ {name}", fields["sn"], body)
        raw = await process.call("POST", f"/upay/v2/{name}", headers, body)
        if raw is None:
            return None
        self._history.note("intruder", f"← {name}", fields["sn"], raw[1])
        answer: dict[str, dict[str, object]] = msgspec.json.decode(raw[1])
        return None if answer["result_code"] == "500" else answer
