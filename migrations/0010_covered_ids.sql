-- Ids that a source states under another id of the same model, and which quote of several is
-- in force.

CREATE TABLE covered_ids (
    model_key bigint NOT NULL REFERENCES models ON DELETE RESTRICT,
    source text NOT NULL REFERENCES sources ON DELETE RESTRICT,
    covering_model_key bigint NOT NULL,
    is_inferred boolean NOT NULL,
    PRIMARY KEY (model_key, source),
    FOREIGN KEY (covering_model_key, source) REFERENCES price_quotes ON DELETE RESTRICT,
    CHECK (covering_model_key <> model_key)
);
CREATE INDEX covered_ids_by_covering_model ON covered_ids (covering_model_key);
COMMENT ON TABLE covered_ids IS
    'Listed ids that a source states under another id of the same seller: what it states of that '
    'id it states of these.';
COMMENT ON COLUMN covered_ids.is_inferred IS
    'Whether we infer it from how ids are written; false if the source itself says so.';

ALTER TABLE model_pricing
    ADD COLUMN quoted_model_key bigint,
    ADD COLUMN beneath_source text,
    ADD COLUMN beneath_model_key bigint,
    ADD COLUMN disagreements jsonb NOT NULL DEFAULT '[]';
UPDATE model_pricing SET quoted_model_key = model_key;
UPDATE model_pricing AS pricing
SET beneath_source = beneath.source, beneath_model_key = pricing.model_key
FROM (
    SELECT DISTINCT ON (quotes.model_key) quotes.model_key, quotes.source
    FROM price_quotes AS quotes
    JOIN models USING (model_key)
    JOIN sources USING (source)
    JOIN rate_cards AS cards USING (card_id)
    WHERE quotes.source <> 'override'
    ORDER BY quotes.model_key, cards.state = 'unpriced',
             quotes.missing_syncs >= 2 AND sources.provider IS DISTINCT FROM models.provider,
             sources.rank, quotes.source
) AS beneath
WHERE pricing.source = 'override' AND beneath.model_key = pricing.model_key;
ALTER TABLE model_pricing
    ALTER COLUMN quoted_model_key SET NOT NULL,
    DROP CONSTRAINT model_pricing_model_key_source_fkey,
    ADD FOREIGN KEY (quoted_model_key, source) REFERENCES price_quotes (model_key, source)
        ON DELETE RESTRICT,
    ADD FOREIGN KEY (beneath_model_key, beneath_source) REFERENCES price_quotes (model_key, source)
        ON DELETE RESTRICT,
    ADD CHECK ((beneath_source IS NULL) = (beneath_model_key IS NULL));
COMMENT ON COLUMN model_pricing.quoted_model_key IS
    'The model whose quote is in force: this one, or the id under which the source states it.';
COMMENT ON COLUMN model_pricing.beneath_source IS
    'Whose quote would be in force without the override; null without an override.';
COMMENT ON COLUMN model_pricing.disagreements IS
    'Where other sources state another price, when the row was written: '
    '[{"source", "meter", "price", "other_price"}], USD per one of the meter.';

CREATE VIEW stated_quotes AS
-- What each source states of a model, by its own id or by the one that covers it.
SELECT quotes.model_key, quotes.source, quotes.card_id, quotes.fragment, quotes.obtained_at,
       quotes.stated_since, quotes.sync_run_id, quotes.missing_syncs, quotes.is_confirmed,
       quotes.model_key AS quoted_model_key, NULL::text AS stated_as, false AS is_inferred
FROM price_quotes AS quotes
JOIN rate_cards AS cards USING (card_id)
WHERE NOT EXISTS (
    SELECT FROM covered_ids AS covered
    WHERE covered.model_key = quotes.model_key
      -- What is left of an override that has ended states nothing where a source states something.
      AND (covered.source = quotes.source
           OR (quotes.source = 'override' AND cards.state = 'unpriced'))
)
UNION ALL
SELECT covered.model_key, quotes.source, quotes.card_id, quotes.fragment, quotes.obtained_at,
       quotes.stated_since, quotes.sync_run_id, quotes.missing_syncs, quotes.is_confirmed,
       quotes.model_key, covering.model_id, covered.is_inferred
FROM covered_ids AS covered
JOIN price_quotes AS quotes ON quotes.model_key = covered.covering_model_key
                           AND quotes.source = covered.source
