"""`paymux`: the commands, one file each."""

import asyncio
from pathlib import Path
from typing import IO, Any

import click

from paymux import __version__
from paymux.cli.admin import admin
from paymux.cli.demo import demo
from paymux.cli.doctor import doctor
from paymux.cli.explain import explain
from paymux.cli.provision import provision
from paymux.cli.sandbox import sandbox
from paymux.cli.serve import serve, worker
from paymux.cli.settings import settings
from paymux.domain.errors import PaymuxError


class Complaint(click.ClickException):
    """Something a human has to put right: one readable message, no traceback, exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message as the error carries it."""
        click.echo(f"paymux: {self.message}", file=file, err=file is None)


_INTERRUPTED = 130
"""What shells expect of a program that was ended by a second Ctrl-C."""


class _Commands(click.Group):
    """A group that turns explained errors into complaints."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except PaymuxError as error:
            raise Complaint(str(error)) from error
        except asyncio.CancelledError:
            ctx.exit(_INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="paymux %(version)s")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings file (default: $PAYMUX_CONFIG, else ./paymux.toml if there is one).",
)
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Run a self-hosted payment gateway: one payment API in, every wallet out."""
    ctx.obj = config


for _command in (demo, serve, worker, sandbox, provision, explain, doctor, admin, settings):
    main.add_command(_command)
