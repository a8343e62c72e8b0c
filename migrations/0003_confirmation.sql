-- Whether a quote is what its source says now, and not only what it said last.

ALTER TABLE price_quotes ADD COLUMN is_confirmed boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN price_quotes.is_confirmed IS
    'Whether the source''s last successful sync stated this card: false if the model was missing '
    'from it, listed without its price, or in a row that could not be read.';

-- What the last successful sync stated bears the time of its data.
UPDATE price_quotes AS quotes
SET is_confirmed = false
FROM (
    SELECT DISTINCT ON (source) source, obtained_at
    FROM pricing_sync_log
    WHERE status = 'success'
    ORDER BY source, sync_run_id DESC
) AS last
WHERE last.source = quotes.source
  AND (quotes.missing_syncs > 0 OR quotes.obtained_at IS DISTINCT FROM last.obtained_at);

-- The same rule for prices of the past as for those in force.
ALTER TABLE model_pricing_history
    ADD CHECK (previous_input_price >= 0 AND previous_input_price < 'Infinity'),
    ADD CHECK (previous_output_price >= 0 AND previous_output_price < 'Infinity'),
    ADD CHECK (input_price >= 0 AND input_price < 'Infinity'),
    ADD CHECK (output_price >= 0 AND output_price < 'Infinity');
