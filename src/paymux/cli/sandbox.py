"""`paymux sandbox`: counterfeit wallets on loopback, for testing without a merchant account (DESIGN §9)."""

from pathlib import Path

import click

from paymux.domain.errors import ConfigurationBroken
from paymux.sandbox.server import Sandbox, run


@click.command()
@click.option("--port", default=8700, show_default=True, help="Port for everything; 0 takes a free one.")
@click.option("--tls-port", default=0, help="Port for WeChat's mutual TLS; by default a free one.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Keep keys and books here.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same story.")
def sandbox(port: int, tls_port: int, data: Path | None, seed: int) -> None:
    """Serve counterfeit Alipay and WeChat Pay, with a phone page to pay from."""
    try:
        run(port=port, tls_port=tls_port, seed=seed, data_dir=data, on_ready=_tell)
    except OSError as error:
        raise ConfigurationBroken(f"the sandbox cannot start: {error}; try --port 0") from error


def _tell(running: Sandbox) -> None:
    url = running.base_url
    click.echo(f"phone     {url}/phone")
    click.echo(f"accounts  {url}/_sandbox/accounts   (for your provisioning file)")
    click.echo(f"books     {url}/_sandbox/books")
    click.echo(f"scripts   {url}/_sandbox/scripts")
