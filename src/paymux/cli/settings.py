"""`paymux settings`: every setting with its present value, or the page about all of them."""

from collections.abc import Iterator
from pathlib import Path

import click

from paymux.config import SECRETS, SettingInfo, Settings, describe, load
from paymux.kit.dsn import without_password

_HEAD = """\
# Settings

One TOML file and the environment, which wins over the file. The file is the one given with `--config`,
else the one named by `PAYMUX_CONFIG`, else `paymux.toml` in the working directory if there is one; without
any, all settings have their defaults. An unknown key or a bad value stops paymux with a message that names
it. `paymux settings` shows what is in force.

```toml
listen_port = 8600
public_url = "https://pay.example.com"
data_dir = "/var/lib/paymux"

[limits]
pay_wait_s = 30
```

The same in the environment: `PAYMUX_LISTEN_PORT=8600`, `PAYMUX_LIMITS_PAY_WAIT_S=30`; lists are written with
commas, `PAYMUX_LIMITS_NOTIFY_GAPS_S=1,5,30,600`. This page is written by `paymux settings --markdown`.
"""


@click.command()
@click.option("--markdown", is_flag=True, help="Write docs/settings.md instead of the present values.")
@click.pass_obj
def settings(config: Path | None, *, markdown: bool) -> None:
    """Show every setting and what it is now."""
    if markdown:
        click.echo("\n".join(_page()))
        return
    now = load(config)
    for info in describe():
        click.echo(f"{info.key:<30} {_value(now, info.key)}")


def _value(now: Settings, key: str) -> str:
    holder, _, name = key.rpartition(".")
    value = getattr(getattr(now, holder) if holder else now, name)
    if key in SECRETS and value:
        return "(set)"
    if key == "database":
        return without_password(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str("" if value is None else value)


def _page() -> Iterator[str]:
    plain = [info for info in describe() if "." not in info.key]
    limits = [info for info in describe() if "." in info.key]
    yield _HEAD
    yield from _table(plain)
    yield ""
    yield "## Bounds and times, `[limits]`"
    yield ""
    yield "Times are seconds, sizes are bytes. Waits may be 0, everything else is at least 1."
    yield ""
    yield from _table(limits)


def _table(infos: list[SettingInfo]) -> Iterator[str]:
    yield "| setting | variable | value | default | what for |"
    yield "|---|---|---|---|---|"
    for info in infos:
        cells = (f"`{info.key}`", f"`{info.variable}`", info.form, info.default, info.reason)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
