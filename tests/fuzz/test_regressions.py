"""What fuzzing once found, as ordinary tests: each input here broke a promise before it was mended."""

import base64
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from paymux.channels.alipay.signing import read_certificate, root_certificate_sn
from paymux.channels.contract import HttpRequest
from paymux.cli.provisioning import USES_MAX, provision
from paymux.cli.provisioning_file import read_file
from paymux.config import load
from paymux.domain.errors import ConfigurationBroken
from paymux.sandbox import wechat_signing
from paymux.sandbox.messages import Call
from paymux.sandbox.xmltext import read_xml, write_xml
from paymux.wire.server import build_app
from paymux.wire.upay_v2.codes import CallRefused
from paymux.wire.upay_v2.requests import read_pay
from tests.contract.upay.edge import Till, http, refusal
from tests.fuzz.genuine import NOW_MS, Wallet
from tests.fuzz.keys import fuzz_keys
from tests.fuzz.targets.upay import BASES, TERMINAL
from tests.fuzz.tokens import json_object
from tests.harness.town import Town, in_town
from tests.sandbox.merchants import AlipayMerchant

# ---------------------------------------------------------------- tills


@pytest.mark.parametrize("number", ["1e9999999999999999999", "-1.5E+9999999999999999999999"])
def test_a_number_beyond_every_decimal(number: str) -> None:
    """INVALID_PARAMS, as for any other number that is too long; it was an incident and woke an operator."""

    async def story(town: Town) -> None:
        till = Till(build_app(town.desk))
        answer = await till.post_bytes("/upay/v2/query", f'{{"longitude":{number}}}'.encode())
        assert refusal(answer) == ("400", "INVALID_PARAMS")
        assert town.alarms == []

    in_town(story)


@pytest.mark.parametrize("subject", ["\x01\x05", "\u200b", " \x7f "])
def test_a_subject_nobody_can_see(subject: str) -> None:
    """Refused by name: wallets would get blanks, and call a request without a subject our mistake."""
    fields = [pair for pair in BASES[0] if pair[0] != "subject"]
    body = json_object([*fields, ("subject", json.dumps(subject))])
    with pytest.raises(CallRefused, match="subject不可以为空"):
        read_pay(body, TERMINAL, client_sn_bytes_max=64)


@pytest.mark.parametrize("subject", [" tea ", "tea\r\n", "\x01tea\x02", "　茶　"])
def test_blanks_around_a_subject(subject: str) -> None:
    """WeChat is sent, and signed, the subject without them: who trims finds the signature right, too."""
    wallet = Wallet("wechat")
    operation = wallet.pay(wallet.number())
    built = wallet.channel.build(replace(operation, subject=subject), now_ms=NOW_MS, nonce="n")
    assert isinstance(built, HttpRequest)
    sent = read_xml(built.body)
    assert wechat_signing.verifies(sent, wallet.account.credentials["api_key"], "MD5")
    assert sent["body"] == subject.strip("\x01\x02\r\n 　")


# ---------------------------------------------------------------- callbacks


@pytest.mark.parametrize("bucket", ["64", "-1", "007", "18446744073709551616", "9" * 5000, "%31", "１"])
def test_a_callback_for_a_bucket_that_is_none(bucket: str) -> None:
    """404, and nobody is woken; strangers got HTTP 500 with it, and set off an alarm each time."""

    async def story(town: Town) -> None:
        path = f"/callbacks/wechat/{bucket}/1680000000000001/7123456789012345"
        assert (await http(build_app(town.desk), "POST", path, chunks=[b"<xml></xml>"])).status == 404
        assert town.alarms == []

    in_town(story)


# ---------------------------------------------------------------- operators


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limits.pay_wait_s = " + "9" * 5000, "no valid TOML"),
        ("data_dir = " + "[" * 5000, "nested deeper"),
        ('data_dir = "~nobody-of-that-name/x"', "data_dir must be a path"),
        ('data_dir = "a\\u0000b"', "data_dir must not hold a NUL"),
        ('listen_host = "\\u0000"', "listen_host must not hold a NUL"),
        ("limits.pay_wait_s = 99999999999999999999", "limits.pay_wait_s must be at most"),
        ("limits.notify_gaps_s = [1, 99999999999999999999]", "limits.notify_gaps_s must be at most"),
    ],
)
def test_settings_nobody_can_mean(tmp_path: Path, text: str, told: str) -> None:
    """A complaint that names file or key; they were tracebacks, or made a gateway that refused every pay."""
    file = tmp_path / "paymux.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationBroken, match=told):
        load(file, environ={})


