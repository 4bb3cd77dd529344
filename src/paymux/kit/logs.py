"""Logging: one event per line, JSON or coloured text, with secrets masked wherever they hide (promise M9).

`setup_logs` returns the logger everything is handed; nothing imports one. What libraries log through the
standard `logging` module comes out in the same form.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger, Processor

MASK = "***"

ALWAYS_SECRET = frozenset(
    {
        "api_key",
        "app_auth_token",
        "auth_code",
        "authorization",
        "client_key",
        "credentials",
        "current_key",
        "dynamic_id",
        "last_key",
        "master_key",
        "password",
        "private_key",
        "terminal_key",
        "vendor_key",
    }
)
"""Field names whose value is never shown, whatever it looks like."""

_SUSPECT = re.compile(r"(^|_)(key|sign|signature|secret|token)$")
_LOOKS_SECRET = re.compile(r"[0-9A-Za-z+/=_-]{16,}")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)


def setup_logs(
    *, level: str = "info", form: Literal["json", "console"] = "json", stream: TextIO | None = None
) -> FilteringBoundLogger:
    """Return the logger, and route the standard `logging` module to the same place (default: stderr)."""
    out = cast("TextIO", _Forgiving(stream or sys.stderr))
    number = logging.getLevelNamesMapping()[level.upper()]
    _route_standard_logging(out, number=number, form=form)
    return structlog.wrap_logger(  # type: ignore[no-any-return]  # structlog cannot know the wrapper class
        structlog.WriteLogger(out),
        processors=[*_common(), *_rendering(form, out)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )


class _Forgiving:
    """A stream whose failures are nobody else's: a log on a full disk loses lines, and no payment for it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if it can be done."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if it can be done."""
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether a person reads it at once."""
        return self._stream.isatty()


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: hide secrets by field name, at any depth, and private keys in any text."""
    for name in list(event):
        event[name] = _masked(name, event[name])
    return event


def _masked(name: str, value: Any) -> Any:  # noqa: ANN401 - a log field is of any type
    if name.lower() in ALWAYS_SECRET:
        return MASK if value else value
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), of) for inner, of in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(name, of) for of in value]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        return value
    if _SUSPECT.search(name.lower()) and _LOOKS_SECRET.fullmatch(value):
        return MASK
    return _PEM.sub(MASK, value) if "PRIVATE KEY" in value else value


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]


def _rendering(form: str, out: TextIO) -> list[Processor]:
    """Mask last, so that nothing added on the way escapes; tracebacks without local variables."""
    last: Processor = structlog.processors.JSONRenderer(_json)
    if form == "console":
        last = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), timestamp_key="at", exception_formatter=structlog.dev.plain_traceback
        )
    return [structlog.processors.format_exc_info, mask, last]


def _json(event: object, **_options: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _is_no_farewell(record: logging.LogRecord) -> bool:
    """A call that was cut off at shutdown is no fault, though servers log it as one."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _route_standard_logging(out: TextIO, *, number: int, form: str) -> None:
    """Replace the root handlers; libraries are heard from WARNING on, unless we debug."""
    handler = logging.StreamHandler(out)
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_common(), structlog.stdlib.add_logger_name],
            processors=[strip, *_rendering(form, out)],
        )
    )
    handler.addFilter(_is_no_farewell)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number if number <= logging.DEBUG else max(number, logging.WARNING))
