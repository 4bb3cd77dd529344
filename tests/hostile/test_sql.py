"""Texts that mean something to a database mean nothing to ours: stored and shown as they came (row 27)."""

import pytest

from paymux.wire.server import build_app
from tests.contract.upay.edge import CODE, VENDOR, Till, biz, open_vendor
from tests.harness.town import Town, in_town

PAYLOADS = (
    "' OR '1'='1",
    "' OR 1=1 --",
    '" OR ""="',
    "'; DROP TABLE orders; --",
    "'); DELETE FROM due; --",
    "x' UNION SELECT current_key_sealed FROM terminals --",
    "' || (SELECT sealed FROM seals) || '",
    "1; ATTACH DATABASE 'x' AS y",
    "%",
    "_",
    "*",
    "?",
    ":sn",
    "@sn",
    "$1",
    "\\",
    "\\'",
    "`orders`",
    "[orders]",
    "NULL",
    "0",
    "-1",
    "１' OR '１'='１",
    "ʼ OR 1=1",
    "/* */",
    "CASE WHEN 1 THEN 1 END",
)


def contents(town: Town) -> dict[str, int]:
    """How many rows each table has; the schema is a row of its own."""
    execute = town.store._writer.execute
    names = [row[0] for row in execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}  # noqa: S608 - our names


class Day:
    """One payload on its way through every text field of every call."""

    def __init__(self, town: Town, payload: str) -> None:
        self.town = town
        self.till = Till(build_app(town.desk))
        self.payload, self.short = payload, payload[:28]

    async def is_looked_up(self) -> None:
        """Named as an order or a refund: nobody has such a number, and nothing changes."""
        before = contents(self.town)
        for name in ("query", "cancel", "revoke", "refund"):
            for field in ("sn", "client_sn"):
                fields = {field: self.payload, "refund_request_no": self.short, "refund_amount": "1"}
                answer = biz(await self.till.call(name, **fields))
                assert answer["error_code"] == "UPAY_ORDER_NOT_EXISTS", (name, field)
        header = f"{self.payload.replace(' ', '')} {'0' * 32}".encode()
        stranger = await self.till.http("/upay/v2/query", b"{}", authorization=header.decode("latin-1"))
        assert stranger.json["result_code"] == "400"
        assert contents(self.town) == before

    async def is_stored(self) -> None:
        """Sold under: it comes back letter by letter, in the answer, from the database, and of a refund."""
        texts: dict[str, object] = dict.fromkeys(
            ("subject", "description", "reflect", "device_id"), self.payload
        )
        texts |= {"operator": self.short, "extended": {self.payload: self.payload}}
        sold = biz(await self.till.pay(f"13{1:014d}00", self.payload, **texts))
        again = biz(await self.till.call("query", client_sn=self.payload))
        for answer in (sold, again):
            shown = {answer["data"][name] for name in ("client_sn", "subject", "description", "reflect")}
            assert shown == {self.payload}
            assert answer["data"]["operator"] == self.short
        fields = {"refund_request_no": self.short, "refund_amount": "1", "operator": self.short}
        refund = biz(await self.till.call("refund", client_sn=self.payload, **fields))
        assert refund["result_code"] == "REFUND_SUCCESS"
        assert refund["data"]["client_tsn"] == f"{self.payload}-{self.short}"

    async def is_activated(self) -> None:
        """As a device, a name and a vendor's number it makes one terminal; as a code, none."""
        vendor = Till(self.till.app, sn=VENDOR.vendor_sn, key=VENDOR.vendor_key)
        wish = {"code": CODE, "device_id": self.payload, "client_sn": self.short, "name": self.payload}
        assert biz(await vendor.post("/terminal/activate", wish))["result_code"] == "ACTIVATE_SUCCESS"
        refused = await vendor.post("/terminal/activate", wish | {"code": self.payload})
        assert refused["error_code"] == "ACTIVATE_FAIL"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_through_every_text_field(payload: str) -> None:
    """What others have in the database stays as it is, and no more rows than were wished for are there."""

    async def story(town: Town) -> None:
        await open_vendor(town)
        day = Day(town, payload)
        await day.till.pay(f"13{0:014d}00", "VICTIM")
        before = contents(town)
        await day.is_looked_up()
        await day.is_stored()
        await day.is_activated()
        after = contents(town)
        assert after.keys() == before.keys()
        assert {
            name: after[name] - before[name] for name in ("orders", "terminals", "stores", "vendors")
        } == {
            "orders": 1,
            "terminals": 1,
            "stores": 0,
            "vendors": 0,
        }
        victim = biz(await day.till.call("query", client_sn="VICTIM"))["data"]
        assert (victim["order_status"], victim["net_amount"]) == ("PAID", "100")
        assert town.alarms == []
        await town.assert_books_agree()

    in_town(story)