_PEOPLE = """
[[merchant]]
merchant_sn = "M1"
name = "shop"
[[store]]
store_sn = "S1"
merchant_sn = "M1"
name = "first"
"""
_ACCOUNT = """
[[channel_account]]
name = "wx"
merchant_sn = "M1"
channel = "wechat"
mch_id = "1"
api_key = "k"
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_ACCOUNT + "app_id = true", "app_id must be text"),
        (_ACCOUNT + 'app_id = "a"\nuses = nan', "uses must be text"),
        (_ACCOUNT + 'app_id = "a"\nca_cert = "file:\\u0000"', "ca_cert names a file that cannot be read"),
        (
            _ACCOUNT + 'app_id = "a"\nca_cert = "file:~nobody-of-that-name"',
            "ca_cert names a file that cannot be",
        ),
        (f'[[activation_code]]\ncode = "1"\nstore_sn = "S1"\nuses = {10**30}', f"from 1 to {USES_MAX}"),
        ("[[merchant]]\nname = " + "[" * 5000, "nested deeper"),
    ],
)
def test_provisioning_files_nobody_can_mean(tmp_path: Path, text: str, told: str) -> None:
    """A complaint that names entry and key; each of them was a traceback, or blamed on the database."""
    file = tmp_path / "shop.toml"
    file.write_text(_PEOPLE + text)

    async def story(town: Town) -> None:
        with pytest.raises(ConfigurationBroken, match=told):
            await provision(town.store, read_file(file), where=str(file), folder=tmp_path)

    in_town(story)


def _broken(pem: str, at: bytes, to: bytes) -> str:
    """Return a certificate with some of its bytes changed."""
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    assert at in der
    inner = base64.encodebytes(der.replace(at, to)).decode()
    return f"-----BEGIN CERTIFICATE-----\n{inner}-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("at", "to"),
    [
        (b"\x0c\x08merchant", b"\x0c\x08\xff\xffrchant"),  # a name that is no UTF-8
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"),  # a version that does not exist
    ],
)
def test_certificates_that_are_broken_inside(at: bytes, to: bytes) -> None:
    """Passed over in the root file, as its SM2 certificate is, and refused by name elsewhere."""
    whole, broken = fuzz_keys().app_cert, _broken(fuzz_keys().app_cert, at, to)
    alone = root_certificate_sn(whole, name="alipay_root_cert")
    assert root_certificate_sn(whole + broken, name="alipay_root_cert") == alone
    with pytest.raises(ConfigurationBroken, match="app_cert: no certificate"):
        read_certificate(broken, name="app_cert")


def test_a_certificate_with_a_key_of_unknown_kind() -> None:
    """Refused by name."""
    broken = _broken(fuzz_keys().app_cert, b"\x86\xf7\x0d\x01\x01\x01\x05", b"\x86\xf7\x0d\x01\x01\x16\x05")
    with pytest.raises(ConfigurationBroken, match="app_cert: no certificate"):
        read_certificate(broken, name="app_cert")


# ---------------------------------------------------------------- the sandbox


@pytest.mark.parametrize("body", [b'{"name":"\xff"}', b'{"name":' + b"[" * 5000])
def test_control_bodies_that_cannot_be_read(body: bytes) -> None:
    """400 with the reason."""
    reply = Wallet("wechat").world.handle(Call(method="POST", path="/_sandbox/buyers", body=body))
    assert reply.status == 400
    assert json.loads(reply.body)["error"]


def test_business_parameters_nested_without_end() -> None:
    """A signed refusal, as for anything else that is no JSON."""
    merchant = AlipayMerchant(Wallet("alipay").world, "alipay")
    answer = merchant("trade.pay", {}, biz_content='{"a":' * 3000)
    assert (answer["code"], answer["sub_code"]) == ("40002", "isv.invalid-parameter")


def test_a_reversal_by_a_number_nobody_gave_forgets_no_order() -> None:
    """An unknown transaction_id beside a paid order's number: refused, and the order stays in the books."""
    wallet = Wallet("wechat")
    number = wallet.number()
    wallet.ask(wallet.pay(number))
    account = wallet.account.credentials
    fields = {
        "appid": account["app_id"],
        "mch_id": account["mch_id"],
        "nonce_str": "n",
        "out_trade_no": number,
        "transaction_id": "4200000000000000000000000000",
    }
    fields["sign"] = wechat_signing.sign(fields, account["api_key"], "MD5")
    call = Call(method="POST", path="/secapi/pay/reverse", body=write_xml(fields), client_cert=True)
    assert read_xml(wallet.world.handle(call).body)["err_code"] == "PARAM_ERROR"
    (row,) = [row for row in wallet.world.books() if row["out_trade_no"] == number]
    assert (row["paid"], row["state"]) == (1234, "PAID")