JOIN models AS covering ON covering.model_key = covered.covering_model_key
UNION ALL
-- The override of a covering model holds for what it covers, unless that has one of its own.
SELECT covered.model_key, quotes.source, quotes.card_id, quotes.fragment, quotes.obtained_at,
       quotes.stated_since, quotes.sync_run_id, quotes.missing_syncs, quotes.is_confirmed,
       quotes.model_key, covering.model_id, covered.is_inferred
FROM covered_ids AS covered
JOIN price_quotes AS quotes ON quotes.model_key = covered.covering_model_key
                           AND quotes.source = 'override'
JOIN rate_cards AS cards USING (card_id)
JOIN models AS covering ON covering.model_key = covered.covering_model_key
WHERE cards.state <> 'unpriced'
  AND NOT EXISTS (
      SELECT FROM price_overrides AS own
      WHERE own.model_key = covered.model_key AND own.cleared_at IS NULL);

DROP VIEW current_prices;
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
       cards.rates,
       models.context_length,
       CASE WHEN pricing.quoted_model_key <> pricing.model_key THEN quoted.model_id END
           AS stated_as,
       pricing.disagreements
FROM models
JOIN model_pricing AS pricing USING (model_key)
JOIN price_quotes AS quotes ON quotes.model_key = pricing.quoted_model_key
                           AND quotes.source = pricing.source
JOIN models AS quoted ON quoted.model_key = pricing.quoted_model_key
JOIN rate_cards AS cards ON cards.card_id = pricing.card_id;

DROP VIEW overrides_in_force;
CREATE VIEW overrides_in_force AS
SELECT pricing.model_key, overrides.reason, overrides.set_by, overrides.set_at, overrides.until,
       overrides.card_id, to_jsonb(stated) AS stated
FROM model_pricing AS pricing
JOIN price_overrides AS overrides ON overrides.model_key = pricing.quoted_model_key
                                 AND overrides.cleared_at IS NULL
LEFT JOIN LATERAL (
    SELECT quotes.source, quotes.obtained_at, quotes.stated_since, quotes.missing_syncs,
           quotes.is_confirmed, cards.state, cards.currency, cards.rates,
           CASE WHEN quotes.model_key <> pricing.model_key THEN beneath.model_id END AS stated_as
    FROM price_quotes AS quotes
    JOIN rate_cards AS cards USING (card_id)
    JOIN models AS beneath ON beneath.model_key = quotes.model_key
    WHERE quotes.model_key = pricing.beneath_model_key AND quotes.source = pricing.beneath_source
) AS stated ON true
WHERE pricing.source = 'override';
COMMENT ON VIEW overrides_in_force IS
    'By model the override in force, its own or that of the id that covers it, with the quote '
    'that would be without it; null if there is none.';

CREATE VIEW known_models AS
SELECT models.model_key, models.provider, models.model_id, models.is_active,
       pricing.card_id, pricing.source,
       CASE WHEN pricing.quoted_model_key <> pricing.model_key THEN quoted.model_id END
           AS stated_as,
       pricing.beneath_source,
       CASE WHEN pricing.beneath_model_key <> pricing.model_key THEN beneath.model_id END
           AS beneath_stated_as,
       pricing.disagreements
FROM models
LEFT JOIN model_pricing AS pricing USING (model_key)
LEFT JOIN models AS quoted ON quoted.model_key = pricing.quoted_model_key
LEFT JOIN models AS beneath ON beneath.model_key = pricing.beneath_model_key;
COMMENT ON VIEW known_models IS 'Models as a change of prices finds them: what is in force, and whose price it is.';

-- Rights, as for every table -----------------------------------------------------------

REVOKE ALL ON covered_ids, stated_quotes, current_prices, overrides_in_force, known_models
    FROM PUBLIC, pricing_reader, pricing_writer;
GRANT SELECT ON covered_ids, stated_quotes, current_prices, overrides_in_force, known_models
    TO pricing_reader, pricing_writer;
-- What is derived from the sources' own statements comes and goes with them.
GRANT INSERT, UPDATE, DELETE ON covered_ids TO pricing_writer;
ALTER TABLE covered_ids ENABLE ROW LEVEL SECURITY;
CREATE POLICY looking_up ON covered_ids FOR SELECT TO pricing_reader, pricing_writer USING (true);
CREATE POLICY adding ON covered_ids FOR INSERT TO pricing_writer WITH CHECK (true);
CREATE POLICY changing ON covered_ids FOR UPDATE TO pricing_writer USING (true);
CREATE POLICY removing ON covered_ids FOR DELETE TO pricing_writer USING (true);
