-- What the migrations add up to; for readers. A test holds it against them.

-- The money path. Amounts are fen, times are epoch milliseconds (0: not yet), "" means "none".
-- bucket = CRC-32 of merchant_id mod 64, for ever; with merchant_id it is part of every key (DESIGN §7). Each
-- index begins with what tells most rows apart, and with nothing another one begins with: a planner without
-- statistics cannot choose wrongly, and new rows come to the end (decision 15).
-- Columns stand in the order of the records' fields: rows.py reads them by position. What changes stands
-- last, side by side: PostgreSQL logs all that lies between (decision 20).

CREATE TABLE orders (
    bucket              INTEGER NOT NULL CHECK (bucket >= 0 AND bucket < 64),
    merchant_id         TEXT    NOT NULL,
    sn                  TEXT    NOT NULL,
    client_sn           TEXT    NOT NULL,
    store_sn            TEXT    NOT NULL,
    terminal_sn         TEXT    NOT NULL,
    account             TEXT    NOT NULL,
    channel             TEXT    NOT NULL,
    payway              TEXT    NOT NULL,
    sub_payway          TEXT    NOT NULL,
    currency            TEXT    NOT NULL,
    digest              TEXT    NOT NULL,
    subject             TEXT    NOT NULL,
    description         TEXT    NOT NULL,
    operator            TEXT    NOT NULL,
    reflect             TEXT    NOT NULL,
    notify_url          TEXT    NOT NULL,
    detail              TEXT    NOT NULL,
    qr_code             TEXT    NOT NULL,
    wap_pay_request     TEXT    NOT NULL,
    undo_tsn            TEXT    NOT NULL,
    error_code          TEXT    NOT NULL,
    error_message       TEXT    NOT NULL,
    latest_tsn          TEXT    NOT NULL,
    latest_kind         TEXT    NOT NULL,
    latest_operator     TEXT    NOT NULL,
    latest_client_tsn   TEXT    NOT NULL,
    total               BIGINT  NOT NULL,
    ctime_ms            BIGINT  NOT NULL,
    deadline_ms         BIGINT  NOT NULL,
    asked_ms            BIGINT  NOT NULL,  -- when the channel was last asked; not covered by version
    refunded            BIGINT  NOT NULL,  -- what went back
    refunding           BIGINT  NOT NULL,  -- what is reserved for refunds under way
    paid                BIGINT  NOT NULL,  -- what the wallet took and has not voided
    version             BIGINT  NOT NULL CHECK (version >= 1),  -- what compare-and-set compares
    finish_ms           BIGINT  NOT NULL,
    channel_finish_ms   BIGINT  NOT NULL,
    status              TEXT    NOT NULL CHECK (
        status = 'CREATED'               -- the wish is durable; the wallet may have been asked
        OR status = 'PAID'               -- CREATED -> the wallet took the money
        OR status = 'PAY_CANCELED'       -- CREATED -> refused, or unresolved and reversed
        OR status = 'PAY_ERROR'          -- CREATED -> the reversal itself is unresolved; slow attempts go on
        OR status = 'REFUND_INPROGRESS'  -- PAID, PARTIAL_REFUNDED -> an amount is reserved
        OR status = 'PARTIAL_REFUNDED'   -- REFUND_INPROGRESS -> a part went back
        OR status = 'REFUNDED'           -- REFUND_INPROGRESS -> everything went back
        OR status = 'REFUND_ERROR'       -- REFUND_INPROGRESS -> no definite answer; slow attempts go on
        OR status = 'CANCEL_INPROGRESS'  -- CREATED, PAID -> the shop wants it undone
        OR status = 'CANCELED'           -- CANCEL_INPROGRESS -> the buyer has the money
        OR status = 'CANCEL_ERROR'       -- CANCEL_INPROGRESS -> no definite answer; slow attempts go on
    ),
    latest_status       TEXT    NOT NULL,
    trade_no            TEXT    NOT NULL,
    payer_uid           TEXT    NOT NULL,
    payer_login         TEXT    NOT NULL,
    payment_list        TEXT    NOT NULL,
    PRIMARY KEY (sn, merchant_id, bucket),
    CONSTRAINT client_sn_once UNIQUE (client_sn, merchant_id, bucket),
    CONSTRAINT no_more_back_than_paid CHECK (refunded >= 0 AND refunding >= 0 AND refunded + refunding <= paid),
    CONSTRAINT no_more_paid_than_total CHECK (paid <= total)
);

-- No index here on what a payment changes: PostgreSQL would write to all of them again (decision 20).

