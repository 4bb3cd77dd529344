"""The sandbox's memory on disk: keys and books, so that a restarted demo goes on where it was.

Files are readable by their owner only; a new snapshot replaces the old one in one step.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from paymux.sandbox.keys import KeyRing, make_keys
from paymux.sandbox.records import Event, Movement, Notice, Person, Trade

if TYPE_CHECKING:
    from pathlib import Path

    from paymux.sandbox.world import World

KEYS_FILE = "sandbox-keys.json"
BOOKS_FILE = "sandbox-books.json"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a world is made from."""

    seed: int
    keys: KeyRing


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a world remembers."""

    ahead_ms: int
    sequence: int
    dice: tuple[int, tuple[int, ...], float | None]
    people: list[Person]
    buyers: dict[str, int]
    sellers: dict[str, int]
    journal: list[Movement]
    trades: list[Trade]
    events: list[Event]
    notices: dict[str, Notice]
    remaps: dict[str, str]
    amount_scripts: dict[str, bool]


def load_origin(folder: Path, seed: int) -> Origin:
    """Return the stored seed and keys, or make and store new ones."""
    path = folder / KEYS_FILE
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Origin)
    folder.mkdir(parents=True, exist_ok=True)
    origin = Origin(seed=seed, keys=make_keys())
    _write(path, msgspec.json.encode(origin))
    return origin


def save(world: World, folder: Path, *, ahead_ms: int) -> None:
    """Store the books; `ahead_ms` is how far the sandbox's time was moved."""
    bank = world.bank
    snapshot = Snapshot(
        ahead_ms=max(ahead_ms, 0),
        sequence=bank.sequence,
        dice=bank.random.getstate(),
        people=list(bank.people.values()),
        buyers=bank.ledger.buyers,
        sellers=bank.ledger.sellers,
        journal=bank.ledger.journal,
        trades=list(bank.trades.values()),
        events=bank.agenda.events(),
        notices=world.post.notices,
        remaps=bank.scripts.remaps,
        amount_scripts=bank.amount_scripts,
    )
    _write(folder / BOOKS_FILE, msgspec.json.encode(snapshot))


def load(world: World, folder: Path) -> None:
    """Let the world remember what was stored, if anything was."""
    path = folder / BOOKS_FILE
    if not path.exists():
        return
    snapshot = msgspec.json.decode(path.read_bytes(), type=Snapshot)
    bank = world.bank
    bank.clock.move(advance_ms=snapshot.ahead_ms)
    bank.sequence = snapshot.sequence
    bank.random.setstate(snapshot.dice)
    bank.people = {person.name: person for person in snapshot.people}
    bank.ledger.buyers, bank.ledger.sellers = snapshot.buyers, snapshot.sellers
    bank.ledger.journal = snapshot.journal
    for trade in snapshot.trades:
        bank.adopt(trade)
    bank.agenda.restore(snapshot.events)
    bank.scripts.remaps = snapshot.remaps
    bank.amount_scripts |= {
        name: on for name, on in snapshot.amount_scripts.items() if name in bank.amount_scripts
    }
    world.post.notices = snapshot.notices
    world.post.resume()


def _write(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    draft.replace(path)
