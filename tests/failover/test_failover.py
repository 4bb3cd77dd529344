"""The rig's eyes, without a server: what is lost, doubled or half written is seen, gaps are measured."""

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.failover.report import Report, Round, longest_gap, measured
from tests.failover.told import Line, Outcome, Recorder, Told, What, acknowledged
from tests.failover.verifier import Breach, Entry, Movement, weigh

SN, REFUND = "7000000000000001", "r7000000000000001-a"


def line(outcome: str, what: str, key: str, amount: int = 0, at_ms: int = 1) -> Line:
    """An answer to a writer."""
    return Line(at_ms=at_ms, outcome=Outcome(outcome), what=What(what), sn=SN, key=key, amount=amount)


TOLD = [
    line("done", "intent", SN),
    line("done", "paid", f"e{SN}", 100),
    line("done", "refund", REFUND, 60),
    line("refused", "refund", "r7000000000000001-b", 60),
]


def the_truth() -> Entry:
    """The books as they are when all of it was written once."""
    return Entry(
        version=3,
        paid=100,
        refunding=60,
        movements={SN: Movement("pay", "SUCCESS", 100), REFUND: Movement("refund", "CREATED", 60)},
        events=Counter([f"e{SN}", f"e{REFUND}"]),
        due={(REFUND, "refund")},
    )


def breaches(entry: Entry | None, told: list[Line] = TOLD) -> set[Breach]:
    """What is found in these books."""
    return {finding.breach for finding in weigh(told, {SN: entry} if entry else {})}


def test_the_truth_is_no_breach() -> None:
    """Also when a write that failed stands there, or does not."""
    assert breaches(the_truth()) == set()
    unknown = [line("unknown", "refund", key, 60) for key in (REFUND, "r7000000000000001-b")]
    assert breaches(the_truth(), [*TOLD[:2], *unknown]) == set()
    assert breaches(None, [line("unknown", "intent", SN)]) == set()


@pytest.mark.parametrize("what", TOLD[:3], ids=lambda one: one.what)
def test_a_lost_write_is_found(what: Line) -> None:
    """Each kind of change that was acknowledged is missed when it is not there."""
    assert breaches(None, [what]) == {Breach.LOST}


def test_a_write_lost_from_an_order_that_is_there_is_found() -> None:
    """The order stands there as it was before its last changes, which were acknowledged."""
    paid = Entry(
        version=2, paid=100, movements={SN: Movement("pay", "SUCCESS", 100)}, events=Counter([f"e{SN}"])
    )
    open_ = Entry(version=1, paid=0, due={(SN, "recover")})
    assert breaches(paid) == breaches(open_) == {Breach.LOST}
    assert [one.key for one in weigh(TOLD, {SN: paid})] == [REFUND]
    assert [one.key for one in weigh(TOLD, {SN: open_})] == [f"e{SN}", REFUND]


def test_a_refused_write_that_stands_there_is_found() -> None:
    """Who is told that somebody was faster judges anew: his first change must not take effect as well."""
    assert breaches(the_truth(), [line("refused", "refund", REFUND, 60)]) == {Breach.UNTRUE}


def test_a_doubled_write_is_found() -> None:
    """Money reserved twice for one refund, a version without a line of its own, a line written twice."""
    for field, value in {"refunding": 100, "version": 4}.items():
        entry = the_truth()
        setattr(entry, field, value)
        assert Breach.DOUBLED in breaches(entry)
    entry = the_truth()
    entry.events[f"e{SN}"] += 1
    assert Breach.DOUBLED in breaches(entry)


def test_more_back_than_was_paid_is_found() -> None:
    """Whoever reserved it."""
    entry = the_truth()
    entry.refunded = 60
    assert Breach.OVERDRAWN in breaches(entry)


def test_half_a_change_is_found() -> None:
    """A change of which one row is not there was no single commit."""
    whole = the_truth()
    for half in (
        msgspec.structs.replace(whole, movements={SN: whole.movements[SN]}),
        msgspec.structs.replace(whole, movements={REFUND: whole.movements[REFUND]}),
        msgspec.structs.replace(whole, due=set()),
        msgspec.structs.replace(whole, due=whole.due | {(SN, "recover")}),
        msgspec.structs.replace(whole, events=Counter([f"e{SN}"])),
        msgspec.structs.replace(whole, version=2),
    ):
        assert breaches(half, TOLD[:2]) & {Breach.HALF, Breach.DOUBLED}


def test_what_was_told_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    """Each answer is in the file at once; half a line is none yet."""
    path = tmp_path / "g.told"
    told = Told(path)
    assert told.look() == []
    with Recorder(path) as recorder:
        recorder.note(Outcome.DONE, What.INTENT, sn=SN, key=SN)
        recorder.note(Outcome.UNKNOWN, What.PAID, sn=SN, key=f"e{SN}", amount=100)
        first = [*told.look()]
        recorder.note(Outcome.DONE, What.READ, sn=SN, key=SN)
        with path.open("a") as file:
            file.write("123 done int")
        lines = told.look()
    assert [(one.outcome, one.what, one.amount) for one in lines] == [
        ("done", "intent", 0),
        ("unknown", "paid", 100),
        ("done", "read", 0),
    ]
    assert lines[:2] == first
    assert acknowledged(lines) == [lines[0].at_ms]
    assert (told.writes_since(lines[0].at_ms - 1), told.writes_since(lines[0].at_ms)) == (1, 0)


def test_the_longest_gap_is_measured() -> None:
    """From the last write before it, perhaps before the fault, to the first one after; the end counts."""
    assert longest_gap([80, 90, 150, 160, 400, 410], began_ms=100, until_ms=420) == (240, 400)
    assert longest_gap([80, 90, 350, 360, 400, 410], began_ms=100, until_ms=420) == (260, 350)
    assert longest_gap([80, 90], began_ms=100, until_ms=420) == (330, 420)
    assert longest_gap([], began_ms=100, until_ms=420) == (320, 420)


def test_the_gateway_that_was_hit_worst_counts() -> None:
    """One that is back at once does not hide another that is not."""
    one = [line("done", "intent", SN, at_ms=at) for at in (90, 200, 300)]
    other = [line("done", "intent", SN, at_ms=at) for at in (90, 4_200, 4_300)]
    other.append(line("refused", "read", SN, at_ms=4_400))
    found = measured("switchover", 1, [one, other], began_ms=100, until_ms=5_000)
    assert (found.outage_ms, found.back_ms, found.slowest_ms) == (3_900, 4_100, 4_700)
    assert (found.acknowledged, found.reads, found.stale) == (4, 1, 1)


def test_a_good_run_keeps_its_bounds_and_has_seen_a_loss() -> None:
    """A late round, a broken promise, or a proof in which nothing was lost: each alone is a failure."""
    report = Report(command="", rounds=[Round(fault="switchover", number=1, slowest_ms=4_900)], proof_lost=3)
    assert report.good
    assert "4.9 (4.9 to 4.9)" in report.table()
    assert not msgspec.structs.replace(report, proof_lost=0).good
    assert not msgspec.structs.replace(
        report, rounds=[Round(fault="switchover", number=1, slowest_ms=5_100)]
    ).good
    assert not msgspec.structs.replace(report, findings=[*weigh(TOLD, {})]).good
