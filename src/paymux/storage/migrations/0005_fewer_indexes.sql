-- No index on what a payment changes in its order: PostgreSQL then writes the new version beside the old one and
-- leaves all indexes alone (decision 20). The channel's number is looked up among the movements, which carry
-- it too, and orders that wait for something are found by their due work.

DROP INDEX orders_not_paid;

DROP INDEX orders_by_trade_no;

-- Sales that were undone, and learned the channel's number only after that.
UPDATE transactions SET trade_no = (
    SELECT trade_no FROM orders WHERE orders.bucket = transactions.bucket
        AND orders.merchant_id = transactions.merchant_id AND orders.sn = transactions.sn
) WHERE kind = 'pay' AND trade_no = '' AND EXISTS (
    SELECT 1 FROM orders WHERE orders.bucket = transactions.bucket
        AND orders.merchant_id = transactions.merchant_id AND orders.sn = transactions.sn
        AND orders.trade_no <> ''
);

-- Some tills refund by the channel's number.
CREATE INDEX pays_by_trade_no ON transactions (trade_no, merchant_id, bucket) WHERE kind = 'pay' AND trade_no <> '';
