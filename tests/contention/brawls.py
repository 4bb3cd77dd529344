"""What tills do to one sale: several reach for its money at the same moment, through different processes.

Everything is decided by the dice beforehand: who asks for what, under which number, at which gateway.
"""

import random
from dataclasses import dataclass
from itertools import count

WALLETS = ("alipay", "wechat")
SCRIPTS = {"00": 84, "17": 10, "18": 6}
"""The sandbox's scripts: paid at once; and then refunds that are done and answered as if not, or refused."""
BRISK_SCRIPTS, BRISK_WALLETS = {"00": 1}, ("alipay",)
"""What is decided within seconds: WeChat reverses nothing in its first fifteen."""
KINDS = {"one number": 30, "too much": 30, "numbers twice": 22, "other amounts": 8, "cancel": 10}
"""One number at three tills; several numbers that exceed the payment together; both at once; one number for
two amounts; and refunds that cross a cancel."""
AGAIN_SHARE = 3
"""After one brawl in so many each number is asked for once more, at the other gateway, when all is over."""
_SLOW_SHARE = 2
_SLOW_MS = (5, 60)
"""In one brawl of two the wallet takes so long over its first answer: everybody is there meanwhile."""


@dataclass(frozen=True)
class Ask:
    """One call: a refund of fen under a number, or a cancel when there is no number. `till` makes it."""

    till: int
    number: str = ""
    amount: int = 0


@dataclass(frozen=True)
class Brawl:
    """One sale and all who fall upon it. `slow_ms`: how late the wallet's first answer is."""

    client_sn: str
    kind: str
    wallet: str
    script: str
    total: int
    asks: tuple[Ask, ...]
    again: bool
    slow_ms: int

    @property
    def numbers(self) -> set[str]:
        """The refunds that are asked for."""
        return {ask.number for ask in self.asks} - {""}


def brawls(refunds: int, *, tills: int, seed: str, brisk: bool = False) -> list[Brawl]:
    """Enough of them for so many refund numbers. Even and odd tills are at different gateways."""
    scripts, wallets = (BRISK_SCRIPTS, BRISK_WALLETS) if brisk else (SCRIPTS, WALLETS)
    dice = random.Random(f"{seed} brawls")
    found: list[Brawl] = []
    numbers = 0
    for which in count(1):
        if numbers >= refunds:
            return found
        found.append(_brawl(f"C{which:05d}", dice, tills, scripts, wallets))
        numbers += len(found[-1].numbers)
    raise AssertionError


def _brawl(
    client_sn: str, dice: random.Random, tills: int, scripts: dict[str, int], wallets: tuple[str, ...]
) -> Brawl:
    kind = _draw(dice, KINDS)
    total = dice.randint(100, 50_000)
    wishes = _wishes(kind, total, dice)
    first = dice.randrange(tills)
    asks = [Ask((first + place) % tills, *wish) for place, wish in enumerate(wishes)]
    return Brawl(
        client_sn=client_sn,
        kind=kind,
        wallet=dice.choice(wallets),
        script=_draw(dice, scripts),
        total=total,
        asks=tuple(asks),
        again=kind != "cancel" and not dice.randrange(AGAIN_SHARE),
        slow_ms=0 if dice.randrange(_SLOW_SHARE) else dice.randint(*_SLOW_MS),
    )


def _wishes(kind: str, total: int, dice: random.Random) -> list[tuple[str, int]]:
    """Numbers and amounts, in the order in which they are sent: neighbours go to different gateways."""
    amount = dice.randint(1, total)
    if kind == "one number":
        return [("R1", amount)] * 3
    if kind == "other amounts":
        return [("R1", amount), ("R1", total - amount or total)] * 2
    if kind == "cancel":
        part = max(1, amount // 2)
        wishes = [("R1", part), ("", 0), ("R2", part)]
        dice.shuffle(wishes)
        return wishes
    size = dice.randint(3, 5)
    wishes = [(f"R{n}", dice.randint(total // size + 1, total)) for n in range(1, size + 1)]
    return wishes * 2 if kind == "numbers twice" else wishes


def _draw(dice: random.Random, weights: dict[str, int]) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]
