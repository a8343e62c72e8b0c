-- Statements of look-ups. All are read-only.
--
-- LIMIT 1 says that there is one head. So small a table has no statistics for long, and the
-- planner would take it for hundreds of rows, and read all prices for one look-up.

-- name: find_pricing
-- The prices of model ids, each at one seller or at all of them, with the head they were
-- read at. One statement, so one snapshot. Without a match: a row with the head alone.
SELECT head.revision AS head_revision,
       head.epoch::text AS head_epoch,
       asked.position,
       found.*,
       overrides.set_by, overrides.reason, overrides.until, overrides.beneath,
       pending.*
FROM (SELECT revision, epoch FROM price_table_head LIMIT 1) AS head
CROSS JOIN unnest(%(model_ids)s::text[], %(providers)s::text[])
    WITH ORDINALITY AS asked (model_id, provider, position)
LEFT JOIN current_prices AS found
       ON found.model_id = asked.model_id
      AND (asked.provider IS NULL OR found.provider = asked.provider)
-- One row at most, and said so: the planner then looks for it by its key.
LEFT JOIN LATERAL (
    SELECT * FROM overrides_in_force WHERE model_key = found.model_key LIMIT 1
) AS overrides ON true
LEFT JOIN LATERAL (
    SELECT * FROM pending_changes
    WHERE pending_provider = found.provider AND pending_model_id = found.model_id
    LIMIT 1
) AS pending ON true;

-- name: find_pricing_at
-- The prices of model ids, each of another time, at one seller or at all of them, with the last
-- revision that was known then. The known statement that was committed first
-- decides, and each later one from its effective time on. What
-- confirmed a price is known of the price in force only, and of what is known now; of any
-- other price it is its first statement. Without a match: one row with the head alone.
WITH known AS (
    SELECT asked.*,
           head.epoch,
           CASE WHEN asked.known_at IS NOT NULL THEN coalesce((
                    SELECT revision
                    FROM model_pricing_history
                    WHERE changed_at <= asked.known_at
                    ORDER BY changed_at DESC, revision DESC
                    LIMIT 1
                ), 0)
                -- No later one than there is: nothing is known of it.
                ELSE least(%(revision)s::bigint, head.revision) END AS revision
    FROM (SELECT revision, epoch FROM price_table_head LIMIT 1) AS head
    CROSS JOIN unnest(
        %(model_ids)s::text[], %(providers)s::text[],
        %(as_of)s::timestamptz[], %(known_at)s::timestamptz[]
    ) WITH ORDINALITY AS asked (model_id, provider, as_of, known_at, position)
)
SELECT known.position,
       known.revision AS head_revision,
       known.epoch::text AS head_epoch,
       found.*
