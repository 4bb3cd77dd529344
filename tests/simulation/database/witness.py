"""What checkers see of a commit: rows as triggers of the database itself report them.

The same triggers on both engines: each calls its fact by name, with columns of the row before (OLD) and after
(NEW). No code of the gateway takes part.
"""

from typing import Any, NamedTuple

Fact = tuple[str, tuple[Any, ...]]
"""(name, columns)."""


class Trigger(NamedTuple):
    """`event` on a row of `table` is the fact `tells`, with `columns`."""

    name: str
    event: str
    table: str
    tells: str
    columns: str


_ORDER_NOW = "NEW.sn, NEW.status, NEW.version, NEW.paid, NEW.refunded, NEW.refunding, NEW.undo_tsn"
_ORDER_BORN = (
    "NEW.merchant_id, NEW.client_sn, NEW.total, NEW.channel, NEW.account, NEW.sub_payway, NEW.ctime_ms, "
    "NEW.deadline_ms, NEW.notify_url <> ''"
)
_ORDER_CHANGES = "UPDATE OF status, version, paid, refunded, refunding, undo_tsn"
_MOVEMENT = "NEW.sn, NEW.tsn, NEW.kind, NEW.amount, NEW.refund_request_no, NEW.status, NEW.error_code"

TRIGGERS = (
    Trigger("order_born", "INSERT", "orders", "kept_order", f"'', 0, {_ORDER_NOW}, {_ORDER_BORN}"),
    Trigger(
        "order_changed", _ORDER_CHANGES, "orders", "kept_change", f"OLD.status, OLD.version, {_ORDER_NOW}"
    ),
    Trigger("movement_born", "INSERT", "transactions", "kept_movement", _MOVEMENT),
    Trigger("movement_changed", "UPDATE", "transactions", "kept_movement", _MOVEMENT),
    Trigger("notified", "INSERT", "notifications", "kept_note", "NEW.sn, NEW.body"),
)


def on_sqlite(trigger: Trigger) -> str:
    """A trigger that calls a function of ours, which has the fact's name."""
    return (
        f"CREATE TEMP TRIGGER witness_{trigger.name} AFTER {trigger.event} ON main.{trigger.table} "
        f"BEGIN SELECT {trigger.tells}({trigger.columns}); END"
    )


def on_postgres(trigger: Trigger) -> str:
    """A trigger that sends the fact to whoever writes the row, as a notice in JSON."""
    return f"""
        CREATE FUNCTION witness_{trigger.name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE NOTICE '%', json_build_array('{trigger.tells}', json_build_array({trigger.columns}));
            RETURN NULL;
        END $$;
        CREATE TRIGGER witness_{trigger.name} AFTER {trigger.event} ON {trigger.table}
            FOR EACH ROW EXECUTE FUNCTION witness_{trigger.name}();
    """
