"""Terminal keys under every order of activations, check-ins, lost answers, replays and haste (row 20).

A till that keeps the key it signed with until a new one has proved itself is never locked out; a key that was
rotated out opens nothing any more.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from paymux.wire.server import build_app
from tests.contract.upay.edge import CODE, VENDOR, Till, biz, open_vendor, refusal
from tests.harness.standing import StandingTown

Answer = dict[str, Any]


@dataclass
class Known:
    """A terminal as we believe it to be, and the key its till holds."""

    sn: str
    device: str
    current: str
    last: str = ""
    held: str = ""
    dead: set[str] = field(default_factory=set)
    on: bool = True

    @property
    def valid(self) -> set[str]:
        """The keys that open calls."""
        return {self.current, self.last} - {""}

    def rotated(self, new: str, *, signed_with: str) -> None:
        """A check-in signed with a valid key has been carried out."""
        self.dead |= self.valid | {self.current}
        self.current, self.last = new, signed_with
        self.dead -= self.valid


def one_after_another(checkins: Sequence[tuple[str, str]], valid: set[str]) -> bool:
    """Whether check-ins (signing key, new key) can be carried out in this order."""
    for signed_with, new in checkins:
        if signed_with not in valid:
            return False
        valid = {new, signed_with}
    return True


class KeyStory(RuleBasedStateMachine):
    """Whatever happens, each terminal's two keys are those of the last check-in that was carried out."""

    terminals = Bundle("terminals")

    @initialize(once=st.booleans())
    def open(self, *, once: bool) -> None:
        """A vendor with a code of many uses."""
        self.standing = StandingTown(seed=3)
        self.town = self.standing.town
        object.__setattr__(self.town.desk, "device_once", once)
        self.once = once
        self.app = build_app(self.town.desk)
        self.known: dict[str, Known] = {}
        self.devices: set[str] = set()
        self.standing.tell(open_vendor(self.town, uses=1_000))

    def tell(self, path: str, sn: str, key: str, **fields: object) -> Answer:
        """One call, signed with a key."""
        return self.standing.tell(Till(self.app, sn=sn, key=key).post(path, fields))

    def checkin(self, one: Known, key: str, *, device: str = "") -> Answer:
        """A check-in, signed with a key."""
        fields = {"terminal_sn": one.sn, "device_id": device or one.device}
        return self.tell("/terminal/checkin", one.sn, key, **fields)

    def opens(self, one: Known, key: str) -> bool:
        """Whether a call signed with the key is taken."""
        fields = {"terminal_sn": one.sn, "client_sn": "none"}
        answer = self.tell("/upay/v2/query", one.sn, key, **fields)
        assert answer["result_code"] == "200" or answer["error_code"] == "ILLEGAL_SIGN", answer
        return bool(answer["result_code"] == "200")

    # -- the rules

    @rule(target=terminals, device=st.sampled_from(["d1", "d2", "d3"]))
    def activate(self, device: str) -> Any:  # noqa: ANN401 - Hypothesis' own type
        """A device becomes a terminal; another one each time, or only once when that is set."""
        wish = {"code": CODE, "device_id": device}
        answer = self.tell("/terminal/activate", VENDOR.vendor_sn, VENDOR.vendor_key, **wish)
        if self.once and device in self.devices:
            assert refusal(answer)[1] == "ACTIVATE_FAIL"
            return multiple()
        self.devices.add(device)
        made = biz(answer)
        assert made["terminal_sn"] not in self.known
        key = made["terminal_key"]
        self.known[made["terminal_sn"]] = Known(made["terminal_sn"], device, current=key, held=key)
        return made["terminal_sn"]

    @rule(sn=terminals, lost=st.booleans())
    def check_in(self, sn: str, *, lost: bool) -> None:
        """The till checks in with the key it holds; when the answer is lost it goes on with that one."""
        one = self.known[sn]
        answer = self.checkin(one, one.held)
        if not one.on:
            assert refusal(answer)[1] == "INVALID_TERMINAL"
            return
        new, before = biz(answer)["terminal_key"], one.valid
        assert new not in before | one.dead
        one.rotated(new, signed_with=one.held)
        assert not any(self.opens(one, key) for key in before - one.valid), "what died is dead at once"
        if not lost:
            one.held = new

    @rule(sn=terminals, data=st.data(), path=st.sampled_from(["/terminal/checkin", "/upay/v2/query"]))
    def replay_an_old_key(self, sn: str, data: st.DataObject, path: str) -> None:
        """A key that was rotated out: ILLEGAL_SIGN, and nothing is rotated by it."""
        one = self.known[sn]
        if not one.dead:
            return
        key = data.draw(st.sampled_from(sorted(one.dead)))
        fields = {"terminal_sn": sn, "device_id": one.device, "client_sn": "none"}
        assert refusal(self.tell(path, sn, key, **fields))[1] == "ILLEGAL_SIGN"

    @rule(sn=terminals, count=st.integers(2, 5), data=st.data())
    def check_in_at_once(self, sn: str, count: int, data: st.DataObject) -> None:
        """Several check-ins at the same moment, signed with keys that are valid now."""
        one = self.known[sn]
        if not one.on:
            return
        keys = data.draw(st.lists(st.sampled_from(sorted(one.valid)), min_size=count, max_size=count))
        fields = {"terminal_sn": sn, "device_id": one.device}
        before = one.valid

        async def all_at_once() -> list[Answer]:
            tills = [Till(self.app, sn=sn, key=key) for key in keys]
            return await asyncio.gather(*(till.post("/terminal/checkin", fields) for till in tills))

        answers = self.standing.tell(all_at_once())
        given = [
            (key, biz(answer)["terminal_key"])
            for key, answer in zip(keys, answers, strict=True)
            if answer["result_code"] == "200"
        ]
        assert given, "nobody got a key"
        refused = [answer for answer in answers if answer["result_code"] != "200"]
        assert {refusal(answer)[1] for answer in refused} <= {"ILLEGAL_SIGN"}
        alive = [new for _, new in given if self.opens(one, new)]
        assert len(alive) == 1, "exactly one of the new keys is the current one"
        turns = [order for order in itertools.permutations(given) if one_after_another(order, before)]
        assert alive[0] in {order[-1][1] for order in turns}, "as if they had come one after the other"
        ((signed_with, current),) = [(key, new) for key, new in given if new in alive]
        one.dead |= before | {new for _, new in given}
        one.current, one.last = current, signed_with
        one.dead -= one.valid
        one.held = data.draw(st.sampled_from([current, signed_with]))

    @rule(sn=terminals)
    def check_in_on_another_device(self, sn: str) -> None:
        """Refused, and the keys stay as they are."""
        one = self.known[sn]
        assert refusal(self.checkin(one, one.held, device="elsewhere"))[1] == "INVALID_TERMINAL"

    @rule(sn=terminals, other=terminals)
    def speak_for_another(self, sn: str, other: str) -> None:
        """One terminal's key opens nothing of another's."""
        one, two = self.known[sn], self.known[other]
        if sn != other:
            assert refusal(self.checkin(two, one.held))[1] == "ILLEGAL_SIGN"
            answer = self.tell("/upay/v2/query", sn, one.held, terminal_sn=other, client_sn="none")
            assert refusal(answer)[1] == "INVALID_TERMINAL"

    @rule(sn=terminals)
    def use_the_vendors_key(self, sn: str) -> None:
        """Nor does the vendor's."""
        assert refusal(self.checkin(self.known[sn], VENDOR.vendor_key))[1] == "ILLEGAL_SIGN"

    @rule(sn=terminals)
    def switch(self, sn: str) -> None:
        """An operator switches a terminal off, or on again."""
        one = self.known[sn]
        one.on = not one.on

        async def switched() -> None:
            stored = await self.town.store.terminal(sn, fresh=True)
            assert stored is not None
            await self.town.store.put_people(terminals=(msgspec.structs.replace(stored, active=one.on),))

        self.standing.tell(switched())

    @rule()
    def restart(self) -> None:
        """The gateway process ends and another one takes over."""
        self.standing.tell(self.town.restart())
        object.__setattr__(self.town.desk, "device_once", self.once)
        self.app = build_app(self.town.desk)

    @rule(sn=consumes(terminals))
    def forget(self, sn: str) -> None:
        """A till is thrown away; its terminal lives on, and nobody uses it."""
        del self.known[sn]

    # -- what always holds

    @invariant()
    def nobody_is_locked_out(self) -> None:
        """The key a till holds is valid, and opens calls unless the terminal is switched off."""
        for one in getattr(self, "known", {}).values():
            assert one.held in one.valid
            for key in one.valid:
                if one.on:
                    assert self.opens(one, key)
                else:
                    fields = {"terminal_sn": one.sn, "client_sn": "none"}
                    answer = self.tell("/upay/v2/query", one.sn, key, **fields)
                    assert refusal(answer)[1] == "INVALID_TERMINAL"

    @invariant()
    def nothing_unforeseen(self) -> None:
        """No alarm."""
        if hasattr(self, "town"):
            assert self.town.alarms == []

    def teardown(self) -> None:
        """Close the town."""
        if hasattr(self, "standing"):
            with self.standing:
                pass


KeyStory.TestCase.settings = settings(
    max_examples=max(settings.default.max_examples // 4, 1), stateful_step_count=30
)
TestKeys = KeyStory.TestCase
