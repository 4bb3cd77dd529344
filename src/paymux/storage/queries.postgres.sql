-- What PostgreSQL does in one statement for many writers at once. Everything else stands in queries.sql.
-- Rows come in as arrays of the tables' own row types: tuples in the order of rows.py.

-- ------------------------------------------------------------------ many changes, one commit
--
-- WITH held AS (the orders whose guard held), then of the other parts those that have rows: each part costs the
-- server something, rows or none (queries.py puts them together). What belongs to a change whose guard did not
-- hold is left out. No two changes may be about one order.

-- part: its_guard_held
-- IS TRUE keeps the planner from turning the question round.
((bucket, merchant_id, sn) IN (SELECT bucket, merchant_id, sn FROM held)) IS TRUE

-- part: new_orders
-- Guarded as insert_order is.
INSERT INTO orders ({order_columns}) SELECT {order_columns} FROM unnest(?::orders[])
ON CONFLICT (bucket, merchant_id, client_sn) DO NOTHING
RETURNING bucket, merchant_id, sn

-- part: next_orders
-- Guarded as update_order is.
UPDATE orders AS o
SET paid = n.paid, refunded = n.refunded, refunding = n.refunding, status = n.status, version = n.version,
    undo_tsn = n.undo_tsn, trade_no = n.trade_no, payer_uid = n.payer_uid, payer_login = n.payer_login,
    payment_list = n.payment_list, qr_code = n.qr_code, wap_pay_request = n.wap_pay_request,
    error_code = n.error_code, error_message = n.error_message, deadline_ms = n.deadline_ms,
    finish_ms = n.finish_ms, channel_finish_ms = n.channel_finish_ms, latest_tsn = n.latest_tsn,
    latest_kind = n.latest_kind, latest_status = n.latest_status, latest_operator = n.latest_operator,
    latest_client_tsn = n.latest_client_tsn
FROM unnest(?::orders[], ?::bigint[], ?::text[]) AS n ({order_columns}, version_before, status_before)
WHERE o.bucket = n.bucket AND o.merchant_id = n.merchant_id AND o.sn = n.sn
    AND o.version = n.version_before AND o.status = n.status_before
RETURNING o.bucket, o.merchant_id, o.sn

-- part: new_movements
-- Movements that cannot be there yet.
INSERT INTO transactions ({transaction_columns}) SELECT {transaction_columns} FROM unnest(?::transactions[])
WHERE {its_guard_held}

-- part: movements
-- New movements, or known ones written anew. A movement of another kind under the same number breaks the
-- table's rule for amounts: then nothing is done.
INSERT INTO transactions ({transaction_columns}) SELECT {transaction_columns} FROM unnest(?::transactions[])
WHERE {its_guard_held}
ON CONFLICT (bucket, merchant_id, sn, tsn) DO UPDATE SET {movement_changes}

-- part: done
-- Work that is settled.
DELETE FROM due AS d USING unnest(?::due[]) AS x
WHERE d.bucket = x.bucket AND d.merchant_id = x.merchant_id AND d.ref = x.ref AND d.kind = x.kind
    AND ((x.bucket, x.merchant_id, x.sn) IN (SELECT bucket, merchant_id, sn FROM held)) IS TRUE

-- part: new_due
-- Work that cannot be there yet.
INSERT INTO due ({due_columns}, lease_until_ms) SELECT {due_columns}, lease_until_ms FROM unnest(?::due[])
WHERE {its_guard_held}

-- part: due
-- New work, or known work put anew.
INSERT INTO due ({due_columns}, lease_until_ms) SELECT {due_columns}, lease_until_ms FROM unnest(?::due[])
WHERE {its_guard_held}
ON CONFLICT (bucket, merchant_id, ref, kind) DO UPDATE SET {due_anew}

-- part: history
-- Lines of history.
INSERT INTO events ({event_columns}) SELECT {event_columns} FROM unnest(?::events[])
WHERE {its_guard_held}

-- part: messages
-- Messages to send.
INSERT INTO notifications ({notification_columns}) SELECT {notification_columns} FROM unnest(?::notifications[])
WHERE {its_guard_held}

-- ------------------------------------------------------------------ the rest

-- name: add_events
-- Many lines of history.
INSERT INTO events ({event_columns}) SELECT {event_columns} FROM unnest($1::events[]);

-- name: due_ready_of_kinds
-- due_ready for several kinds in one journey: it is asked again and again, mostly in vain.
SELECT found.* FROM unnest($1::text[]) AS wanted (kind) CROSS JOIN LATERAL (
    SELECT {due_columns} FROM due WHERE due.kind || '' = wanted.kind AND run_at_ms <= $2 AND lease_until_ms <= $2
    ORDER BY run_at_ms, ref LIMIT $3
) AS found;

-- name: due_ready_of_bucket
-- due_ready of one bucket, for several kinds: for when not every shard can be asked.
SELECT {due_columns} FROM due
WHERE bucket = $1 AND kind || '' = ANY($2::text[]) AND run_at_ms <= $3 AND lease_until_ms <= $3
ORDER BY run_at_ms, ref LIMIT $4;

-- name: claim_many
-- claim_due for many rows, each by its key and guarded alike. Returns the keys that were claimed.
UPDATE due AS d SET lease_until_ms = $2, attempts = d.attempts + 1
FROM unnest($1::due[]) AS x
WHERE d.bucket = x.bucket AND d.merchant_id = x.merchant_id AND d.ref = x.ref AND d.kind = x.kind
    AND d.lease_until_ms <= $3 AND d.attempts = x.attempts AND d.run_at_ms = x.run_at_ms
RETURNING d.bucket, d.merchant_id, d.ref, d.kind;

-- name: save_deliveries
-- What became of many attempts: save_delivery, then delete_due for those that ended, put_due for the others.
WITH told AS (
    UPDATE notifications AS m
    SET status = n.status, attempts = n.attempts, last_ms = n.last_ms, last_answer = n.last_answer
    FROM unnest($1::notifications[]) AS n
    WHERE m.bucket = n.bucket AND m.merchant_id = n.merchant_id AND m.sn = n.sn
        AND m.notification_id = n.notification_id
    RETURNING m.bucket, m.merchant_id, m.sn
), done AS (
    DELETE FROM due AS d USING unnest($2::due[]) AS x
    WHERE d.bucket = x.bucket AND d.merchant_id = x.merchant_id AND d.ref = x.ref AND d.kind = x.kind
)
INSERT INTO due ({due_columns}, lease_until_ms) SELECT {due_columns}, lease_until_ms FROM unnest($3::due[])
WHERE ((bucket, merchant_id, sn) IN (SELECT bucket, merchant_id, sn FROM told)) IS TRUE
ON CONFLICT (bucket, merchant_id, ref, kind) DO UPDATE SET {due_anew};
