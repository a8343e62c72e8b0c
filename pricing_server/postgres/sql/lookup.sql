-- Statements of look-ups. All are read-only.

-- name: find_pricing
-- The prices of a model id, at one seller or at all of them, with the head they were
-- read at. One statement, so one snapshot. Without a match: one row with the head alone.
SELECT head.revision AS head_revision,
       head.epoch::text AS head_epoch,
       found.*,
       overrides.set_by, overrides.reason, overrides.until, overrides.stated,
       pending.*
FROM price_table_head AS head
LEFT JOIN current_prices AS found
       ON found.model_id = %(model_id)s
      AND (%(provider)s::text IS NULL OR found.provider = %(provider)s)
LEFT JOIN overrides_in_force AS overrides ON overrides.model_key = found.model_key
LEFT JOIN LATERAL (
    -- Of several sources' the one that ranks first.
    SELECT held.held_change_id AS pending_id, held.source AS pending_source,
           held.reason AS pending_reason, held.held_since AS pending_since,
           cards.state AS pending_state, cards.currency AS pending_currency,
           cards.rates AS pending_rates
    FROM held_changes AS held
    JOIN sources USING (source)
    JOIN rate_cards AS cards ON cards.card_id = held.card_id
    WHERE held.provider = found.provider AND held.model_id = found.model_id
      AND held.status = 'open'
    ORDER BY sources.rank, held.source
    LIMIT 1
) AS pending ON true;

-- name: read_head
-- The state of the whole price table.
SELECT revision, epoch::text AS epoch FROM price_table_head;

-- name: list_names
-- Every model's names, for near matches.
SELECT provider, model_id FROM models ORDER BY provider, model_id;

-- name: find_references
-- A seller's model, and the models of another seller that may be the same: by Hugging
-- Face id in any case, or by canonical slug. With the head; one statement, so all of it
-- is of one snapshot. Two index scans: of lower(hugging_face_id), and of the other
-- seller's models. Without a match: one row with the head alone.
WITH asked AS (
    SELECT model_key, model_id, hugging_face_id, canonical_slug
    FROM models
    WHERE provider = %(provider)s AND model_id = %(model_id)s
), named AS (
    SELECT model_key FROM asked
    UNION
    SELECT models.model_key
    FROM asked
    JOIN models ON lower(models.hugging_face_id) = lower(asked.hugging_face_id)
    WHERE models.provider = %(reference_provider)s
    UNION
    SELECT models.model_key
    FROM asked
    JOIN models ON models.canonical_slug = coalesce(asked.canonical_slug, asked.model_id)
    WHERE models.provider = %(reference_provider)s
)
SELECT head.revision AS head_revision,
       head.epoch::text AS head_epoch,
       found.*,
       overrides.set_by, overrides.reason, overrides.until, overrides.stated,
       pending.*
FROM price_table_head AS head
LEFT JOIN (named JOIN current_prices AS found USING (model_key)) ON true
LEFT JOIN overrides_in_force AS overrides ON overrides.model_key = found.model_key
LEFT JOIN LATERAL (
    -- Of several sources' the one that ranks first.
    SELECT held.held_change_id AS pending_id, held.source AS pending_source,
           held.reason AS pending_reason, held.held_since AS pending_since,
           cards.state AS pending_state, cards.currency AS pending_currency,
           cards.rates AS pending_rates
    FROM held_changes AS held
    JOIN sources USING (source)
    JOIN rate_cards AS cards ON cards.card_id = held.card_id
    WHERE held.provider = found.provider AND held.model_id = found.model_id
      AND held.status = 'open'
    ORDER BY sources.rank, held.source
    LIMIT 1
) AS pending ON true;
