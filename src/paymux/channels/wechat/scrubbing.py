"""What history keeps of WeChat's messages: every field in short, secrets masked."""

import json
import re

from paymux.channels.masking import masked

_BEGIN, _END = "<xml>", "</xml>"
_FIELD_OR_REST = re.compile(
    r"<([A-Za-z_][\w.-]*+)>(?:"
    r"<!\[CDATA\[([^\]<]*+(?:\](?!\]>)[^\]<]*+)*+)\]\]>|([^\]<&]*+(?:\](?!\]>)[^\]<&]*+)*+)"
    r")</\1>\s*|(.+)",
    re.ASCII | re.DOTALL,
)
"""A field whose value reads the same with and without its wrapping: no tag in it and no reference."""

_SECRETS = frozenset({"auth_code", "dynamic_id", "sign", "openid", "sub_openid", "req_info"})
_SECRET = re.compile(rf"<({'|'.join(sorted(_SECRETS))})\b[^>]*>(.*?)(</\1\s*>|\Z)", re.DOTALL)


def scrub(text: str) -> str:
    """Mask signatures, barcodes, buyers and encrypted parts; everything else can be read.

    Fields of a plain message are written `name=value name=value`, in their order, a value with blanks in it
    as a JSON text: a log of half the size. What is cut off or no plain message stays as it came.
    """
    message = text.strip()
    told = None
    if message.startswith(_BEGIN) and message.endswith(_END):
        told = _in_short(message[len(_BEGIN) : -len(_END)].lstrip())
    return _SECRET.sub(_masked, text) if told is None else told


def _in_short(fields: str) -> str | None:
    """Write the fields in short; None when there is anything else."""
    told: list[str] = []
    for name, wrapped, bare, rest in _FIELD_OR_REST.findall(fields):
        if rest:
            return None
        value = wrapped or bare
        if name in _SECRETS:
            value = masked(name, value)
        if not (value.isalnum() or _reads_bare(value)):
            value = json.dumps(value, ensure_ascii=False)
        told.append(f"{name}={value}")
    return " ".join(told)


def _reads_bare(value: str) -> bool:
    return value.isprintable() and " " not in value and '"' not in value


def _masked(match: re.Match[str]) -> str:
    name, value, close = match.groups()
    code = value.removeprefix("<![CDATA[").removesuffix("]]>").strip()
    return f"<{name}>{masked(name, code)}{close}"
