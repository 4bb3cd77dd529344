"""What a wallet with RSA-2048 costs beyond one with MD5, against bare signing and verifying in OpenSSL.

Both at one steady pace, half of what the gateway does with RSA: a difference wants equal circumstances, and
the more calls share a turn of the loop and a commit, the less each of them costs. For the same reason the
wallet with MD5 does as much work for its reply as the one that signs it (bench/wallet.py). It is the small
difference of large figures, so there are more and shorter slices than elsewhere.
"""

import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from bench import load
from bench.findings import Bench, Finding, Meter, full_per_s, in_turns, over
from bench.shop import ALIPAY_TILL, WECHAT_TILL
from bench.systems import paymux

_BARE = 400
_SLICE_S = 2
_SLICES_PER_ROUND = 3
_TEXT = b"biz_content=" + b"x" * 400
"""About as long as what an Alipay request signs; the length hardly matters."""


def measure(bench: Bench) -> list[Finding]:
    """Pay in turns with both wallets through one gateway on PostgreSQL."""
    key = serialization.load_pem_private_key((bench.bank.keys / "app.pem").read_bytes(), password=None)
    assert isinstance(key, RSAPrivateKey)
    tills = {"md5": WECHAT_TILL, "rsa": ALIPAY_TILL}
    pay_us: dict[str, list[float]] = {name: [] for name in tills}
    own_us: dict[str, list[float]] = {name: [] for name in tills}
    bare_us: list[float] = []
    with paymux(bench.folder, bench.bank, "postgres", name="rsa", path="/busy") as program:
        meter = Meter(program)
        half = full_per_s(bench, meter, ALIPAY_TILL) / 2
        slices = bench.sizes.rounds * _SLICES_PER_ROUND
        for number in range(slices + 1):
            bench.say(f"rsa: slice {number} of {slices}, {half:.0f} pays per s")
            for name, till in in_turns(tills.items(), number):
                prefix = f"{name}-{number}"
                us, _ = meter.run(
                    load.pay_at_rate(program.url, per_s=half, seconds=_SLICE_S, prefix=prefix, till=till)
                )
                if number:
                    pay_us[name].append(us)
                    own_us[name].append(meter.own_us)
            if number:
                bare_us.append(_bare_us(key))
    added_us = [one - other for one, other in zip(pay_us["rsa"], pay_us["md5"], strict=True)]
    return [
        Finding(name="half load with RSA", unit="per s", values=[half]),
        Finding(name="pay with MD5", unit="CPU µs", values=pay_us["md5"]),
        Finding(name="pay with RSA-2048", unit="CPU µs", values=pay_us["rsa"]),
        Finding(name="pay with MD5, gateway alone", unit="CPU µs", values=own_us["md5"]),
        Finding(name="pay with RSA-2048, gateway alone", unit="CPU µs", values=own_us["rsa"]),
        Finding(name="bare sign and verify", unit="CPU µs", values=bare_us),
        Finding(name="added by RSA ÷ bare sign and verify", unit="ratio", values=over(added_us, bare_us)),
    ]


def _bare_us(key: RSAPrivateKey) -> float:
    """CPU µs of one signature and one verification, by the same library with the keys at hand."""
    public, pad, digest = key.public_key(), padding.PKCS1v15(), hashes.SHA256()
    began_ns = time.process_time_ns()
    for _ in range(_BARE):
        public.verify(key.sign(_TEXT, pad, digest), _TEXT, pad, digest)
    return (time.process_time_ns() - began_ns) / 1000 / _BARE