CREATE TABLE transactions (
    bucket              INTEGER NOT NULL,
    merchant_id         TEXT    NOT NULL,
    sn                  TEXT    NOT NULL,
    tsn                 TEXT    NOT NULL,
    kind                TEXT    NOT NULL CHECK (
        kind = 'pay'             -- take the total
        OR kind = 'cancel'       -- the shop wants the sale undone
        OR kind = 'reverse'      -- we undo a pay we cannot resolve
        OR kind = 'refund'       -- the shop gives an amount back
        OR kind = 'late_refund'  -- we give back what came after the sale was undone
    ),
    status              TEXT    NOT NULL CHECK (
        status = 'CREATED'             -- durable; the wallet may have been asked
        OR status = 'IN_PROG'          -- CREATED -> the wallet works on it
        OR status = 'SUCCESS'          -- done at the wallet
        OR status = 'FAIL_CANCELED'    -- refused: no money moved
        OR status = 'FAIL_PROTOCOL_1'  -- an answer nobody understands, while paying
        OR status = 'FAIL_PROTOCOL_2'  -- ... while querying
        OR status = 'FAIL_PROTOCOL_3'  -- ... while reversing
        OR status = 'FAIL_IO_1'        -- no answer, while paying
        OR status = 'FAIL_IO_2'        -- ... while querying
        OR status = 'FAIL_IO_3'        -- ... while reversing
        OR status = 'FAIL_ERROR'       -- the pay is unresolved for another reason
        OR status = 'CANCEL_ERROR'     -- the cancel is unresolved
        OR status = 'REFUND_ERROR'     -- the refund is unresolved, or refused
    ),
    amount              BIGINT  NOT NULL CHECK (amount >= 0),
    operator            TEXT    NOT NULL,
    refund_request_no   TEXT    NOT NULL,
    undo_by             TEXT    NOT NULL,
    trade_no            TEXT    NOT NULL,
    error_code          TEXT    NOT NULL,
    error_message       TEXT    NOT NULL,
    ctime_ms            BIGINT  NOT NULL,
    finish_ms           BIGINT  NOT NULL,
    channel_finish_ms   BIGINT  NOT NULL,
    doubt_ms            BIGINT  NOT NULL,  -- when a request went out whose end is not known; 0: none
    PRIMARY KEY (sn, tsn, merchant_id, bucket),
    FOREIGN KEY (sn, merchant_id, bucket) REFERENCES orders (sn, merchant_id, bucket)
);

-- Some tills refund by the channel's number.
CREATE INDEX pays_by_trade_no ON transactions (trade_no, merchant_id, bucket) WHERE kind = 'pay' AND trade_no <> '';

-- A merchant's refund number is one refund of an order (promise M7).
CREATE UNIQUE INDEX refund_once ON transactions (sn, refund_request_no, merchant_id, bucket)
    WHERE refund_request_no <> '';

-- The order's history: who did what, when (promise M11). Lines are added, never changed.
CREATE TABLE events (
    bucket              INTEGER NOT NULL,
    merchant_id         TEXT    NOT NULL,
    sn                  TEXT    NOT NULL,
    event_id            TEXT    NOT NULL,
    at_ms               BIGINT  NOT NULL,
    who                 TEXT    NOT NULL,
    what                TEXT    NOT NULL,
    text                TEXT    NOT NULL,
    PRIMARY KEY (sn, event_id, merchant_id, bucket)
);

-- What time must not forget. The commit that makes something uncertain writes the row; the one that settles
-- it deletes the row, or the one that tells the merchant how it ended (decision 21).
CREATE TABLE due (
    bucket              INTEGER NOT NULL,
    merchant_id         TEXT    NOT NULL,
    ref                 TEXT    NOT NULL,  -- sn, tsn or notification_id, as kind says
    kind                TEXT    NOT NULL CHECK (
        kind = 'recover'    -- ref is the sn: ask what became of the pay, reverse it when its time is over, tell it
                            -- or the tsn of a cancel of what was settled: bring it to its end
        OR kind = 'refund'  -- ref is the tsn: bring the refund to its end
        OR kind = 'watch'   -- ref is the sn: did an undone order take money after all?
        OR kind = 'notify'  -- ref is the notification_id: tell the merchant
    ),
    sn                  TEXT    NOT NULL,
    run_at_ms           BIGINT  NOT NULL,
    attempts            INTEGER NOT NULL,  -- claims so far
    lease_until_ms      BIGINT  NOT NULL,  -- somebody works on it until then; 0: nobody
    PRIMARY KEY (ref, kind, merchant_id, bucket)
);

