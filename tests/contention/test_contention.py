"""The fight in short ends well, without a guard it does not, and the checkers can tell the two apart."""

import asyncio
from pathlib import Path

import pytest

from tests.contention.brawls import KINDS, Ask, brawls
from tests.contention.claims import contend_for_claims
from tests.contention.claims_checker import Checker, kept
from tests.contention.findings import Breach
from tests.contention.journal import Holding, Journal, Line, What, read
from tests.contention.planted import PLANTED
from tests.contention.refunds import contend_for_refunds
from tests.contention.refunds_checker import Account, Movement, Told, crossings, weigh
from tests.contention.witness import Deed, Seen
from tests.harness.planted import planted_text, told_of
from tests.harness.postgres import private_server

SEED = "2718"
QUICK = ("claims-by-key",)
"""The fault everybody makes first; the others take their time."""


@pytest.mark.postgres
def test_a_short_fight_for_work(tmp_path: Path) -> None:
    """Four processes, the same rows in view: each row goes to one, and nobody touches what is another's."""
    with private_server() as server:
        figures = asyncio.run(contend_for_claims(server, tmp_path, rows=2_000, seed=SEED))
    assert figures.findings == []
    assert figures.long.claims == figures.long.rows == 2_000
    assert figures.short.claims > figures.short.rows == 400
    assert figures.long.contended
    assert figures.short.reclaimed
    assert figures.short.too_late


@pytest.mark.postgres
def test_a_short_fight_for_money(tmp_path: Path) -> None:
    """Two gateways, six tills, all upon each sale at once: once per number, never more than was paid."""
    with private_server() as server:
        figures = asyncio.run(contend_for_refunds(server, tmp_path, refunds=150, seed=SEED, brisk=True))
    tally = figures.tally
    assert figures.findings == []
    assert tally.refunds >= tally.contended >= 75
    assert tally.joined
    assert tally.refused
    assert 0 < tally.fen_back < tally.fen_paid


@pytest.mark.postgres
@pytest.mark.parametrize(
    "fault", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in sorted({*PLANTED} - {*QUICK}))]
)
def test_a_planted_fault_is_caught(fault: str) -> None:
    """The same program, against a gateway without one of its guards, says what comes of it."""
    caught, code, told = told_of("tests.contention", fault, seed=SEED, breaches=Breach)
    assert code == 1, told
    assert caught & PLANTED[fault].caught_as, told


@pytest.mark.parametrize("fault", sorted(PLANTED))
def test_each_fault_has_its_place(fault: str, tmp_path: Path) -> None:
    """A fault whose place is gone would test nothing."""
    planted_text(PLANTED[fault], tmp_path)


# ---------------------------------------------------------------- work

ROW = ("7", "recover")
FIRST, SECOND = Holding(*ROW, 100, 1), Holding(*ROW, 100, 2)


def line(what: What, holding: Holding, at_ms: int, *, lease_ms: int = 50) -> Line:
    """What a claimant noted of a call that took two ms."""
    return Line(what, holding, at_ms - 1, at_ms + 1, at_ms, at_ms + lease_ms)


def seen(at_ms: int, before: tuple[int, int, int] | None, after: tuple[int, int, int] | None) -> Seen:
    """What the witness noted; (run_at_ms, attempts, lease_ms) before and after."""
    gone = (None, None, None)
    return Seen(at_ms, *ROW, *(before or gone), *(after or gone))


LAID = seen(90, None, (100, 0, 0))
CLAIMED = seen(110, (100, 0, 0), (100, 1, 160))
TAKEN_OVER = seen(170, (100, 1, 160), (100, 2, 220))
DROPPED = seen(180, (100, 2, 220), None)
HISTORY = [LAID, CLAIMED, TAKEN_OVER, DROPPED]
TOLD = [
    line(What.CLAIMED, FIRST, 110),
    line(What.MISSED, FIRST, 110),
    line(What.CLAIMED, SECOND, 170),
    line(What.DROP, FIRST, 175),
    line(What.DROP, SECOND, 180),
]


def breaches(told: list[Line], history: list[Seen]) -> set[Breach]:
    """What is found."""
    return {finding.breach for finding in Checker([told], history).findings()}


