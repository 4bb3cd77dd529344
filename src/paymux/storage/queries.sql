-- Every question the gateway asks its database. One dialect for SQLite >= 3.40 and PostgreSQL >= 15.
-- Writes that are guarded took effect when they count one row. Time comes in as a parameter.

-- ------------------------------------------------------------------ orders

-- part: order_columns
-- An order in the order of its record's fields.
bucket, merchant_id, sn, client_sn, store_sn, terminal_sn, account, channel, payway, sub_payway,
currency, digest, subject, description, operator, reflect, notify_url, detail, qr_code,
wap_pay_request, undo_tsn, error_code, error_message, latest_tsn, latest_kind, latest_operator,
latest_client_tsn, total, ctime_ms, deadline_ms, asked_ms, refunded, refunding, paid, version,
finish_ms, channel_finish_ms, status, latest_status, trade_no, payer_uid, payer_login, payment_list

-- name: insert_order
-- A new order; guarded: no row when the merchant used its client_sn before.
INSERT INTO orders ({order_columns})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
        ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bucket, merchant_id, client_sn) DO NOTHING;

-- name: update_order
-- The next version; guarded by key, version and status. What was asked for stays as it was, and asked_ms
-- belongs to mark_asked.
UPDATE orders
SET paid = ?, refunded = ?, refunding = ?, status = ?, version = ?, undo_tsn = ?, trade_no = ?, payer_uid = ?,
    payer_login = ?, payment_list = ?, qr_code = ?, wap_pay_request = ?, error_code = ?, error_message = ?,
    deadline_ms = ?, finish_ms = ?, channel_finish_ms = ?, latest_tsn = ?, latest_kind = ?, latest_status = ?,
    latest_operator = ?, latest_client_tsn = ?
WHERE bucket = ? AND merchant_id = ? AND sn = ? AND version = ? AND status = ?;

-- name: mark_asked
-- Take the right to ask the channel; guarded by the time it was taken last.
UPDATE orders SET asked_ms = ?
WHERE bucket = ? AND merchant_id = ? AND sn = ? AND (asked_ms = 0 OR asked_ms <= ?);

-- name: asked
-- When the channel was last asked; spares a write when it is too early anyway.
SELECT asked_ms FROM orders WHERE bucket = ? AND merchant_id = ? AND sn = ?;

-- name: order_by_key
-- The order as it is now.
SELECT {order_columns} FROM orders WHERE bucket = ? AND merchant_id = ? AND sn = ?;

-- name: order_by_client_sn
-- By the merchant's own number.
SELECT {order_columns} FROM orders WHERE bucket = ? AND merchant_id = ? AND client_sn = ?;

-- name: order_by_trade_no
-- By the channel's number, which its pay carries; the newest should a channel have used it twice. The last
-- conditions let the partial index serve.
SELECT {order_columns} FROM orders WHERE bucket = ? AND merchant_id = ? AND sn = (
    SELECT MAX(sn) FROM transactions
    WHERE bucket = ? AND merchant_id = ? AND trade_no = ? AND kind = 'pay' AND trade_no <> ''
);

-- name: orders_page
-- A page of all orders in the order of their numbers, which is that of time.
SELECT {order_columns} FROM orders WHERE (sn, merchant_id, bucket) > (?, ?, ?)
ORDER BY sn, merchant_id, bucket LIMIT ?;

-- name: orders_page_settled
-- A page of the orders in a status in which nothing is due, in the order of their numbers; walks through all.
SELECT {order_columns} FROM orders WHERE status = ? AND (sn, merchant_id, bucket) > (?, ?, ?)
ORDER BY sn, merchant_id, bucket LIMIT ?;

-- ------------------------------------------------------------------ transactions

-- part: transaction_columns
-- A movement in the order of its record's fields.
bucket, merchant_id, sn, tsn, kind, status, amount, operator, refund_request_no, undo_by, trade_no,
error_code, error_message, ctime_ms, finish_ms, channel_finish_ms, doubt_ms