-- An expression, so that nothing but a claim can go by it: a look-up by key names the kind, too.
CREATE INDEX due_by_time ON due ((kind || ''), run_at_ms);

-- Messages to merchants, the body exactly as it is signed and sent.
CREATE TABLE notifications (
    bucket              INTEGER NOT NULL,
    merchant_id         TEXT    NOT NULL,
    sn                  TEXT    NOT NULL,
    notification_id     TEXT    NOT NULL,
    url                 TEXT    NOT NULL,
    body                TEXT    NOT NULL,
    ctime_ms            BIGINT  NOT NULL,
    order_version       BIGINT  NOT NULL,  -- of the order, when it was written: the order of telling
    last_ms             BIGINT  NOT NULL,
    attempts            INTEGER NOT NULL,
    status              TEXT    NOT NULL CHECK (
        status = 'WAITING'       -- a due row, its own or its sale's, brings it to somebody
        OR status = 'DELIVERED'  -- WAITING -> the merchant's server said so
        OR status = 'GAVE_UP'    -- WAITING -> its life is over; it can be sent again by hand
    ),
    last_answer         TEXT    NOT NULL,
    PRIMARY KEY (sn, notification_id, merchant_id, bucket)
);

-- Who may ask, and with which keys. Reference data: written rarely, small, the same on every shard.
-- Columns named *_sealed hold AES-256-GCM text bound to their row (kit/seal.py), never plain secrets.

CREATE TABLE vendors (
    vendor_sn           TEXT    NOT NULL PRIMARY KEY,
    vendor_key_sealed   TEXT    NOT NULL,
    app_id              TEXT    NOT NULL
);

CREATE TABLE merchants (
    merchant_sn         TEXT    NOT NULL PRIMARY KEY,
    name                TEXT    NOT NULL,
    timezone            TEXT    NOT NULL
);

CREATE TABLE stores (
    store_sn            TEXT    NOT NULL PRIMARY KEY,
    merchant_sn         TEXT    NOT NULL,
    name                TEXT    NOT NULL
);

CREATE TABLE activation_codes (
    code                TEXT    NOT NULL PRIMARY KEY,
    store_sn            TEXT    NOT NULL,
    uses                INTEGER NOT NULL,                     -- how many were given
    spent               INTEGER NOT NULL CHECK (spent >= 0),  -- how many are gone; survives a new gift
    expires_ms          BIGINT  NOT NULL                      -- 0: never
);

CREATE TABLE terminals (
    terminal_sn         TEXT    NOT NULL PRIMARY KEY,
    merchant_sn         TEXT    NOT NULL,
    store_sn            TEXT    NOT NULL,
    app_id              TEXT    NOT NULL,
    device_id           TEXT    NOT NULL,
    client_sn           TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    active              INTEGER NOT NULL CHECK (active IN (0, 1)),
    current_key_sealed  TEXT    NOT NULL,
    last_key_sealed     TEXT    NOT NULL
);

-- A third party's own number names one terminal under its app (upay-v2.md §3.1).
CREATE UNIQUE INDEX terminal_client_sn_once ON terminals (app_id, client_sn) WHERE client_sn <> '';

-- "Is this device a terminal of the merchant already?"
CREATE INDEX terminals_of_merchant ON terminals (merchant_sn, device_id);

CREATE TABLE accounts (
    merchant_sn         TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    channel             TEXT    NOT NULL,
    payways             TEXT    NOT NULL,  -- JSON list
    base_url            TEXT    NOT NULL,
    credentials_sealed  TEXT    NOT NULL,  -- a JSON object before it was sealed
    position            INTEGER NOT NULL,  -- the merchant's order of preference
    PRIMARY KEY (merchant_sn, name)
);

-- A known text under the master key: tells a wrong key when the database is opened, not at the first pay.
CREATE TABLE seals (
    name                TEXT    NOT NULL PRIMARY KEY,
    sealed              TEXT    NOT NULL
);

-- What processes that share a database agree upon.

-- Whoever holds a node takes order numbers from it; nobody else may, until the lease is over (kit/ids.py).
CREATE TABLE nodes (
    node                INTEGER NOT NULL PRIMARY KEY,
    holder              TEXT    NOT NULL,
    lease_until_ms      BIGINT  NOT NULL
);

-- A write whose commit is clean: what was committed before it is then as safe as it (RELIABILITY §2, R5).
CREATE TABLE fences (
    name                TEXT    NOT NULL PRIMARY KEY,
    at_ms               BIGINT  NOT NULL
);
