"""What history keeps of WeChat's messages: every field in short, secrets masked."""

import json
import re

_MESSAGE = re.compile(
    r"\s*<xml>\s*((?:<([A-Za-z_][\w.-]*+)>(?:"
    r"<!\[CDATA\[[^\]<]*+(?:\](?!\]>)[^\]<]*+)*+\]\]>|[^\]<&]*+(?:\](?!\]>)[^\]<&]*+)*+"
    r")</\2>\s*+)*+)</xml>\s*",
    re.ASCII,
)
"""Nothing but fields, whose values read the same with and without their wrapping: no tag, no reference."""

_BARCODES = frozenset({"auth_code", "dynamic_id"})
_SECRETS = _BARCODES | {"sign", "openid", "sub_openid", "req_info"}
_SECRET = re.compile(rf"<({'|'.join(sorted(_SECRETS))})\b[^>]*>(.*?)(</\1\s*>|\Z)", re.DOTALL)


def scrub(text: str) -> str:
    """Mask signatures, barcodes, buyers and encrypted parts; everything else can be read.

    Fields of a plain message are written `name=value name=value`, in their order, a value with blanks in it
    as a JSON text: a log of half the size. What is cut off or no plain message stays as it came.
    """
    message = _MESSAGE.fullmatch(text)
    if message is None:
        return _SECRET.sub(_masked, text)
    bare = message[1].replace("<![CDATA[", "").replace("]]></", "</")
    fields = [field.partition(">") for field in bare.split("<")[1::2]]
    told = [f"{k}={_hidden(k, v) if k in _SECRETS else v}" for k, _, v in fields]
    if not _reads_bare("".join(told)):
        told = [one if _reads_bare(one) else _quoted(one) for one in told]
    return " ".join(told)


def _reads_bare(value: str) -> bool:
    return value.isprintable() and " " not in value and '"' not in value


def _quoted(field: str) -> str:
    name, _, value = field.partition("=")
    return f"{name}={json.dumps(value, ensure_ascii=False)}"


def _hidden(name: str, value: str) -> str:
    if name in _BARCODES and len(value) >= 16:
        return f"{value[:2]}{'*' * 12}{value[-2:]}"
    return "***"


def _masked(match: re.Match[str]) -> str:
    name, value, close = match.groups()
    code = value.removeprefix("<![CDATA[").removesuffix("]]>").strip()
    return f"<{name}>{_hidden(name, code)}{close}"
