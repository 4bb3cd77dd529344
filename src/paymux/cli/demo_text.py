"""What `paymux demo` tells people: where things are, and a first payment to try."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_GUIDE = """\
Everything is ready. Ctrl-C stops it{fate}.

  gateway      {gateway}
  sandbox      {sandbox}/phone   (be the buyer)
  terminal     {terminal_sn}   key {terminal_key}   device {device_id}
  activation   code {activation_code}   vendor {vendor_sn}   key {vendor_key}   app {app_id}

Sell a coffee for 1 fen, in another shell. The last two digits of the barcode choose what the wallet does
(00 paid at once, 02 no money, 05 the reply is lost, … {sandbox}/_sandbox/scripts); 28… is Alipay, 13… WeChat:

{curl}

See what became of it:

  PAYMUX_DATA_DIR={folder}/gateway paymux explain SN

In the notify_url of a payment you may name any server on this machine.
"""

_CURL = """\
  BODY='{{"terminal_sn":"{terminal_sn}","client_sn":"'$(date +%s)'","total_amount":"1","dynamic_id":"280000000000000000","subject":"coffee","operator":"me"}}'
  SIGN=$(printf %s "$BODY"{terminal_key} | (md5sum || openssl md5 -r) 2>/dev/null | cut -c1-32)
  curl -s {gateway}/upay/v2/pay -H 'Content-Type: application/json' -H "Authorization: {terminal_sn} $SIGN" -d "$BODY"
"""  # noqa: E501 - lines to be pasted must not be broken


def guide(facts: Mapping[str, Any], folder: Path, *, kept: bool) -> str:
    """Return the text; `kept` says whether the folder outlives the demo."""
    return _GUIDE.format(
        **facts,
        curl=_CURL.format(**facts).rstrip(),
        folder=folder,
        fate=f"; {folder} is kept" if kept else " and removes all of it",
    )