def test_the_truth_about_work_is_no_breach() -> None:
    """A row is claimed, runs out, is taken over and done; the first owner comes too late, without effect."""
    checker = Checker([TOLD[:3], TOLD[3:]], HISTORY)
    assert list(checker.findings()) == []
    tally = checker.tally
    assert (tally.rows, tally.claims, tally.contended, tally.missed) == (1, 2, 1, 1)
    assert (tally.reclaimed, tally.too_late) == (1, 1)
    assert [one.deed for one in HISTORY] == [Deed.LAID, Deed.CLAIMED, Deed.CLAIMED, Deed.DROPPED]


def test_a_claim_that_two_were_given_is_found() -> None:
    """And one that nobody was told of, one that never happened, and one amid another's lease."""
    assert breaches([*TOLD, TOLD[0]], HISTORY) == {Breach.DOUBLED}
    assert Breach.LOST in breaches(TOLD[1:], HISTORY)
    assert breaches([*TOLD, line(What.CLAIMED, Holding(*ROW, 100, 3), 190)], HISTORY) == {Breach.UNTRUE}
    early = [*TOLD[:2], line(What.CLAIMED, SECOND, 159), *TOLD[3:]]
    assert breaches(early, HISTORY) == {Breach.DOUBLED}


def test_a_row_that_another_touches_is_found() -> None:
    """Nobody who owned it then asked for it; or it was no change that anybody ever makes."""
    assert Breach.ROBBED in breaches(TOLD[:4], HISTORY)
    stolen = [*HISTORY[:3], seen(175, (100, 2, 220), None)]
    assert Breach.ROBBED in breaches(TOLD, stolen)
    put_off = [*HISTORY[:3], seen(175, (100, 2, 220), (300, 2, 0))]
    assert Breach.ROBBED in breaches(TOLD, put_off)
    assert Breach.UPSET in breaches(TOLD, [*HISTORY[:3], seen(175, (100, 2, 220), (100, 4, 230))])


def test_a_deed_of_the_owner_that_does_nothing_is_found() -> None:
    """He dropped it in time, and it is there yet."""
    assert breaches([*TOLD, line(What.PUT_OFF, FIRST, 120)], HISTORY) == {Breach.LOST}


def test_whoever_commits_a_change_may_put_a_row_anew() -> None:
    """Then turns are counted from one again, and whoever had it is too late."""
    anew = seen(120, (100, 1, 160), (130, 0, 0))
    again = seen(140, (130, 0, 0), (130, 1, 200))
    told = [TOLD[0], line(What.CLAIMED, Holding(*ROW, 130, 1), 140), line(What.DROP, FIRST, 145)]
    checker = Checker([told], [LAID, CLAIMED, anew, again])
    assert list(checker.findings()) == []
    assert checker.tally.too_late == 1


def test_under_long_leases_a_row_is_claimed_once() -> None:
    """Neither twice nor never."""
    assert list(kept([LAID, CLAIMED])) == []
    assert [finding.breach for finding in kept(HISTORY)] == [Breach.DOUBLED]
    assert [finding.breach for finding in kept([LAID])] == [Breach.LOST]


def test_a_journal_can_be_read(tmp_path: Path) -> None:
    """What was noted is what is read."""
    with Journal(tmp_path / "one.journal") as journal:
        for one in TOLD:
            journal.note(one)
    assert list(read(tmp_path / "one.journal")) == TOLD


# ---------------------------------------------------------------- money


def told(result: str, *, number: str = "R1", amount: int = 60, tsn: str = "t1", error: str = "") -> Told:
    """A till's call and its answer."""
    ask = Ask(0, number, amount)
    return Told(ask=ask, sent_ms=1, answered_ms=9, result=result, error=error, tsn=tsn)


NOT_ENOUGH = told("FAIL", number="R2", tsn="", error="REFUNDABLE_AMOUNT_NOT_ENOUGH")


def an_account(**changes: object) -> Account:
    """100 fen were paid, 60 went back, and another 60 were refused."""
    fields: dict[str, object] = {
        "told": [told("REFUND_SUCCESS"), told("REFUND_SUCCESS"), NOT_ENOUGH],
        "status": "PARTIAL_REFUNDED",
        "paid": 100,
        "refunded": 60,
        "movements": [Movement("t1", "refund", "SUCCESS", 60, "R1")],
        "taken": [100],
        "back": [("t1", 60)],
    }
    return Account(sn="7", total=100, **(fields | changes))  # type: ignore[arg-type]  # the test's own words


def found(**changes: object) -> set[Breach]:
    """What is found in such an account."""
    return {finding.breach for finding in weigh([an_account(**changes)])}


