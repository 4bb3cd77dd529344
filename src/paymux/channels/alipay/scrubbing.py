"""What history keeps of Alipay's messages: as they came, secrets masked."""

import re

from paymux.channels.masking import masked

# It begins with the names' first letters, by which the search skips what can be no name.
_SECRET = re.compile(
    r"""
    ([abdosuABDOSU](?:(?<![A-Za-z0-9_].)|(?<=%22.))(?i:
        (?<=s)ign|(?<=a)uth_code|(?<=d)ynamic_id|(?<=a)pp_auth_token|(?<=b)uyer_id|(?<=b)uyer_user_id
       |(?<=b)uyer_open_id|(?<=b)uyer_logon_id|(?<=b)uyer_user_name|(?<=s)eller_email|(?<=o)pen_id
       |(?<=u)ser_id
    ))
    (?: ("\s*:\s*")           ([^"\\]*+(?:\\.[^"\\]*+)*+)         # JSON
      | (\\"\s*:\s*\\")       ([^\\\n]*+(?:\\(?!")[^\\\n]*+)*+)   # JSON inside JSON text
      | (%22\+?%3[Aa]\+?%22)  ([^&\s%]*+(?:%(?!22)[^&\s%]*+)*+)   # JSON inside a form
      | (=)                   ([^&\s"]*+)                         # a form
    )
    """,
    re.VERBOSE,
)


def scrub(text: str) -> str:
    """Mask signatures, barcodes, tokens and buyers, in JSON as in form encoding."""
    return _SECRET.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    name, gap, value = (group for group in match.groups() if group is not None)
    return f"{name}{gap}{masked(name.lower(), value)}"
