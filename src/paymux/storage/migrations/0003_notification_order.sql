-- Which version of its order a message tells about: what happened first is told first, also when several gateways
-- with clocks of their own made the messages.

ALTER TABLE notifications ADD COLUMN order_version BIGINT NOT NULL DEFAULT 0;
