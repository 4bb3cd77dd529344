"""Which channels there are, what they say about themselves, and the words their tables may use."""

import re

import msgspec
import pytest

from paymux.channels.alipay import codes as alipay_codes
from paymux.channels.beijing import ms_of_packed, ms_of_spaced, packed_time, spaced_time
from paymux.channels.contract import Channel
from paymux.channels.registry import CHANNELS, open_channel
from paymux.channels.verdicts import Verdict, read_table
from paymux.channels.wechat import codes as wechat_codes
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.order import UndoBy
from paymux.domain.payways import PAYWAY_NAMES, SubPayway
from tests.unit.channels import makers

REFUSALS = {
    "EXPIRED_BARCODE", "INVALID_BARCODE", "INSUFFICIENT_FUND", "BUYER_OVER_DAILY_LIMIT",
    "BUYER_OVER_TRANSACTION_LIMIT", "SELLER_OVER_DAILY_LIMIT", "SELLER_BALANCE_NOT_ENOUGH",
    "REFUND_AMT_NOT_EQUAL_TOTAL", "TRADE_NOT_EXIST", "TRADE_FAILED", "REFUND_REQUEST_CONFLICT",
}  # fmt: skip


def test_each_account_opens_its_channel() -> None:
    """The account's channel name decides."""
    for account in (makers.alipay_account(), makers.wechat_account()):
        assert type(open_channel(account)) is CHANNELS[account.channel]


def test_an_unknown_channel_is_named() -> None:
    """The error says which account, which channel, and which there are."""
    account = msgspec.structs.replace(makers.wechat_account(), channel="pigeon")
    with pytest.raises(ConfigurationBroken, match=r"w: there is no channel 'pigeon'.*alipay, wechat"):
        open_channel(account)


@pytest.mark.parametrize("name", CHANNELS)
def test_capabilities_are_whole(name: str) -> None:
    """Every sub_payway can be undone, every wait is a positive number that does not shrink."""
    channel: type[Channel] = CHANNELS[name]
    facts = channel.capabilities
    assert facts.name == name
    assert set(facts.payways) <= set(PAYWAY_NAMES)
    assert set(facts.undo) == set(facts.sub_payways) == set(SubPayway)
    for gaps in (
        facts.schedule.unknown_gaps_s,
        facts.schedule.paying_gaps_s,
        facts.schedule.undo_gaps_s,
        facts.schedule.refund_gaps_s,
    ):
        assert gaps
        assert gaps[0] > 0
        assert list(gaps) == sorted(gaps)


def test_how_orders_are_taken_back() -> None:
    """Alipay cancels any order; WeChat reverses barcode pays and closes the others."""
    assert set(CHANNELS["alipay"].capabilities.undo.values()) == {UndoBy.REVERSE}
    undo = CHANNELS["wechat"].capabilities.undo
    assert [one for one, by in undo.items() if by == UndoBy.REVERSE] == [SubPayway.BARCODE]


@pytest.mark.parametrize("codes", [alipay_codes, wechat_codes], ids=["alipay", "wechat"])
def test_tables_use_known_words(codes: object) -> None:
    """A verdict is one of the house's words or an error code a client knows (upay-v2.md §8.3)."""
    tables = [value for name, value in vars(codes).items() if name.isupper() and isinstance(value, dict)]
    verdicts = {
        str(word) for table in tables if table is not alipay_codes.PAYMENT_TYPES for word in table.values()
    }
    assert verdicts <= {str(one) for one in Verdict} | REFUSALS


def test_a_code_is_decided_once() -> None:
    """The same code on two rows of a table is a mistake of ours."""
    with pytest.raises(AssertionError, match="CODE is decided twice"):
        read_table("EXISTS CODE\nUNKNOWN CODE")


def test_beijing_time() -> None:
    """Both spellings, both ways; what is no time is 0."""
    assert spaced_time(1_700_000_005_999) == "2023-11-15 06:13:25"
    assert packed_time(1_700_000_005_999) == "20231115061325"
    assert ms_of_spaced("2023-11-15 06:13:25") == ms_of_packed("20231115061325") == 1_700_000_005_000
    for odd in ("", "2023-11-15", "2023-13-15 06:13:25", "x" * 14, "x" * 19, "20231115T061325"):
        assert ms_of_spaced(odd) == ms_of_packed(odd) == 0
    assert re.fullmatch(r"\d{14}", packed_time(0))
