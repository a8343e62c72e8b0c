-- Whether a quote is what its source says now, and not only what it said last; sound prices
-- in the history; one view of the prices in force for all look-ups.

-- Quotes --------------------------------------------------------------------------

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

-- History -------------------------------------------------------------------------

-- The same rule for prices of the past as for those in force.
ALTER TABLE model_pricing_history
    ADD CHECK (previous_input_price >= 0 AND previous_input_price < 'Infinity'),
    ADD CHECK (previous_output_price >= 0 AND previous_output_price < 'Infinity'),
    ADD CHECK (input_price >= 0 AND input_price < 'Infinity'),
    ADD CHECK (output_price >= 0 AND output_price < 'Infinity');

-- Current prices ------------------------------------------------------------------

CREATE VIEW current_prices AS
SELECT models.model_key,
       models.provider,
       models.model_id,
       models.hugging_face_id,
       models.canonical_slug,
       models.alias_target,
       models.delisted_at,
       pricing.source,
       pricing.effective_time,
       pricing.revision AS price_revision,
       quotes.obtained_at,
       quotes.missing_syncs,
       quotes.is_confirmed,
       cards.card_id,
       cards.state,
       cards.currency,
       cards.rates
FROM models
JOIN model_pricing AS pricing USING (model_key)
JOIN price_quotes AS quotes ON quotes.model_key = pricing.model_key
                           AND quotes.source = pricing.source
JOIN rate_cards AS cards ON cards.card_id = pricing.card_id;
COMMENT ON VIEW current_prices IS
    'The price in force of each model, with its rate card and the quote that tells it.';

-- As the view "rates": read in its owner's name, by those who may see all of it anyway.
REVOKE ALL ON current_prices FROM PUBLIC, pricing_reader, pricing_writer;
GRANT SELECT ON current_prices TO pricing_reader, pricing_writer;
