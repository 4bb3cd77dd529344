"""Addresses of databases: what kind they are, and how to show them."""

from urllib.parse import urlsplit

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


def is_server(dsn: str) -> bool:
    """Whether the database is a PostgreSQL server's, and not a file of this machine."""
    return dsn.startswith(POSTGRES)


def without_password(dsn: str) -> str:
    """The address without its password, and without its parameters, which may hold one."""
    if not is_server(dsn):
        return dsn
    parts = urlsplit(dsn)
    user, at, host = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{host}{parts.path}"
