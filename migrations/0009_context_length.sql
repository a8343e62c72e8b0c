-- How many tokens of input and output a model takes together.

ALTER TABLE models
    ADD COLUMN context_length bigint CHECK (context_length > 0),
    ADD COLUMN context_length_source text REFERENCES sources ON DELETE RESTRICT,
    ADD CHECK ((context_length IS NULL) = (context_length_source IS NULL));
COMMENT ON COLUMN models.context_length IS
    'Tokens of input and output together; null if no source states it.';
COMMENT ON COLUMN models.context_length_source IS
    'Who states the context length: of several sources the one with the lowest rank.';

ALTER TABLE held_changes ADD COLUMN context_length bigint CHECK (context_length > 0);

-- As before, with one column more.
CREATE OR REPLACE VIEW current_prices AS
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
       cards.rates,
       models.context_length
FROM models
JOIN model_pricing AS pricing USING (model_key)
JOIN price_quotes AS quotes ON quotes.model_key = pricing.model_key
                           AND quotes.source = pricing.source
JOIN rate_cards AS cards ON cards.card_id = pricing.card_id;

GRANT UPDATE (context_length, context_length_source) ON models TO pricing_writer;
