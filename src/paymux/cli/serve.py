"""`paymux serve`: the gateway."""

import asyncio
from pathlib import Path

import click
import uvloop
from structlog.typing import FilteringBoundLogger

from paymux.app import listen, open_gateway, stopping_on_signals, url_of
from paymux.app import serve as answer
from paymux.config import Settings, load
from paymux.kit.logs import setup_logs


@click.command()
@click.option("--host", help="Address to listen on (setting listen_host).")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on (setting listen_port).")
@click.pass_obj
def serve(config: Path | None, host: str | None, port: int | None) -> None:
    """Serve the gateway until Ctrl-C or SIGTERM."""
    given = {"listen_host": host, "listen_port": port}
    settings = load(config, overrides={name: value for name, value in given.items() if value is not None})
    log = setup_logs(level=settings.log_level, form=settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, log))


async def _serve(settings: Settings, log: FilteringBoundLogger) -> None:
    listener = listen(settings.listen_host, settings.listen_port)
    url = url_of(listener)
    with stopping_on_signals() as stop:
        async with open_gateway(settings, log=log, base_url=url) as gateway:
            await answer(
                gateway.asgi,
                listener,
                stop=stop,
                shutdown_s=settings.shutdown_s,
                on_ready=lambda: log.info("gateway.ready", url=url),
                on_closing=gateway.desk.bell.close,
            )
    log.info("gateway.stopped")