def test_the_truth_about_money_is_no_breach() -> None:
    """Also when a cancel won, and the payment was reversed."""
    assert found() == set()
    canceled = [
        told("CANCEL_SUCCESS", number="", amount=0),
        told("FAIL", error="UPAY_REFUND_INVALID_ORDER_STATE"),
    ]
    undo = [Movement("t2", "cancel", "SUCCESS", 100, "")]
    assert (
        found(told=canceled, status="CANCELED", paid=0, refunded=0, movements=undo, back=[("", 100)]) == set()
    )


def test_money_that_moves_twice_is_found() -> None:
    """One number made twice at the wallet, a payment taken twice, more back than was paid."""
    assert Breach.DOUBLED in found(back=[("t1", 60), ("t1", 60)])
    assert Breach.DOUBLED in found(taken=[100, 100])
    twice = [Movement("t1", "refund", "SUCCESS", 60, "R1"), Movement("t2", "refund", "SUCCESS", 60, "R1")]
    assert Breach.DOUBLED in found(movements=twice, back=[("t1", 60), ("t2", 60)], refunded=120)


def test_books_that_differ_are_found() -> None:
    """By a fen, by a reservation that nobody freed, by a movement that only one side knows."""
    assert found(refunded=59) == {Breach.UNBALANCED}
    assert found(refunding=1) == {Breach.UNBALANCED}
    assert Breach.UNBALANCED in found(back=[])
    assert Breach.UNBALANCED in found(movements=[])
    assert Breach.UNBALANCED in found(status="CANCELED", paid=0, refunded=0)


def test_a_till_that_was_told_untruly_is_found() -> None:
    """Done that was not done, refused that was, another's number, a cancel that kept money."""
    assert found(told=[told("REFUND_SUCCESS", tsn="t9")]) == {Breach.LOST}
    assert found(told=[told("REFUND_SUCCESS", amount=61)]) == {Breach.LOST}
    assert found(told=[told("FAIL", error="REFUNDABLE_AMOUNT_NOT_ENOUGH")]) == {Breach.UNTRUE}
    assert found(told=[told("REFUND_SUCCESS"), told("REFUND_IN_PROGRESS", tsn="t9")]) == {Breach.UNTRUE}
    conflict = told("FAIL", error="REFUND_REQUEST_CONFLICT")
    assert found(told=[told("REFUND_SUCCESS"), conflict]) == {Breach.UNTRUE}
    assert Breach.UNTRUE in found(told=[told("CANCEL_SUCCESS", number="", amount=0)])
    assert Breach.UPSET in found(told=[told("none")])


def test_only_calls_that_meet_what_is_under_way_elsewhere_cross() -> None:
    """Not those that come before or after it, and not those at the same gateway."""

    def call(till: int, sent_ms: int, answered_ms: int) -> Told:
        return Told(ask=Ask(till, "R1", 1), sent_ms=sent_ms, answered_ms=answered_ms, result="REFUND_SUCCESS")

    calls = [call(1, 1, 5), call(1, 1, 3), call(3, 9, 12), call(2, 4, 6), call(5, 7, 9)]
    refund = Movement("t1", "refund", "SUCCESS", 60, "R1", till=0, began_ms=3, ended_ms=9)
    assert list(crossings(an_account(told=calls, movements=[refund]))) == [
        (calls[0], refund),
        (calls[4], refund),
    ]
    still = Movement("t1", "refund", "CREATED", 60, "R1", till=0, began_ms=3)
    assert [told for told, _ in crossings(an_account(told=calls, movements=[still]))] == [
        calls[0],
        calls[2],
        calls[4],
    ]


def test_the_plan_repeats_and_holds_every_kind() -> None:
    """Same seed, same fights; each has neighbours at different gateways, and some exceed the payment."""
    plans = brawls(400, tills=6, seed=SEED)
    assert plans == brawls(400, tills=6, seed=SEED)
    assert plans[0] != brawls(400, tills=6, seed="another")[0]
    assert {one.kind for one in plans} == KINDS.keys()
    assert 400 <= sum(len(one.numbers) for one in plans) < 405
    for one in plans:
        assert {ask.till % 2 for ask in one.asks} == {0, 1}
        amounts = {ask.number: ask.amount for ask in one.asks}
        if one.kind in {"too much", "numbers twice"}:
            assert sum(amounts.values()) > one.total >= max(amounts.values())
