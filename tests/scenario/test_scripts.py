"""Every sandbox script, both wallets, barcode and QR: the order ends right, and both books agree, unaided."""

import pytest

from paymux.domain.order import Order, OrderStatus
from tests.harness.town import Town, in_town

PAID, UNDONE = OrderStatus.PAID, OrderStatus.PAY_CANCELED

# script: (barcode, QR order)
ENDS = {
    "00": (PAID, PAID),
    "01": (PAID, PAID),
    "02": (UNDONE, UNDONE),
    "03": (UNDONE, UNDONE),
    "04": (UNDONE, UNDONE),
    "05": (PAID, PAID),
    "06": (PAID, PAID),
    "07": (PAID, PAID),
    "08": (UNDONE, UNDONE),
    "09": (PAID, PAID),
    "10": (UNDONE, UNDONE),
    "11": (PAID, PAID),
    "12": (UNDONE, UNDONE),
    "13": (PAID, PAID),
    "14": (UNDONE, UNDONE),
    "15": (UNDONE, UNDONE),
    "16": (PAID, PAID),
    "17": (PAID, PAID),
    "18": (PAID, PAID),
    "19": (PAID, PAID),
    "20": (PAID, PAID),
}
CASES = [(wallet, script) for wallet in ("alipay", "wechat") for script in ENDS]


@pytest.mark.parametrize(("wallet", "script"), CASES)
def test_barcode_pay_ends_right(wallet: str, script: str) -> None:
    """A barcode payment comes to the truth by itself."""

    async def story(town: Town) -> Order:
        order = await town.rest(await town.pay(wallet, script))
        await town.assert_books_agree()
        return order

    assert in_town(story).status is ENDS[script][0]


@pytest.mark.parametrize(("wallet", "script"), CASES)
def test_qr_order_ends_right(wallet: str, script: str) -> None:
    """A QR order comes to the truth by itself, paid or closed at the wallet."""

    async def story(town: Town) -> Order:
        order = await town.rest(await town.precreate(wallet, script))
        await town.assert_books_agree()
        return order

    assert in_town(story).status is ENDS[script][1]
