"""How Patroni and PostgreSQL are set, and why; docs/high-availability.md tells operators the same."""

from typing import Any

TTL_S = 20
"""After so long without a word a leader counts as dead: the least that Patroni allows, and the larger part of
an outage when a whole machine dies."""

SHARED: dict[str, Any] = {
    "ttl": TTL_S,
    # How often each Patroni looks at its server and renews its claim. Two seconds find a dead server quickly;
    # loop_wait + 2 * retry_timeout must stay below ttl.
    "loop_wait": 2,
    # How long Patroni asks etcd again before it gives up leadership: an etcd that hiccups costs no failover.
    "retry_timeout": 4,
    # A leader whose PostgreSQL crashed is not started again: a standby that has everything takes over in a
    # moment, crash recovery may take minutes.
    "primary_start_timeout": 0,
    # A leader that must step down and cannot stop in time is killed, rather than left to answer for longer.
    "primary_stop_timeout": 5,
    # A commit is acknowledged when a standby has it on disk, and only such a standby may become the leader.
    "synchronous_mode": True,
    # Without any standby the leader goes on alone, and Patroni allows no failover meanwhile: see the page.
    "synchronous_mode_strict": False,
    # A standby that is further behind than this is no candidate; in synchronous mode none ever is.
    "maximum_lag_on_failover": 1_048_576,
}

SERVER: dict[str, Any] = {
    # Flushed here and on the synchronous standby before a commit is acknowledged.
    "synchronous_commit": "on",
    # A standby, or a leader, that is gone without a goodbye is noticed: the leader chooses another standby.
    "wal_sender_timeout": "10s",
    "wal_receiver_timeout": "10s",
    # A gateway's machine that is gone without a goodbye: its locks and places are free soon.
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": "10s",
    # pg_rewind brings a former leader back in seconds instead of copying everything.
    "wal_log_hints": "on",
    "max_connections": 100,
    # For small machines.
    "shared_buffers": "64MB",
    "unix_socket_directories": "",
}

ASYNCHRONOUS: dict[str, Any] = {"synchronous_mode": False}
ASYNCHRONOUS_SERVER: dict[str, Any] = {"synchronous_commit": "local"}
"""What many clusters are run with, and what must be seen to lose data here."""


def shared(*, synchronous: bool) -> dict[str, Any]:
    """What stands in etcd for all nodes."""
    server = SERVER | ({} if synchronous else ASYNCHRONOUS_SERVER)
    # Slots keep what a standby still needs.
    postgresql = {"use_pg_rewind": True, "use_slots": True, "parameters": server}
    return SHARED | ({} if synchronous else ASYNCHRONOUS) | {"postgresql": postgresql}
