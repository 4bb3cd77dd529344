"""What tills and merchants were told, and whether it stayed true (M4, M7, M8, M9).

Answers travel and overtake one another, so nothing is concluded from the order in which they come: only from
what was ever told about a sale, and from how it ended.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.simulation.checkers.court import Court
from tests.simulation.checkers.kept import STANDS, UNDONE, Kept

Key = tuple[str, str]
"""(merchant, client_sn)."""


@dataclass(slots=True)
class Told:
    """All that was ever told about one sale."""

    sns: set[str] = field(default_factory=set)
    statuses: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    totals: set[str] = field(default_factory=set)
    refunds: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """refund_request_no → {(result_code, tsn)}."""
    last_net: str = ""
    last_status: str = ""


class ToldChecker:
    """Listens to every answer and every notification."""

    def __init__(self, court: Court, kept: Kept) -> None:
        self.sales: dict[Key, Told] = {}
        self.answers = 0
        self.storms = False
        """Whether the disk is (or was just now) full: only then may a call fail with a system error."""
        self._court = court
        self._kept = kept
        self._of_sn: dict[str, Key] = {}
        self._heard: dict[str, list[str]] = {}

    # -- tills

    def answer(
        self, merchant: str, client_sn: str, name: str, answer: dict[str, Any], *, number: str, asked: int
    ) -> None:
        """A till reads an answer to its call about a sale.

        `number`: the refund_request_no it named, `asked`: the fen it asked for; "" and 0 where it named none.
        """
        self.answers += 1
        key = (merchant, client_sn)
        if answer["result_code"] != "200":
            self._call_failed(key, name, answer)
            return
        biz = answer["biz_response"]
        told = self.sales.setdefault(key, Told())
        result, data = biz["result_code"], biz.get("data")
        if data is None:
            return
        self._is_mine(key, told, data)
        told.statuses.add(data["order_status"])
        told.last_status, told.last_net = data["order_status"], data["net_amount"]
        if name == "refund" and number:
            told.refunds.setdefault(number, set()).add((result, data["tsn"]))
            self._as_asked(key, result, data["tsn"], asked)
        elif result != "SUCCESS":
            told.results.add(result)
            other = asked and result != "FAIL" and data["total_amount"] != str(asked)
            self._court.holds(
                not other, "M7", key, "asked for {} fen, {} of {}", asked, result, data["total_amount"]
            )
        self._stays_true(key, told)

    def _call_failed(self, key: Key, name: str, answer: dict[str, Any]) -> None:
        fair = self.storms and answer["error_code"] == "UNKNOWN_SYSTEM_ERROR"
        fair = fair or answer["error_code"] == "MAINTENANCE_INPROGRESS"
        self._court.holds(fair, "M10", key, "{} failed: {}", name, answer)

    def _is_mine(self, key: Key, told: Told, data: dict[str, Any]) -> None:
        sn = data["sn"]
        told.sns.add(sn)
        told.totals.add(data["total_amount"])
        holds = self._court.holds
        holds(
            data["client_sn"] == key[1], "M9", key, "asked for {}, was told of {}", key[1], data["client_sn"]
        )
        holds(
            len(told.sns) == 1, "M2", (*key, *told.sns), "one client_sn, several orders: {}", sorted(told.sns)
        )
        holds(len(told.totals) == 1, "M7", (*key, sn), "one sale, several amounts: {}", sorted(told.totals))
        first = self._of_sn.setdefault(sn, key)
        holds(first == key, "M9", (*key, sn), "{} is {}'s", sn, first)

    def _as_asked(self, key: Key, result: str, tsn: str, asked: int) -> None:
        movement = self._kept.movements.get(tsn)
        if result in {"REFUND_SUCCESS", "REFUND_IN_PROGRESS"} and movement is not None:
            same = movement.amount == asked
            self._court.holds(
                same, "M7", key, "asked to refund {} fen, {} of {}", asked, result, movement.amount
            )

    def _stays_true(self, key: Key, told: Told) -> None:
        was_paid, was_undone = told.statuses & STANDS, told.statuses & UNDONE
        gone = "PAY_CANCELED" in was_undone and bool(was_paid)
        self._court.holds(not gone, "M4", (*key, *told.sns), "was told {}", sorted(told.statuses))

    # -- merchants' servers

    def hears(self, body: str, data: dict[str, Any], *, accepted: bool) -> None:
        """A merchant's server takes in a notification, and says thanks or not."""
        sn = data["sn"]
        order = self._kept.orders.get(sn)
        if order is None:
            self._court.breach("M8", (sn,), f"is told of {sn}, which is not durable")
            return
        written = self._kept.notes.get(sn, [])
        if body not in written:
            self._court.breach("M8", (sn,), "is told what was never written")
            return
        heard = self._heard.setdefault(sn, [])
        before = written[: written.index(body)]
        skipped = [one for one in before if one not in heard]
        self._court.holds(
            not skipped, "M8", (sn,), "hears of {} before {} earlier", data["order_status"], len(skipped)
        )
        if accepted:
            heard.append(body)

    # -- at the end

    def end(self, cancels: set[Key], loud: set[str]) -> None:
        """Hold everything that was told against how it ended; `loud`: the sn alarms were raised for."""
        for key, told in self.sales.items():
            for sn in told.sns:
                order = self._kept.orders.get(sn)
                if order is None:
                    self._court.breach("M5", (*key, sn), "was told of an order that is not durable")
                    continue
                self._ended(key, told, order.status, sn, canceled=key in cancels, loud=sn in loud)
        for sn, written in self._kept.notes.items():
            missing = [body for body in written if body not in self._heard.get(sn, ())]
            self._court.holds(
                not missing, "M8", (sn,), "{} of {} notifications unheard", len(missing), len(written)
            )

    def _ended(self, key: Key, told: Told, status: str, sn: str, *, canceled: bool, loud: bool) -> None:
        holds, numbers = self._court.holds, (*key, sn)
        undone, stood = status in UNDONE, bool(told.statuses & STANDS)
        holds(
            not (stood and undone and not canceled and not loud), "M4", numbers, "told paid, ended {}", status
        )
        holds(not (told.statuses & UNDONE and not undone), "M4", numbers, "told undone, ended {}", status)
        if told.last_status == status:
            order = self._kept.orders[sn]
            net = 0 if undone else order.total - order.refunded
            same = told.last_net == str(net)
            holds(same, "BOOKS", numbers, "told a net of {}, it is {}", told.last_net, net)
        done = {result for result in told.results if result in {"CANCEL_SUCCESS", "CANCEL_ABORT_SUCCESS"}}
        holds(undone or not done, "M4", numbers, "told {}, ended {}", done, status)
        holds(undone or "PAY_FAIL" not in told.results, "M4", numbers, "told PAY_FAIL, ended {}", status)
        for number, answers in told.refunds.items():
            self._refund_ended(numbers, number, answers)

    def _refund_ended(self, numbers: tuple[str, ...], number: str, answers: set[tuple[str, str]]) -> None:
        results = {result for result, _ in answers}
        tsns = {tsn for result, tsn in answers if result in {"REFUND_SUCCESS", "REFUND_IN_PROGRESS"}}
        self._court.holds(len(tsns) <= 1, "M7", numbers, "refund {} has several numbers: {}", number, tsns)
        for tsn in tsns:
            movement = self._kept.movements.get(tsn)
            if movement is None or movement.number != number:
                self._court.breach("M7", numbers, f"refund {number} was told to be {tsn}: {movement}")
                continue
            kept = movement.status == "SUCCESS" or "REFUND_SUCCESS" not in results
            self._court.holds(kept, "M4", numbers, "refund {} was told done, is {}", number, movement)