-- part: movement_changes
-- A movement's number at the merchant never changes; guarded: nor does its kind, for no amount may be -1.
status = excluded.status, operator = excluded.operator, undo_by = excluded.undo_by,
amount = CASE WHEN transactions.kind = excluded.kind THEN excluded.amount ELSE -1 END,
trade_no = excluded.trade_no, error_code = excluded.error_code, error_message = excluded.error_message,
ctime_ms = excluded.ctime_ms, finish_ms = excluded.finish_ms,
channel_finish_ms = excluded.channel_finish_ms, doubt_ms = excluded.doubt_ms

-- name: put_transaction
-- Write a movement over what is there.
INSERT INTO transactions ({transaction_columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bucket, merchant_id, sn, tsn) DO UPDATE SET {movement_changes};

-- name: transactions_of_order
-- All movements of an order, oldest first.
SELECT {transaction_columns} FROM transactions WHERE bucket = ? AND merchant_id = ? AND sn = ?
ORDER BY ctime_ms, tsn;

-- name: transaction_by_tsn
-- One movement.
SELECT {transaction_columns} FROM transactions WHERE bucket = ? AND merchant_id = ? AND sn = ? AND tsn = ?;

-- name: refund_by_number
-- The refund the merchant gave this number.
SELECT {transaction_columns} FROM transactions
WHERE bucket = ? AND merchant_id = ? AND sn = ? AND refund_request_no = ? AND refund_request_no <> '';

-- ------------------------------------------------------------------ events

-- part: event_columns
-- A line of history in the order of its record's fields.
bucket, merchant_id, sn, event_id, at_ms, who, what, text

-- name: add_event
-- One line of history.
INSERT INTO events ({event_columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: events_of_order
-- The order's history, oldest first; within a millisecond by id, which is made in order.
SELECT {event_columns} FROM events
WHERE bucket = ? AND merchant_id = ? AND sn = ? ORDER BY at_ms, event_id;

-- ------------------------------------------------------------------ due work

-- part: due_columns
-- Due work in the order of its record's fields; the lease is storage's own business.
bucket, merchant_id, ref, kind, sn, run_at_ms, attempts

-- part: due_anew
-- Known work put anew runs at its new time and is anybody's then, whoever holds it now.
run_at_ms = excluded.run_at_ms, attempts = excluded.attempts, lease_until_ms = excluded.lease_until_ms

-- name: put_due
-- New work, or known work put anew.
INSERT INTO due ({due_columns}, lease_until_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bucket, merchant_id, ref, kind) DO UPDATE SET {due_anew};

-- name: orders_with_work
-- A page of the orders that wait for something or are just being told, in the order of their numbers: few.
SELECT DISTINCT sn, merchant_id, bucket FROM due
WHERE kind || '' IN ('recover', 'refund') AND (sn, merchant_id, bucket) > (?, ?, ?)
ORDER BY sn, merchant_id, bucket LIMIT ?;

-- name: delete_due
-- The work is settled.
DELETE FROM due WHERE bucket = ? AND merchant_id = ? AND ref = ? AND kind = ?;

-- name: due_ready
-- What may be claimed of one kind, oldest first. The index serves the order, so a long queue costs no sorting.
SELECT {due_columns} FROM due WHERE kind || '' = ? AND run_at_ms <= ? AND lease_until_ms <= ?
ORDER BY run_at_ms, ref LIMIT ?;

-- name: claim_due
-- Take a lease on one row by its key. Guarded by the lease, and by what was read: another claimant may have
-- been here meanwhile, and perhaps given the row back already.
UPDATE due SET lease_until_ms = ?, attempts = attempts + 1
WHERE bucket = ? AND merchant_id = ? AND ref = ? AND kind = ?
    AND lease_until_ms <= ? AND attempts = ? AND run_at_ms = ?;

-- name: put_off
-- Give work back for later; guarded by attempts, and for a claim by its time too: a row that was put anew
-- and claimed again counts from 1 again.
UPDATE due SET run_at_ms = ?, lease_until_ms = 0
WHERE bucket = ? AND merchant_id = ? AND ref = ? AND kind = ?
    AND attempts = ? AND (attempts = 0 OR run_at_ms = ?);

-- name: drop_due
-- Work done or no longer needed; guarded as put_off is.
DELETE FROM due
WHERE bucket = ? AND merchant_id = ? AND ref = ? AND kind = ?
    AND attempts = ? AND (attempts = 0 OR run_at_ms = ?);

-- name: due_of_order
-- What still has to be done about an order: its rows refer to itself, to its movements and to its messages.
SELECT {due_columns} FROM due WHERE bucket = ? AND merchant_id = ? AND sn = ? AND ref IN (
    SELECT sn FROM orders WHERE bucket = ? AND merchant_id = ? AND sn = ?
    UNION ALL SELECT tsn FROM transactions WHERE bucket = ? AND merchant_id = ? AND sn = ?
    UNION ALL SELECT notification_id FROM notifications WHERE bucket = ? AND merchant_id = ? AND sn = ?
) ORDER BY run_at_ms, kind, ref;

-- ------------------------------------------------------------------ notifications

-- part: notification_columns
-- A notification in the order of its record's fields.
bucket, merchant_id, sn, notification_id, url, body, ctime_ms, order_version, last_ms, attempts, status,
last_answer

-- name: add_notification
-- A message to send; its due row is put in the same commit, or its sale's stands for it.
INSERT INTO notifications ({notification_columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: save_delivery
-- What became of an attempt; the message itself never changes.
UPDATE notifications SET status = ?, attempts = ?, last_ms = ?, last_answer = ?
WHERE bucket = ? AND merchant_id = ? AND sn = ? AND notification_id = ?;

-- name: notifications_of_order
-- All messages about an order in the order of what they tell, whichever clock each was stamped by.
SELECT {notification_columns} FROM notifications WHERE bucket = ? AND merchant_id = ? AND sn = ?
ORDER BY order_version, ctime_ms, notification_id;

-- ------------------------------------------------------------------ people

-- name: put_vendor
-- Insert or replace.
INSERT INTO vendors (vendor_sn, vendor_key_sealed, app_id) VALUES (?, ?, ?)
ON CONFLICT (vendor_sn) DO UPDATE SET vendor_key_sealed = excluded.vendor_key_sealed, app_id = excluded.app_id;

-- name: vendor_by_sn
-- Who signs an activation.
SELECT vendor_sn, vendor_key_sealed, app_id FROM vendors WHERE vendor_sn = ?;

-- name: put_merchant
-- Insert or replace.
INSERT INTO merchants (merchant_sn, name, timezone) VALUES (?, ?, ?)
ON CONFLICT (merchant_sn) DO UPDATE SET name = excluded.name, timezone = excluded.timezone;

-- name: merchant_by_sn
-- Whose money.
SELECT merchant_sn, name, timezone FROM merchants WHERE merchant_sn = ?;

-- name: merchants
-- All of them, in the order of their numbers.
SELECT merchant_sn, name, timezone FROM merchants ORDER BY merchant_sn;

-- name: put_store
-- Insert or replace.
INSERT INTO stores (store_sn, merchant_sn, name) VALUES (?, ?, ?)
ON CONFLICT (store_sn) DO UPDATE SET merchant_sn = excluded.merchant_sn, name = excluded.name;

-- name: store_by_sn
-- One shop.
SELECT store_sn, merchant_sn, name FROM stores WHERE store_sn = ?;

-- name: put_activation_code
-- Insert or replace; what was spent stays spent.
INSERT INTO activation_codes (code, store_sn, uses, spent, expires_ms) VALUES (?, ?, ?, 0, ?)
ON CONFLICT (code) DO UPDATE
SET store_sn = excluded.store_sn, uses = excluded.uses, expires_ms = excluded.expires_ms;

-- name: activation_code
-- The code with what is left of it.
SELECT code, store_sn, CASE WHEN uses > spent THEN uses - spent ELSE 0 END, expires_ms
FROM activation_codes WHERE code = ?;

-- name: spend_activation_code
-- Use the code once; guarded: it has uses left and is still valid.
UPDATE activation_codes SET spent = spent + 1
WHERE code = ? AND spent < uses AND (expires_ms = 0 OR expires_ms > ?);

-- name: unspend_activation_code
-- The terminal it was spent for could not be added.
UPDATE activation_codes SET spent = spent - 1 WHERE code = ?;

-- part: terminal_columns
-- A terminal in the order of its record's fields, its keys sealed.
terminal_sn, merchant_sn, store_sn, app_id, device_id, client_sn, name, active, current_key_sealed,
last_key_sealed

-- name: put_terminal
-- Insert or replace.
INSERT INTO terminals ({terminal_columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (terminal_sn) DO UPDATE
SET merchant_sn = excluded.merchant_sn, store_sn = excluded.store_sn, app_id = excluded.app_id,
    device_id = excluded.device_id, client_sn = excluded.client_sn, name = excluded.name, active = excluded.active,
    current_key_sealed = excluded.current_key_sealed, last_key_sealed = excluded.last_key_sealed;

-- name: add_terminal
-- A newly activated terminal; guarded: neither its number nor its client_sn under the app is taken.
INSERT INTO terminals ({terminal_columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: terminal_of_device
-- Is this device a terminal of the merchant already?
SELECT terminal_sn FROM terminals WHERE merchant_sn = ? AND device_id = ? LIMIT 1;

-- name: terminal_by_sn
-- One till.
SELECT {terminal_columns} FROM terminals WHERE terminal_sn = ?;

-- name: rotate_key
-- A new pair of keys; guarded by the pair that was read: sealed texts never repeat.
UPDATE terminals SET current_key_sealed = ?, last_key_sealed = ?
WHERE terminal_sn = ? AND current_key_sealed = ? AND last_key_sealed = ?;

-- name: put_account
-- Insert or replace, at a place in the merchant's order.
INSERT INTO accounts (merchant_sn, name, channel, payways, base_url, credentials_sealed, position)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (merchant_sn, name) DO UPDATE
SET channel = excluded.channel, payways = excluded.payways, base_url = excluded.base_url,
    credentials_sealed = excluded.credentials_sealed, position = excluded.position;

-- name: accounts_of_merchant
-- A merchant's channel accounts in their order.
SELECT merchant_sn, name, channel, payways, base_url, credentials_sealed FROM accounts
WHERE merchant_sn = ? ORDER BY position, name;

-- name: account_places
-- Which account stands where.
SELECT name, position FROM accounts WHERE merchant_sn = ? ORDER BY position;

-- ------------------------------------------------------------------ the database itself

-- name: migrations_table
-- Where migrate.py keeps its books.
CREATE TABLE IF NOT EXISTS migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,
                                       applied_ms BIGINT NOT NULL);

-- name: migrations_applied
-- What this database has been through.
SELECT number, name FROM migrations ORDER BY number;

-- name: migration_applied
-- Recorded in the transaction that applies it.
INSERT INTO migrations (number, name, applied_ms) VALUES (?, ?, ?);

-- name: put_seal
-- The known text under the master key; the first one stays.
INSERT INTO seals (name, sealed) VALUES (?, ?) ON CONFLICT (name) DO NOTHING;

-- name: seal_by_name
-- What the master key must open.
SELECT sealed FROM seals WHERE name = ?;

-- name: take_node
-- Take a node's numbers; guarded: its last lease is over.
INSERT INTO nodes (node, holder, lease_until_ms) VALUES (?, ?, ?)
ON CONFLICT (node) DO UPDATE SET holder = excluded.holder, lease_until_ms = excluded.lease_until_ms
WHERE nodes.lease_until_ms < ?;

-- name: node_until
-- Until when a node's numbers belong to somebody.
SELECT lease_until_ms FROM nodes WHERE node = ?;

-- name: keep_node
-- Keep a node, or let it go; guarded by its holder.
UPDATE nodes SET lease_until_ms = ? WHERE node = ? AND holder = ?;

-- name: fence
-- A commit of our own, after which everything committed before is as safe as it.
INSERT INTO fences (name, at_ms) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms;

-- name: event_exists
-- Was this line of history written?
SELECT 1 FROM events WHERE bucket = ? AND merchant_id = ? AND sn = ? AND event_id = ?;
