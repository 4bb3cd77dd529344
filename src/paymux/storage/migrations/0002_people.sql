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
