-- Statements of overrides. Those of a run that write prices serve here too. Each writing
-- transaction locks the head first.

-- name: read_model
-- A model is left by an override if nothing but one that has ended ever priced it.
SELECT models.model_key,
       coalesce(pricing.source = 'override' AND cards.state = 'unpriced', false) AS is_left
FROM models
LEFT JOIN model_pricing AS pricing USING (model_key)
LEFT JOIN rate_cards AS cards USING (card_id)
WHERE models.provider = %(provider)s AND models.model_id = %(model_id)s;

-- name: read_due
-- The overrides in force that have reached their end.
SELECT override_id, model_key, until
FROM price_overrides
WHERE cleared_at IS NULL AND until <= clock_timestamp()
ORDER BY model_key;

-- name: read_standing
-- The override in force of a model, if there is one.
SELECT overrides.override_id, overrides.model_key, overrides.until
FROM price_overrides AS overrides
JOIN models USING (model_key)
WHERE overrides.cleared_at IS NULL
  AND models.provider = %(provider)s AND models.model_id = %(model_id)s;

-- name: read_concerned
-- Models whose override begins or ends, and those that they cover.
SELECT DISTINCT ON (known.model_key) known.*, concerned.concerned_by
FROM (
    SELECT model_key, model_key AS concerned_by
    FROM unnest(%(model_keys)s::bigint[]) AS named (model_key)
    UNION ALL
    SELECT model_key, covering_model_key
    FROM covered_ids
    WHERE covering_model_key = ANY(%(model_keys)s)
) AS concerned
JOIN known_models AS known USING (model_key)
ORDER BY known.model_key, concerned.concerned_by <> known.model_key;

-- name: register_provider
INSERT INTO providers (provider, display_name) VALUES (%(provider)s, %(provider)s)
ON CONFLICT (provider) DO NOTHING;

-- name: register_model
INSERT INTO models (provider, model_id) VALUES (%(provider)s, %(model_id)s)
RETURNING model_key;

-- name: keep_covered
-- That a source states the model under another id, if the table has its quote of that id.
INSERT INTO covered_ids (model_key, source, covering_model_key, is_inferred)
SELECT %(model_key)s, quotes.source, quotes.model_key, %(is_inferred)s
FROM models
JOIN price_quotes AS quotes USING (model_key)
WHERE models.provider = %(provider)s AND models.model_id = %(stated_as)s
  AND quotes.source = %(source)s;

-- name: keep_card
INSERT INTO rate_cards (card_id, state, currency, rates)
VALUES (%(card_id)s, %(state)s, %(currency)s, %(rates)s)
ON CONFLICT (card_id) DO NOTHING;

-- name: keep_quote
-- The quote of an override: stated by the admin, at the instant it was set.
INSERT INTO price_quotes (model_key, source, card_id, fragment, obtained_at, stated_since)
VALUES (%(model_key)s, 'override', %(card_id)s, %(fragment)s, %(at)s, %(at)s)
ON CONFLICT (model_key, source) DO UPDATE
SET card_id = excluded.card_id, fragment = excluded.fragment,
    obtained_at = excluded.obtained_at, stated_since = excluded.stated_since,
    is_confirmed = true, missing_syncs = 0;

-- name: end_quotes
-- What is left of an override's quote yields to any other. Deleted it cannot be: the price of
-- a model that no source states points to it, and it is the evidence of what was in force.
UPDATE price_quotes
SET card_id = %(unpriced)s, obtained_at = %(at)s, stated_since = %(at)s, is_confirmed = false
WHERE source = 'override' AND model_key = ANY(%(model_keys)s);

-- name: end_overrides
UPDATE price_overrides
SET cleared_at = greatest(%(at)s, set_at), cleared_kind = %(cleared_kind)s,
    cleared_actor = %(cleared_actor)s, cleared_by = %(cleared_by)s
WHERE cleared_at IS NULL AND model_key = ANY(%(model_keys)s);

-- name: keep_override
INSERT INTO price_overrides (model_key, card_id, replace_card, percent, reason, set_by, set_at,
                             until)
VALUES (%(model_key)s, %(card_id)s, %(replace_card)s, %(percent)s, %(reason)s, %(set_by)s, %(at)s, %(until)s)
RETURNING override_id;

-- name: next_end
-- In how many seconds the next override ends, by the clock of the database that ends it; null
-- if there is no such override. It decides nothing: whoever ends one locks the head first.
SELECT extract(epoch FROM min(until) - clock_timestamp())::float AS seconds
FROM price_overrides
WHERE cleared_at IS NULL AND until IS NOT NULL;
