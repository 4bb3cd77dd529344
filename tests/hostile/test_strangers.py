"""What a stranger learns from trying: the same path for all, constant time where bytes are secret (row 22).

That secrets are compared by `hmac.compare_digest` alone is a rule of the house (`tests/house/test_code.py`);
times are not measured here, for a busy machine would decide the test.
"""

import hmac
from typing import Any

import pytest
from msgspec import structs

from paymux.domain.people import Terminal, Vendor
from paymux.wire.server import build_app
from paymux.wire.upay_v2 import signing
from tests.contract.upay.edge import KEY, VENDOR, Till, open_vendor, refusal, sign
from tests.harness.town import TERMINAL, Town, in_town

BODY = b'{"terminal_sn":"1","client_sn":"C1"}'
WRONG = "0" * 32
STRANGER, ROTATED, OFF = "100000000000000009", "100000000000000003", "100000000000000004"


class Trace:
    """What is done to decide about a signature, step by step."""

    def __init__(self, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self._decided = False
        store = town.store
        terminal, vendor, compare = store.terminal, store.vendor, hmac.compare_digest

        async def traced_terminal(sn: str, *, fresh: bool = False) -> Terminal | None:
            self._note(f"terminal, fresh={fresh}")
            return await terminal(sn, fresh=fresh)

        async def traced_vendor(sn: str) -> Vendor | None:
            self._note("vendor")
            return await vendor(sn)

        def traced_compare(one: Any, other: Any) -> bool:  # noqa: ANN401 - as hmac's
            assert type(one) is type(other) is bytes
            self._note(f"compare {len(one)} with {len(other)}")
            return compare(one, other)

        def body_digest(body: bytes) -> str:
            self._decided = True  # the first thing that is done for the log, after the decision
            return sign(body, "")

        monkeypatch.setattr(store, "terminal", traced_terminal)
        monkeypatch.setattr(store, "vendor", traced_vendor)
        monkeypatch.setattr(signing.hmac, "compare_digest", traced_compare)
        monkeypatch.setattr("paymux.wire.upay_v2.routes.body_digest", body_digest)

    def _note(self, step: str) -> None:
        if not self._decided:
            self.steps.append(step)

    async def of(self, till: Till, path: str, authorization: str) -> list[str]:
        """The steps of one call."""
        self.steps, self._decided = [], False
        answer = await till.post_bytes(path, BODY, authorization=authorization)
        assert refusal(answer)[1] in {"ILLEGAL_SIGN", "TERMINAL_NOT_EXISTS"}
        return self.steps


async def people(town: Town) -> None:
    """A vendor, a terminal that has checked in, and one that is switched off."""
    await open_vendor(town)
    rotated = structs.replace(town.terminal, terminal_sn=ROTATED, current_key="1" * 32, last_key="2" * 32)
    off = structs.replace(town.terminal, terminal_sn=OFF, active=False)
    await town.store.put_people(terminals=(rotated, off))


@pytest.mark.parametrize(
    "path", ["/upay/v2/pay", "/upay/v2/query", "/terminal/checkin", "/terminal/uploadLog"]
)
def test_an_unknown_terminal_takes_the_same_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Whether the terminal exists, is switched off or is nobody's: the same look-ups and comparisons."""

    async def story(town: Town) -> None:
        await people(town)
        till = Till(build_app(town.desk))
        trace = Trace(town, monkeypatch)
        known = await trace.of(till, path, f"{TERMINAL} {WRONG}")
        assert [step for step in known if step.startswith("compare")] == ["compare 32 with 32"] * 2
        assert await trace.of(till, path, f"{STRANGER} {WRONG}") == known
        assert await trace.of(till, path, f"{OFF} {WRONG}") == known
        assert await trace.of(till, path, f"{'9' * 1000} {WRONG}") == known
        rotated = await trace.of(till, path, f"{ROTATED} {WRONG}")
        assert rotated.count("compare 32 with 32") == 4, "both keys, whichever is right"

    in_town(story)


def test_an_unknown_vendor_takes_the_same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for activations; a vendor learns only ILLEGAL_SIGN, known or not."""

    async def story(town: Town) -> None:
        await people(town)
        till = Till(build_app(town.desk))
        trace = Trace(town, monkeypatch)
        known = await trace.of(till, "/terminal/activate", f"{VENDOR.vendor_sn} {WRONG}")
        assert "compare 32 with 32" in known
        for nobody in ("91800099", TERMINAL, "x", "9" * 1000):
            assert await trace.of(till, "/terminal/activate", f"{nobody} {WRONG}") == known

    in_town(story)


@pytest.mark.parametrize("at", [0, 1, 15, 16, 30, 31])
def test_a_sign_that_is_nearly_right(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """However much of a guess is right, the same is done with it, and the answer is the same."""

    async def story(town: Town) -> None:
        await people(town)
        till = Till(build_app(town.desk))
        right = sign(BODY, KEY)
        wrong = right[:at] + ("0" if right[at] != "0" else "1") + right[at + 1 :]
        trace = Trace(town, monkeypatch)
        for sn in (TERMINAL, OFF):
            assert await trace.of(till, "/upay/v2/pay", f"{sn} {wrong}") == await trace.of(
                till, "/upay/v2/pay", f"{sn} {WRONG}"
            )

    in_town(story)


def test_every_key_is_tried() -> None:
    """The first key that matches does not end the trying: nothing tells which one it was."""
    seen: list[str] = []

    class Keys:
        def __iter__(self) -> Any:  # noqa: ANN401 - an iterator
            for key in ("a" * 32, KEY, "b" * 32):
                seen.append(key)
                yield key

    claim = signing.Claim("1", sign(BODY, "a" * 32).encode())
    assert signing.matching_key(claim, BODY, Keys()) == "a" * 32
    assert len(seen) == 3


def test_switched_off_is_said_only_to_who_proves_himself() -> None:
    """INVALID_TERMINAL needs the right signature; without it a terminal that is off looks like any other."""

    async def story(town: Town) -> None:
        await people(town)
        till = Till(build_app(town.desk), sn=OFF)
        assert refusal(await till.call("query", client_sn="C1"))[1] == "INVALID_TERMINAL"
        till.key = WRONG[:-1] + "1"
        assert refusal(await till.call("query", client_sn="C1"))[1] == "ILLEGAL_SIGN"

    in_town(story)
