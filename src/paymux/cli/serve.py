"""`paymux serve`: the gateway. `paymux worker`: what time must not forget, without the edges."""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click
import uvloop
from structlog.typing import FilteringBoundLogger

from paymux.app import (
    listen,
    notify_key_of,
    open_gateway,
    open_memory,
    open_workshop,
    stopping_on_signals,
    url_of,
)
from paymux.app import serve as answer
from paymux.cli.crew import Crew, Member
from paymux.config import Settings, load
from paymux.domain.errors import ConfigurationBroken
from paymux.kit.logs import setup_logs

_WORKERS_MAX = 64
_SYSTEMD_FD = 3
"""Where systemd puts the first socket it hands over (sd_listen_fds(3))."""


@click.command()
@click.option("--host", help="Address to listen on (setting listen_host).")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on (setting listen_port).")
@click.option(
    "--workers",
    type=click.IntRange(1, _WORKERS_MAX),
    default=1,
    show_default=True,
    help="Processes that share the work, on a PostgreSQL database.",
)
@click.option("--database", help="Where orders are kept (setting database).")
@click.option("--member", metavar="LINE,LISTENER", hidden=True, help="Sockets of the crew we belong to.")
@click.pass_obj
def serve(
    config: Path | None,
    host: str | None,
    port: int | None,
    workers: int,
    database: str | None,
    member: str | None,
) -> None:
    """Serve the gateway until Ctrl-C or SIGTERM.

    With several workers SIGHUP replaces them one by one: new ones, of the paymux that is installed by then,
    are ready before old ones finish their calls and go. A socket handed over by systemd is listened on.
    """
    given = {"listen_host": host, "listen_port": port, "database": database}
    settings = load(config, overrides={name: value for name, value in given.items() if value is not None})
    log = setup_logs(level=settings.log_level, form=settings.log_format)
    if member is not None:
        _run(_member(settings, log, Member(member)))
    elif workers == 1:
        _run(_serve(settings, log))
    else:
        _run(_crew(settings, log, config, workers, database))


@click.command()
@click.option("--database", help="Where orders are kept (setting database).")
@click.pass_obj
def worker(config: Path | None, database: str | None) -> None:
    """Work off what is due, without serving tills, until Ctrl-C or SIGTERM.

    Recovery, refunds and notifications of gateways on the same PostgreSQL database: any number may help.
    """
    given = {"database": database} if database is not None else {}
    settings = load(config, overrides=given)
    log = setup_logs(level=settings.log_level, form=settings.log_format)
    _run(_work(settings, log))


async def _serve(settings: Settings, log: FilteringBoundLogger) -> None:
    listener = _listener(settings)
    with stopping_on_signals() as stop:
        await _answer(settings, log, listener, stop, on_ready=lambda: None)
    log.info("gateway.stopped")


async def _member(settings: Settings, log: FilteringBoundLogger, member: Member) -> None:
    """One of several processes: it stops when its crew says so, or is gone."""
    log = log.bind(process=os.getpid())
    with stopping_on_signals() as stop:
        async with member.listening(stop):
            await _answer(settings, log, member.listener, stop, on_ready=member.say_ready)
    log.info("gateway.stopped")


async def _answer(
    settings: Settings,
    log: FilteringBoundLogger,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[], None],
) -> None:
    url = url_of(listener)

    def ready() -> None:
        log.info("gateway.ready", url=url)
        on_ready()

    async with open_gateway(settings, log=log, base_url=url) as gateway:
        await answer(
            gateway.asgi,
            listener,
            stop=stop,
            shutdown_s=settings.shutdown_s,
            on_ready=ready,
            on_closing=gateway.desk.bell.close,
        )


async def _crew(
    settings: Settings, log: FilteringBoundLogger, config: Path | None, workers: int, database: str | None
) -> None:
    if settings.database_path is not None:
        raise ConfigurationBroken(
            f"{workers} workers cannot share a database file: set database = postgresql://…, or use one"
        )
    async with open_memory(settings):  # keys are made and migrations done once, not by all at the same time
        notify_key_of(settings)
    listener = _listener(settings)
    words = [] if config is None else ["--config", str(config)]
    crew = Crew(
        [*words, "serve"],
        listener,
        environment=os.environ | ({} if database is None else {"PAYMUX_DATABASE": database}),
        size=workers,
        patience_s=settings.shutdown_s + 5,
        log=log,
    )
    with stopping_on_signals() as stop:
        await crew.work(stop)
    log.info("crew.stopped")


async def _work(settings: Settings, log: FilteringBoundLogger) -> None:
    with stopping_on_signals() as stop:
        async with open_workshop(settings, log=log, notify_key=notify_key_of(settings)) as desk:
            log.info("worker.ready")
            await stop.wait()
            desk.bell.close()
    log.info("worker.stopped")


def _listener(settings: Settings) -> socket.socket:
    """The socket systemd hands over, or one of our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0":
        return socket.socket(fileno=_SYSTEMD_FD)
    return listen(settings.listen_host, settings.listen_port)


def _run(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story)
