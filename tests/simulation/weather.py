"""What a seed's day is like: every fault has a name and a probability, and most days leave most of them out.

Days that leave faults out find what days with all of them hide: a lost reply shows a bug only where no later
fault mends it by chance.
"""

from bisect import bisect
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from random import Random
from typing import Any

SKEW_MS_MAX = 1_500
"""How far a process's clock may be off: what NTP keeps on a bad day."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Rates are probabilities per message, call or visit; times are seconds."""

    theme: str
    orders: int
    span_s: int
    gateways: int
    skews_ms: tuple[int, ...]
    worker_gap_s: int
    # -- the road to the wallets, per request
    refused: float
    request_lost: float
    request_late: float
    request_twice: float
    reply_lost: float
    reply_slow: float
    reply_garbled: float
    reply_crossed: float
    reply_forged: float
    # -- the wallets themselves
    outages: int
    outage_s: int
    callback_lost: float
    callback_twice: float
    callback_ack_lost: float
    callback_slow: float
    # -- our processes and their disk
    kills: int
    stops: int
    crash: float
    commit_slow: float
    read_slow: float
    storms: int
    # -- tills and merchants
    call_lost: float
    answer_lost: float
    deaf: float
    rude: float
    intruders: int
    # -- what customers do: script digits → weight, and how the shop behaves
    scripts: dict[str, float]
    habits: dict[str, float]
    qr: float
    alipay: float

    def said(self) -> str:
        """The day in one line: what is not zero."""
        shown = {one.name: getattr(self, one.name) for one in fields(self)}
        quiet = {"scripts", "habits"}
        return " ".join(
            f"{name}={_short(value)}" for name, value in shown.items() if value and name not in quiet
        )


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace(" ", "")


_RATES = {
    "refused": 0.05,
    "request_lost": 0.04,
    "request_late": 0.03,
    "request_twice": 0.03,
    "reply_lost": 0.05,
    "reply_slow": 0.05,
    "reply_garbled": 0.04,
    "reply_crossed": 0.04,
    "reply_forged": 0.03,
    "callback_lost": 0.4,
    "callback_twice": 0.2,
    "callback_ack_lost": 0.2,
    "callback_slow": 0.3,
    "crash": 0.01,
    "commit_slow": 0.02,
    "read_slow": 0.02,
    "call_lost": 0.05,
    "answer_lost": 0.06,
    "deaf": 0.2,
    "rude": 0.2,
}
"""The worst a day may be, per fault."""
_ON = 0.4
"""How often a fault is out at all on a day."""

_BAD_DISK = 0.06
"""How often the disk itself is bad: then every third write or read may stall, and old decisions land late."""

_SCRIPTS = {f"{number:02d}": 1.0 for number in range(1, 20)}
_HABITS = {
    "plain": 10.0,
    "refund": 4.0,
    "refund_parts": 1.0,
    "refund_parallel": 1.0,
    "refund_twice": 1.0,
    "refund_changed": 0.5,
    "refund_again": 1.0,
    "cancel_paid": 2.0,
    "cancel_refunded": 0.3,
    "cancel_at_once": 1.0,
    "cancel_race_refund": 0.7,
    "double_click": 1.0,
    "changed_content": 0.5,
    "hammer": 0.3,
    "walk_off": 1.0,
}
"""What a shop does with an order, and how often on an ordinary day; `tills.py` has them by these names."""


THEME_EVERY = 8
_THEMES: dict[str, dict[str, Any]] = {
    "doubt": {
        "request_late": 0.15,
        "request_lost": 0.1,
        "reply_lost": 0.1,
        "scripts": {"00": 1.0, "18": 2.0},
        "habits": {"refund_again": 3.0, "refund_parallel": 1.0, "cancel_paid": 1.0},
    },
    "outage": {
        "outages": 3,
        "outage_s": 400,
        "span_s": 30,
        "habits": {"plain": 3.0, "refund": 2.0, "cancel_at_once": 1.0, "cancel_paid": 1.0},
        "qr": 0.2,
    },
    "codes": {
        "qr": 0.8,
        "scripts": _SCRIPTS | {"00": 4.0},
        "request_lost": 0.1,
        "reply_lost": 0.1,
        "outages": 2,
        "outage_s": 40,
    },
    "disk": {"commit_slow": 0.2, "read_slow": 0.2, "storms": 3, "stops": 2, "gateways": 1, "skews_ms": (0,)},
    "race": {
        "gateways": 3,
        "skews_ms": (-900, 0, 900),
        "reply_slow": 0.15,
        "callback_slow": 0.5,
        "read_slow": 0.05,
        "commit_slow": 0.05,
        "habits": {
            "cancel_at_once": 3.0,
            "cancel_race_refund": 2.0,
            "double_click": 1.0,
            "refund_twice": 1.0,
        },
        "scripts": {"00": 4.0, "01": 2.0, "14": 1.0, "15": 1.0},
    },
}


class Wheel:
    """A wheel of fortune over names with weights."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._names = list(weights)
        self._edges = list(accumulate(weights.values()))

    def roll(self, dice: Random) -> str:
        """One of the names."""
        return self._names[bisect(self._edges, dice.random() * self._edges[-1])]


def forecast(seed: int, orders: int) -> Weather:
    """The weather of a seed."""
    dice = Random(f"weather/{seed}")
    gateways = dice.choice((1, 1, 2, 3))
    rates = {
        name: dice.random() ** 3 * worst if dice.random() < _ON else 0.0 for name, worst in _RATES.items()
    }
    odd = {digits: dice.random() * weight for digits, weight in _SCRIPTS.items() if dice.random() < 0.5}
    share = sum(odd.values()) or 1.0
    if dice.random() < _BAD_DISK:
        rates |= {"commit_slow": dice.random() / 3, "read_slow": dice.random() / 3}
    oddness = dice.random() ** 6
    scripts = {"00": 1.0} | {digits: weight / share * oddness for digits, weight in odd.items()}
    fuss = dice.random() ** 4
    habits = {name: weight * dice.random() * fuss for name, weight in _HABITS.items()}
    weather = Weather(
        orders=orders,
        theme="",
        span_s=dice.choice((10, 30, 120)),
        gateways=gateways,
        skews_ms=tuple(dice.randint(-SKEW_MS_MAX, SKEW_MS_MAX) for _ in range(gateways)),
        worker_gap_s=dice.choice((1, 1, 2, 3)),
        outages=dice.choice((0, 0, 0, 0, 1, 2)),
        outage_s=dice.choice((5, 10, 20, 40, 400)),
        kills=dice.choice((0, 0, 0, 2, 5)),
        stops=dice.choice((0, 0, 1, 2)),
        storms=dice.choice((0, 0, 0, 0, 0, 1, 2)),
        intruders=dice.choice((0, 0, 8, 30)),
        scripts=scripts,
        habits=habits | {"plain": _HABITS["plain"]},
        qr=dice.choice((0.0, 0.0, 0.03, 0.15)),
        alipay=dice.choice((0.1, 0.2, 0.4)),
        **rates,
    )
    return weather if seed % THEME_EVERY else _themed(weather, seed // THEME_EVERY)


def _themed(weather: Weather, number: int) -> Weather:
    """A day about one thing: what needs several rare events at once would hardly ever come by itself.

    Such days have fewer customers, because each of them takes so much more doing.
    """
    theme = list(_THEMES)[number % len(_THEMES)]
    return replace(weather, theme=theme, orders=max(weather.orders // 2, 1), **_THEMES[theme])
