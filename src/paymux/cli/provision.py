"""`paymux provision FILE`: merchants, stores, terminals and channel accounts with given numbers and keys."""

import asyncio
from pathlib import Path

import click

from paymux.app import open_memory
from paymux.cli.provisioning import Count
from paymux.cli.provisioning import provision as put
from paymux.cli.provisioning_file import read_file
from paymux.config import Settings, load


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--reset-keys", is_flag=True, help="Give known terminals the keys of the file again.")
@click.pass_obj
def provision(config: Path | None, file: Path, *, reset_keys: bool) -> None:
    """Put what FILE asks for into the database; running it again changes nothing (docs/provisioning.md).

    A running gateway sees it within seconds.
    """
    counts = asyncio.run(_provision(load(config), file, reset_keys=reset_keys))
    for count in counts:
        if count.new or count.changed or count.same:
            click.echo(f"{count.table:<16} {count.new} new, {count.changed} changed, {count.same} as before")
    for note in (note for count in counts for note in count.notes):
        click.echo(f"note: {note}")


async def _provision(settings: Settings, file: Path, *, reset_keys: bool) -> list[Count]:
    tables = read_file(file)
    async with open_memory(settings) as memory:
        return await put(memory, tables, where=str(file), folder=file.parent, reset_keys=reset_keys)
