"""The harness in short: a dozen deaths end well, a planted fault does not, and its parts can tell the two."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.harness.live import Wallets
from tests.harness.planted import planted_text, told_of
from tests.kill9.canaries import leaks
from tests.kill9.deaths import KINDS
from tests.kill9.memory import Breach, Memory, Sale, Told
from tests.kill9.plan import FIRST, ON_A_SERVER, ON_A_SMALL_DISK, WEIGHTS, Plan, eras
from tests.kill9.planted import PLANTED
from tests.kill9.run import Options, Run
from tests.kill9.tills import Story, Tills, Unanswered

SEED = "2718"
QUICK = ("answers-before-commit", "sends-before-intent", "logs-barcodes")
"""Faults that show within seconds; the others take their time."""


def test_a_dozen_deaths(tmp_path: Path) -> None:
    """Real processes die in start-up, in migration and under load; no promise is broken."""
    kinds = (*dict.fromkeys(FIRST), *(kind for kind in WEIGHTS if kind not in {"migration", "locked"}))
    options = Options(cycles=12, seed=SEED, command="", kinds=kinds, brisk=True, folder=tmp_path)
    report = asyncio.run(Run(options).run())
    assert report.findings == []
    assert report.cycles >= 12
    assert report.kinds["migration"] + report.kinds["start-up"] >= 3
    assert len(report.kinds) >= 5
    assert report.orders >= 20
    assert report.answers > report.orders


@pytest.mark.parametrize(
    "fault", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in sorted({*PLANTED} - {*QUICK}))]
)
def test_a_planted_fault_is_caught(fault: str) -> None:
    """The same program, against a gateway with a known fault, says which promise it breaks."""
    caught, code, told = told_of("tests.kill9", fault, seed=SEED, breaches=Breach)
    assert code == 1, told
    assert caught & PLANTED[fault].caught_as, told


@pytest.mark.parametrize("fault", sorted(PLANTED))
def test_each_fault_has_its_place(fault: str, tmp_path: Path) -> None:
    """A fault whose place is gone would test nothing; each changes one file, and that is still Python."""
    compile(planted_text(PLANTED[fault], tmp_path), fault, "exec")


def test_the_plan_repeats() -> None:
    """Same seed, same deaths; every kind of death that is drawn exists, and each comes."""
    one, other = Plan(SEED), Plan(SEED)
    drawn = [one.next(small_disk=small) for small in (False, True) for _ in range(300)]
    assert drawn == [other.next(small_disk=small) for small in (False, True) for _ in range(300)]
    assert {death.kind for death in drawn} == WEIGHTS.keys() | ON_A_SMALL_DISK.keys()
    on_a_server = Plan(SEED, tuple(ON_A_SERVER))
    drawn += [on_a_server.next(small_disk=False) for _ in range(300)]
    assert {death.kind for death in drawn} | {*FIRST} == KINDS.keys()
    assert Plan("another").next(small_disk=False) != drawn[0]


def test_eras_share_the_deaths() -> None:
    """No death is forgotten; small disks and codes that take minutes have their eras."""
    plans = list(eras(1_030, era_cycles=50, small_disks=True))
    assert sum(plan.cycles for plan in plans) == 1_030
    assert [plan.number for plan in plans if plan.small_disk] == [3, 13]
    assert [plan.wechat_qr for plan in plans] == [True] * 14 + [False] * 7
    assert not any(plan.small_disk for plan in eras(1_000, era_cycles=50, small_disks=False))


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (Told(sn="7"), {"sn": "8"}),
        (Told(sn="7", held=True), {"order_status": "CREATED"}),
        (Told(sn="7", held=True), {"order_status": "PAY_CANCELED", "net_amount": "0"}),
        (Told(sn="7", held=True), {"order_status": "CANCELED", "net_amount": "0"}),
        (Told(sn="7", undone="CANCELED"), {"order_status": "PAID"}),
        (Told(sn="7", held=True, net=60), {"order_status": "PAID", "net_amount": "100"}),
        (Told(), {"total_amount": "99"}),
    ],
)
def test_a_shop_remembers(told: Told, shown: dict[str, str]) -> None:
    """Each way in which an answer can break what was told before is seen; and the plain truth is none."""
    truth = {"sn": "7", "client_sn": "C", "total_amount": "100", "net_amount": "100", "order_status": "PAID"}
    sale = Sale(client_sn="C", shop=0, wallet="alipay", qr=False, script="00", total=100, born=0)
    assert list(sale.hear(truth, Told(sn="7"))) == []
    assert len(list(sale.hear(truth | shown, told))) >= 1


def test_a_till_is_patient_with_lives_that_are_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives up on a gateway that lives and does not answer, not on one that is killed again and again."""
    monkeypatch.setattr("tests.kill9.tills.GIVE_UP_S", 0.2)
    memory = Memory()
    tills = Tills([], memory, Wallets(None, ""), ear_url="", seed="")  # type: ignore[arg-type]  # nobody is called
    sale = Sale(client_sn="C", shop=0, wallet="alipay", qr=False, script="00", total=100, born=0)
    story = Story(tills, None, sale, random.Random(1))  # type: ignore[arg-type]  # as above
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        if len(memory.deaths) < 10:
            memory.died(["load"])
        raise Unanswered

    with pytest.raises(Unanswered):
        asyncio.run(story._surely(call))
    assert len(memory.deaths) == 10
    assert calls > 10


def test_a_leak_is_found() -> None:
    """Short keys as they are, long ones in pieces however they are wrapped, barcodes as a whole only."""
    body = "".join(chr(65 + n * 7 % 26) for n in range(640))
    pem = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(body[at : at + 64] for at in range(0, 640, 64))
    code = "281234567890123405"
    for data in (b"..short-key..", pem.encode(), body.encode(), f"1{code}2".encode(), body[64:130].encode()):
        assert list(leaks(data, {"short-key", pem}, {code}))
    assert not list(leaks(b"28************05 and 281234567890123406", {"short-key", pem}, {code}))
