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
