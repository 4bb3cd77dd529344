"""Nine ways in which public clients write JSON do the whole round: what is signed is bytes, not meaning."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.harness.live import (
    APP_ID,
    VENDOR_KEY,
    VENDOR_SN,
    Gateway,
    Json,
    Till,
    barcode,
    biz,
    open_http,
    shop,
)

SUBJECT = "茉莉花茶 A&B/杯"
OPTIONAL = ("description", "reflect", "extended", "goods_details", "longitude", "latitude", "sdk_version")


def with_integers(fields: Json) -> Json:
    """Numbers as numbers wherever their text would come back the same."""
    return {
        name: int(value) if value.isdecimal() and str(int(value)) == value else value
        for name, value in fields.items()
    }


STYLES: dict[str, Callable[[Json], str]] = {
    "compact": lambda fields: json.dumps(fields, separators=(",", ":")),
    "blanks after commas and colons": lambda fields: json.dumps(fields, separators=(", ", ": ")),
    "indented": lambda fields: json.dumps(fields, ensure_ascii=False, indent=4) + "\r\n",
    "raw UTF-8": lambda fields: json.dumps(fields, ensure_ascii=False, separators=(",", ":")),
    "\\u escapes": lambda fields: json.dumps(fields, ensure_ascii=True),
    "escaped slashes": lambda fields: json.dumps(fields).replace("/", "\\/"),
    "escaped ampersands": lambda fields: json.dumps(fields, ensure_ascii=False).replace("&", "\\u0026"),
    "integers": lambda fields: json.dumps(with_integers(fields), ensure_ascii=False),
    "nulls and empty texts": lambda fields: json.dumps(
        {name: None if at % 2 else "" for at, name in enumerate(OPTIONAL)} | fields
    ),
}


class Client:
    """A public client: everything it sends is written in its style."""

    def __init__(self, till: Till, style: str) -> None:
        self.till = till
        self._write = STYLES[style]

    async def send(self, path: str, fields: Json) -> Json:
        """Send a call; return its biz_response."""
        return biz(await self.till.post(path, self._write(fields).encode()))

    async def order(self, name: str, **fields: str) -> Json:
        """Send an order call."""
        return await self.send(f"/upay/v2/{name}", {"terminal_sn": self.till.sn, **fields})


@pytest.mark.parametrize("style", STYLES)
def test_the_whole_round(gateway: Gateway, style: str) -> None:
    """Activate, check in, pay, query, refund, cancel: each is understood as it was meant."""

    async def story() -> None:
        async with open_http() as http:
            vendor = Client(Till(http, gateway.url, sn=VENDOR_SN, key=VENDOR_KEY), style)
            number = list(STYLES).index(style)
            client = Client(Till(http, gateway.url, **await activated(vendor, f"9000{number}")), style)
            await checked_in(client, f"9000{number}")
            await sells(client, f"70{number}")

    asyncio.run(story())


async def activated(vendor: Client, device_id: str) -> dict[str, str]:
    """Activate a device at shop 2; return sn and key."""
    wish = {"app_id": APP_ID, "code": shop(2).code, "device_id": device_id, "name": "A&B/收银台"}
    made = await vendor.send("/terminal/activate", wish)
    assert made["result_code"] == "ACTIVATE_SUCCESS"
    return {"sn": made["terminal_sn"], "key": made["terminal_key"]}


async def checked_in(client: Client, device_id: str) -> None:
    """Check in, and use the new key from now on."""
    fields = {"terminal_sn": client.till.sn, "device_id": device_id}
    made = await client.send("/terminal/checkin", fields)
    assert made["terminal_key"] != client.till.key
    client.till.key = made["terminal_key"]


async def sells(client: Client, number: str) -> None:
    """Sell, ask, give a part back; sell again and undo it."""
    sale = {"total_amount": "120", "dynamic_id": barcode("alipay", 1, "00"), "subject": SUBJECT}
    paid = await client.order("pay", client_sn=number, operator="收银员", **sale)
    assert (paid["result_code"], paid["data"]["subject"]) == ("PAY_SUCCESS", SUBJECT)
    assert (paid["data"]["client_sn"], paid["data"]["operator"]) == (number, "收银员")
    asked = await client.order("query", client_sn=number)
    assert asked["data"]["order_status"] == "PAID"
    back = await client.order(
        "refund", sn=paid["data"]["sn"], refund_request_no="1", refund_amount="20", operator="店长"
    )
    assert (back["result_code"], back["data"]["net_amount"]) == ("REFUND_SUCCESS", "100")
    again = await client.order("pay", client_sn=f"{number}9", **sale)
    assert again["result_code"] == "PAY_SUCCESS"
    undone = await client.order("cancel", client_sn=f"{number}9")
    assert (undone["result_code"], undone["data"]["order_status"]) == ("CANCEL_SUCCESS", "CANCELED")
