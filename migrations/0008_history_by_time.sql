-- What was known at a time; the least that a rate charges for.

-- The last revision by a time.
CREATE INDEX model_pricing_history_by_time ON model_pricing_history (changed_at, revision);

CREATE OR REPLACE VIEW rates AS
SELECT card_id,
       position,
       rate ->> 'meter' AS meter,
       (rate ->> 'price')::numeric AS price,
       coalesce((rate ->> 'per')::bigint, 1) AS per,
       rate - 'meter' - 'price' - 'per' - 'minimum' AS conditions,
       coalesce((rate ->> 'minimum')::bigint, 0) AS minimum
FROM rate_cards, jsonb_array_elements(rates) WITH ORDINALITY AS listed (rate, position);
COMMENT ON COLUMN rates.minimum IS 'For how many units a request with any is charged at least.';