FROM known
LEFT JOIN LATERAL (
    SELECT models.provider,
           models.model_id,
           models.hugging_face_id,
           models.canonical_slug,
           models.alias_target,
           models.context_length,
           models.retirement_time,
           models.retirement_source,
           models.successor,
           CASE WHEN activity.kind = 'delisted' THEN activity.changed_at END AS delisted_at,
           history.source,
           history.effective_time,
           history.revision AS price_revision,
           next.superseded_at,
           coalesce(quotes.obtained_at, history.effective_time) AS obtained_at,
           coalesce(quotes.missing_syncs, 0) AS missing_syncs,
           coalesce(quotes.is_confirmed, true) AS is_confirmed,
           cards.card_id,
           cards.state,
           cards.currency,
           CASE WHEN pricing.quoted_model_key <> pricing.model_key THEN quoted.model_id END
               AS stated_as,
           pricing.disagreements,
           history.rate_sources,
           cards.rates
    FROM models
    CROSS JOIN LATERAL (
        SELECT *
        FROM model_pricing_history AS one
        WHERE one.model_key = models.model_key AND one.revision <= known.revision
        ORDER BY one.effective_time <= known.as_of DESC,
                 CASE WHEN one.effective_time <= known.as_of THEN one.revision END DESC,
                 one.revision
        LIMIT 1
    ) AS history
    LEFT JOIN LATERAL (
        SELECT kind, changed_at
        FROM model_pricing_history AS one
        WHERE one.model_key = models.model_key AND one.revision <= known.revision
          AND one.changed_at <= known.as_of AND one.kind IN ('delisted', 'restored')
        ORDER BY one.revision DESC
        LIMIT 1
    ) AS activity ON true
    LEFT JOIN LATERAL (
        SELECT min(one.effective_time) AS superseded_at
        FROM model_pricing_history AS one
        WHERE one.model_key = models.model_key AND one.revision <= known.revision
          AND one.revision > history.revision AND one.effective_time > known.as_of
    ) AS next ON true
    JOIN rate_cards AS cards ON cards.card_id = history.card_id
    LEFT JOIN model_pricing AS pricing ON pricing.model_key = models.model_key
                                      AND pricing.revision = history.revision
                                      AND known.known_at IS NULL
    LEFT JOIN price_quotes AS quotes ON quotes.model_key = pricing.quoted_model_key
                                    AND quotes.source = pricing.source
    LEFT JOIN models AS quoted ON quoted.model_key = pricing.quoted_model_key
    WHERE models.model_id = known.model_id
      AND (known.provider IS NULL OR models.provider = known.provider)
) AS found ON true;

-- name: read_head
-- The state of the whole price table.
SELECT revision, epoch::text AS epoch FROM price_table_head;

-- name: list_names
-- Every model's names, for matching: a price decides between sellers, and one that is listed.
-- What an override that has ended left behind is no model that anybody sells.
SELECT models.provider,
       models.model_id,
       models.is_active AS is_listed,
       cards.state <> 'unpriced' AS has_price
FROM models
JOIN model_pricing AS pricing USING (model_key)
JOIN rate_cards AS cards USING (card_id)
WHERE NOT (pricing.source = 'override' AND cards.state = 'unpriced')
ORDER BY models.provider, models.model_id;

-- name: find_references
-- Sellers' models, and the models of another seller that may be the same: by Hugging
-- Face id in any case, or by canonical slug. With the head; one statement, so all of it
-- is of one snapshot. Two index scans each: of lower(hugging_face_id), and of the other
-- seller's models. Without a match: one row with the head alone.
WITH asked AS (
    SELECT wanted.position, model_key, model_id, hugging_face_id, canonical_slug
    FROM unnest(%(model_ids)s::text[], %(providers)s::text[])
        WITH ORDINALITY AS wanted (model_id, provider, position)
    JOIN models USING (provider, model_id)
), named AS (
    SELECT position, model_key FROM asked
    UNION
    SELECT asked.position, models.model_key
    FROM asked
    JOIN models ON lower(models.hugging_face_id) = lower(asked.hugging_face_id)
    WHERE models.provider = %(reference_provider)s
    UNION
    SELECT asked.position, models.model_key
    FROM asked
    JOIN models ON models.canonical_slug = coalesce(asked.canonical_slug, asked.model_id)
    WHERE models.provider = %(reference_provider)s
)
SELECT head.revision AS head_revision,
       head.epoch::text AS head_epoch,
       named.position,
       found.*,
       overrides.set_by, overrides.reason, overrides.until, overrides.beneath,
       pending.*
FROM (SELECT revision, epoch FROM price_table_head LIMIT 1) AS head
LEFT JOIN (named JOIN current_prices AS found USING (model_key)) ON true
-- One row at most, and said so: the planner then looks for it by its key.
LEFT JOIN LATERAL (
    SELECT * FROM overrides_in_force WHERE model_key = found.model_key LIMIT 1
) AS overrides ON true
LEFT JOIN LATERAL (
    SELECT * FROM pending_changes
    WHERE pending_provider = found.provider AND pending_model_id = found.model_id
    LIMIT 1
) AS pending ON true;
