"""Which channels there are. Adding one is one folder and one line here."""

from paymux.channels.alipay.channel import Alipay
from paymux.channels.contract import Channel
from paymux.channels.wechat.channel import WeChat
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.people import Account

CHANNELS: dict[str, type[Channel]] = {"alipay": Alipay, "wechat": WeChat}


def open_channel(account: Account) -> Channel:
    """Return the account's channel with its keys parsed; raises `ConfigurationBroken` naming the fault."""
    channel = CHANNELS.get(account.channel)
    if channel is None:
        known = ", ".join(CHANNELS)
        raise ConfigurationBroken(
            f"account {account.name}: there is no channel {account.channel!r}; there are: {known}"
        )
    return channel(account)
