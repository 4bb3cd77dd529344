"""`paymux demo` as a stranger meets it: one line of JSON, then HTTP and MD5 and nothing else of ours."""

import base64
import hashlib
import http.server
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PAYMUX = (sys.executable, "-m", "paymux")
KEYS = {
    "gateway",
    "sandbox",
    "console",
    "vendor_sn",
    "vendor_key",
    "app_id",
    "activation_code",
    "terminal_sn",
    "terminal_key",
    "device_id",
    "charge",
    "notify_public_key",
}


@contextmanager
def demo(tmp_path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a demo whose temporary files lie in `tmp_path/tmp`; it is over at the end in any case."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PAYMUX_")}
    with (
        (tmp_path / "stderr").open("w") as stderr,
        subprocess.Popen(
            [*PAYMUX, "demo", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=tmp_path,
            env=environ | {"TMPDIR": str(tmp_path / "tmp")},
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the facts a `--json` demo prints."""
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    assert isinstance(facts, dict)
    return facts


def stopped(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str]:
    """End a demo with a signal; return its exit code and what else it printed."""
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    return process.returncode, out


def call(gateway: str, path: str, who: str, key: str, content: Mapping[str, object]) -> dict[str, Any]:
    """Make a signed call, as upay-v2.md §1.1 says."""
    body = json.dumps(content).encode()
    sign = hashlib.md5(body + key.encode()).hexdigest()  # noqa: S324 - the protocol prescribes MD5
    headers = {"Content-Type": "application/json", "Authorization": f"{who} {sign}"}
    request = urllib.request.Request(gateway + path, data=body, headers=headers)  # noqa: S310 - http on loopback
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - as above
        assert reply.status == 200
        answer = json.load(reply)
    assert answer["result_code"] == "200", answer
    biz = answer["biz_response"]
    assert isinstance(biz, dict)
    return biz


def get(url: str) -> Any:  # noqa: ANN401 - whatever JSON is there
    """Return the JSON at a URL."""
    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310 - http on loopback
        return json.load(reply)


class Till:
    """A till: activated and checked in, or imported with its key."""

    def __init__(self, facts: Mapping[str, Any], terminal_sn: str, key: str) -> None:
        self._facts = facts
        self.terminal_sn = terminal_sn
        self.key = key

    def call(self, path: str, **content: object) -> dict[str, Any]:
        """Make a call with the terminal's key."""
        whole = {"terminal_sn": self.terminal_sn, **content}
        return call(self._facts["gateway"], path, self.terminal_sn, self.key, whole)

    def pay(self, client_sn: str, barcode: str, **more: str) -> dict[str, Any]:
        """Sell something for 1.20 yuan."""
        return self.call(
            "/upay/v2/pay",
            client_sn=client_sn,
            total_amount="120",
            dynamic_id=barcode,
            subject="Coffee",
            operator="me",
            **more,
        )


def new_till(facts: Mapping[str, Any], device_id: str) -> Till:
    """Activate a till and check it in."""
    wish = {"app_id": facts["app_id"], "code": facts["activation_code"], "device_id": device_id}
    made = call(facts["gateway"], "/terminal/activate", facts["vendor_sn"], facts["vendor_key"], wish)
    till = Till(facts, made["terminal_sn"], made["terminal_key"])
    till.key = till.call("/terminal/checkin", device_id=device_id)["terminal_key"]
    return till


def our_books(data_dir: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """Return what `paymux admin books --json` says about a gateway's folder."""
    environ = os.environ | {"PAYMUX_DATA_DIR": str(data_dir)}
    command = [*PAYMUX, "admin", "books", "--json"]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)
    assert isinstance(rows, list)
    return rows


def money(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[int, int, str]]:
    """Return the books as wallet and number → paid, refunded, currency, of the trades that moved money."""
    return {
        (row["wallet"], row["out_trade_no"]): (row["paid"], row["refunded"], row["currency"])
        for row in rows
        if row["paid"] or row["refunded"]
    }


def test_a_demo_from_the_first_line_to_the_last(tmp_path: Path) -> None:
    """Activate, check in, pay and be refused at both wallets; equal books; Ctrl-C leaves nothing behind."""
    with demo(tmp_path, "--json") as process:
        facts = line_of(process)
        assert set(facts) == KEYS
        assert set(facts["charge"]) == {"app_id", "test_key", "live_key"}
        assert not facts["gateway"].endswith("/")
        assert facts["notify_public_key"].startswith("-----BEGIN PUBLIC KEY-----")
        [folder] = (tmp_path / "tmp").glob("paymux-demo-*")
        for till in (new_till(facts, "till-7"), Till(facts, facts["terminal_sn"], facts["terminal_key"])):
            for prefix in ("28", "13"):
                paid = till.pay(f"{till.terminal_sn}-{prefix}-00", prefix + "0" * 16)
                assert paid["result_code"] == "PAY_SUCCESS"
                assert paid["data"]["order_status"] == "PAID"
                assert paid["data"]["net_amount"] == "120"
                refused = till.pay(f"{till.terminal_sn}-{prefix}-03", prefix + "0" * 14 + "03")
                assert refused["result_code"] == "PAY_FAIL"
                assert refused["error_code"] == "EXPIRED_BARCODE"
                assert refused["data"]["order_status"] == "PAY_CANCELED"
        ours = our_books(folder / "gateway", tmp_path)
        assert len(ours) == 8
        assert len(money(ours)) == 4
        assert money(ours) == money(get(f"{facts['sandbox']}/_sandbox/books"))
        assert stopped(process) == (0, "")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_demo_that_keeps_its_data_goes_on_where_it_was(tmp_path: Path) -> None:
    """The second run has the same keys, code and terminals, and both sides' books still agree."""
    data = tmp_path / "kept"
    with demo(tmp_path, "--json", "--data", str(data)) as process:
        first = line_of(process)
        till = Till(first, first["terminal_sn"], first["terminal_key"])
        sold = till.pay("one", "28" + "0" * 16)["data"]
        key = till.call("/terminal/checkin", device_id=first["device_id"])["terminal_key"]
        assert stopped(process, signal.SIGTERM) == (0, "")
    with demo(tmp_path, "--json", "--data", str(data)) as process:
        second = line_of(process)
        moving = {"gateway", "sandbox", "console", "terminal_key"}
        assert {name: second[name] for name in KEYS - moving} == {name: first[name] for name in KEYS - moving}
        assert second["terminal_key"] == key
        till = Till(second, second["terminal_sn"], second["terminal_key"])
        assert till.call("/upay/v2/query", client_sn="one")["data"]["sn"] == sold["sn"]
        back = till.call("/upay/v2/refund", client_sn="one", refund_request_no="r1", refund_amount="20")
        assert back["result_code"] == "REFUND_SUCCESS"
        books = our_books(data / "gateway", tmp_path)
        assert money(books) == {("alipay", sold["sn"]): (120, 20, "CNY")}
        assert money(books) == money(get(f"{second['sandbox']}/_sandbox/books"))
        assert stopped(process) == (0, "")
    assert list((tmp_path / "tmp").iterdir()) == []


@contextmanager
def merchant() -> Iterator[tuple[str, queue.Queue[tuple[str, bytes]]]]:
    """Run a merchant's server on loopback; return its URL, and what it is told: Authorization and body."""
    told: queue.Queue[tuple[str, bytes]] = queue.Queue()

    class Ear(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.put((self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"success")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Ear) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/paid", told
        server.shutdown()


def test_the_merchant_is_told_and_can_check_who_told_him(tmp_path: Path) -> None:
    """The notification's signature holds under the key the demo prints, which the gateway publishes, too."""
    with demo(tmp_path, "--json") as process, merchant() as (url, told):
        facts = line_of(process)
        till = Till(facts, facts["terminal_sn"], facts["terminal_key"])
        till.pay("told", "13" + "0" * 16, notify_url=url)
        header, body = told.get(timeout=10)
        public = serialization.load_pem_public_key(facts["notify_public_key"].encode())
        assert isinstance(public, rsa.RSAPublicKey)
        public.verify(base64.b64decode(header), body, padding.PKCS1v15(), hashes.SHA256())
        order = json.loads(body)
        assert (order["client_sn"], order["order_status"]) == ("told", "PAID")
        with urllib.request.urlopen(f"{facts['gateway']}/.well-known/paymux-notify-key.pem") as reply:  # noqa: S310 - http on loopback
            assert reply.read().decode() == facts["notify_public_key"]
        assert stopped(process) == (0, "")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_printed_curl_works_as_it_stands(tmp_path: Path) -> None:
    """Pasted into a shell it pays, and `explain` then tells the story, live, as the guide says."""
    with demo(tmp_path) as process:
        assert process.stdout is not None
        guide = ""
        for line in process.stdout:
            guide += line
            if "explain" in line:
                break
        script = "".join(re.findall(r"^  (?:BODY|SIGN|curl).*\n", guide, re.MULTILINE))
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
        paid = json.loads(done.stdout)["biz_response"]
        assert paid["result_code"] == "PAY_SUCCESS"
        [folder] = re.findall(r"PAYMUX_DATA_DIR=(\S+) paymux explain", guide)
        told = subprocess.run(
            [*PAYMUX, "explain", paid["data"]["sn"]],
            env=os.environ | {"PAYMUX_DATA_DIR": folder},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "State    PAID" in told
        assert "alipay.pay: Took" in told
        assert stopped(process)[0] == 0


def test_a_signal_during_the_start_ends_it_just_as_well(tmp_path: Path) -> None:
    """Ctrl-C before it was ready: exit code 0 and no folder, not a traceback."""
    with demo(tmp_path, "--json") as process:
        while not (tmp_path / "stderr").read_text() and process.poll() is None:
            time.sleep(0.01)
        assert stopped(process)[0] == 0
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_taken_port_is_said_so(tmp_path: Path) -> None:
    """Somebody else has the port: one readable message, exit code 2, no traceback."""
    with demo(tmp_path, "--json") as process:
        port = line_of(process)["gateway"].rpartition(":")[2]
        command = [*PAYMUX, "demo", "--port", port]
        other = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert other.returncode == 2
        assert f"cannot listen on 127.0.0.1:{port}" in other.stderr
        assert "Traceback" not in other.stderr
        stopped(process)
