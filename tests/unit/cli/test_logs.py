"""Logs: one line per event, and no secret in any of them (promise M9)."""

import errno
import io
import logging
from collections.abc import Iterator
from typing import Literal

import msgspec
import pytest

from paymux.domain.people import Account, Terminal
from paymux.kit.logs import setup_logs

CANARY = "c0ffee" * 5 + "c0"
PEM = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    """`setup_logs` takes over the root logger, as a program may; a test gives it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"sign": CANARY},
        {"expected_sign": CANARY},
        {"key": CANARY},
        {"terminal_key": "short"},
        {"headers": {"Authorization": f"T1 {CANARY}"}},
        {"body": {"inner": [{"api_key": CANARY}]}},
        {"text": f"the key is {PEM}"},
        {"raw": PEM.encode()},
        {"terminal": Terminal(terminal_sn="T", merchant_sn="M", store_sn="S", current_key=CANARY)},
        {
            "account": Account(
                name="a", merchant_sn="M", channel="c", payways=(), base_url="", credentials={"x": CANARY}
            )
        },
    ],
)
def test_no_secret_is_shown(form: Literal["json", "console"], fields: dict[str, object]) -> None:
    """By field name, at any depth, in records, and private keys in any text."""
    out = io.StringIO()
    setup_logs(form=form, stream=out).info("something.happened", **fields)
    assert "something.happened" in out.getvalue()
    assert CANARY not in out.getvalue()
    assert "short" not in out.getvalue()


def test_what_is_no_secret_stays() -> None:
    """Numbers, names of keys and short words in suspicious fields are for reading."""
    out = io.StringIO()
    log = setup_logs(stream=out)
    log.info(
        "sign.refused", keys_tried="current, last", sn="7894259244096169", key="last", body_md5="ab" * 16
    )
    line = msgspec.json.decode(out.getvalue())
    assert (line["keys_tried"], line["sn"], line["key"]) == ("current, last", "7894259244096169", "last")
    assert line["body_md5"] == "ab" * 16
    assert line["level"] == "info"
    assert line["at"].endswith("Z")


def test_a_traceback_shows_no_variables() -> None:
    """The place is shown; what the variables held is not."""

    def fail(terminal_key: str) -> None:
        raise RuntimeError(str(len(terminal_key)))

    for form in ("json", "console"):
        out = io.StringIO()
        log = setup_logs(form=form, stream=out)  # type: ignore[arg-type]  # a literal in a loop
        try:
            fail(CANARY)
        except RuntimeError:
            log.exception("it.failed")
        assert "RuntimeError: 32" in out.getvalue()
        assert CANARY not in out.getvalue()


def test_libraries_log_into_the_same_stream() -> None:
    """The standard logging module comes out in our form, from warnings on."""
    out = io.StringIO()
    setup_logs(stream=out)
    logging.getLogger("somelibrary").info("chatter")
    logging.getLogger("somelibrary").warning("trouble with %s", "it")
    [line] = out.getvalue().splitlines()
    said = msgspec.json.decode(line)
    assert (said["event"], said["logger"], said["level"]) == ("trouble with it", "somelibrary", "warning")


def test_the_level_is_kept() -> None:
    """What is below the level costs nothing and is not written."""
    out = io.StringIO()
    log = setup_logs(level="warning", stream=out)
    log.info("order.paid")
    log.warning("client_sn.long")
    assert [msgspec.json.decode(line)["event"] for line in out.getvalue().splitlines()] == ["client_sn.long"]


class FullDisk(io.StringIO):
    """A log file on a disk that is full until it is not."""

    is_full = True

    def write(self, text: str) -> int:
        """Fail as the operating system does."""
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_log_that_cannot_be_written_harms_nobody() -> None:
    """Whoever logs goes on working, and what is logged once there is room again can be read."""
    out = FullDisk()
    log = setup_logs(stream=out)
    log.error("call.failed", alarm=True)
    logging.getLogger("somelibrary").warning("trouble")
    out.is_full = False
    log.info("order.paid")
    assert [msgspec.json.decode(line)["event"] for line in out.getvalue().splitlines()] == ["order.paid"]
