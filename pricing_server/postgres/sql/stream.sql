-- Statements of the change stream. All are read-only, of bounded work, and one statement
-- each, so the rows are of the head that comes with them. Without rows: the head alone.

-- name: read_changes
-- The next rows of the history behind a cursor, oldest first. A row that does not pass the
-- filters comes without its cards: a long way without a match is walked page by page.
SELECT head.revision AS head_revision,
       head.epoch::text AS head_epoch,
       found.*
FROM price_table_head AS head
LEFT JOIN LATERAL (
    SELECT page.revision AS page_revision, page.model_key AS page_model_key, passing.*
    FROM (
        SELECT revision, model_key
        FROM model_pricing_history
        WHERE (revision, model_key) > (%(revision)s, %(model_key)s) AND revision <= %(upto)s
        ORDER BY revision, model_key
        LIMIT %(limit)s
    ) AS page
    LEFT JOIN LATERAL (
        SELECT *
        FROM price_changes AS one
        WHERE one.revision = page.revision AND one.model_key = page.model_key
          AND (%(providers)s::text[] IS NULL OR one.provider = ANY(%(providers)s))
          AND (%(model_ids)s::text[] IS NULL OR one.model_id = ANY(%(model_ids)s))
        LIMIT 1
    ) AS passing ON true
    ORDER BY page.revision, page.model_key
) AS found ON true;

-- name: recent_revision
-- Behind which at most so many changes lie: that of the first change too many, or 0.
SELECT coalesce((
    SELECT revision
    FROM model_pricing_history
    WHERE revision <= %(upto)s
    ORDER BY revision DESC, model_key DESC
    OFFSET %(changes)s
    LIMIT 1
), 0) AS revision;

-- name: read_prices_at
-- The prices of the next models that pass the filters, as they were at a revision. When a
-- price was last confirmed is known of the price in force only; of an older one it is when it
-- was first stated. Likewise a held change comes with the price in force only.
SELECT head.revision AS head_revision,
       head.epoch::text AS head_epoch,
       found.*
FROM price_table_head AS head
LEFT JOIN LATERAL (
    SELECT models.model_key,
           models.provider,
           models.model_id,
           models.hugging_face_id,
           models.canonical_slug,
           models.alias_target,
           models.context_length,
           models.retirement_time,
           models.retirement_source,
           models.successor,
           CASE WHEN activity.kind = 'delisted' THEN activity.changed_at END AS delisted_at,
           coalesce(pricing.source, history.source) AS source,
           history.effective_time,
           history.revision AS price_revision,
           coalesce(quotes.obtained_at, history.effective_time) AS obtained_at,
           coalesce(quotes.missing_syncs, 0) AS missing_syncs,
           coalesce(quotes.is_confirmed, true) AS is_confirmed,
           cards.card_id,
           cards.state,
           cards.currency,
           CASE WHEN pricing.quoted_model_key <> pricing.model_key THEN quoted.model_id END
               AS stated_as,
           pricing.disagreements,
           coalesce(pricing.rate_sources, history.rate_sources) AS rate_sources,
           cards.rates,
           overrides.set_by,
           overrides.reason,
           overrides.until,
           overrides.beneath,
           pending.*
    FROM models
    CROSS JOIN LATERAL (
        SELECT *
        FROM model_pricing_history AS one
        WHERE one.model_key = models.model_key AND one.revision <= %(revision)s
        ORDER BY one.revision DESC
        LIMIT 1
    ) AS history
    -- An override changes the price of a delisted model, too, and does not list it again.
    LEFT JOIN LATERAL (
        SELECT kind, changed_at
        FROM model_pricing_history AS one
        WHERE one.model_key = models.model_key AND one.revision <= history.revision
          AND one.kind IN ('delisted', 'restored')
        ORDER BY one.revision DESC
        LIMIT 1
    ) AS activity ON true
    JOIN rate_cards AS cards ON cards.card_id = history.card_id
    LEFT JOIN model_pricing AS pricing ON pricing.model_key = models.model_key
                                      AND pricing.revision = history.revision
    LEFT JOIN price_quotes AS quotes ON quotes.model_key = pricing.quoted_model_key
                                    AND quotes.source = pricing.source
    LEFT JOIN models AS quoted ON quoted.model_key = pricing.quoted_model_key
    -- One row at most, and said so: the planner then looks for it by its key.
    LEFT JOIN LATERAL (
        SELECT * FROM overrides_in_force WHERE model_key = pricing.model_key LIMIT 1
    ) AS overrides ON pricing.source = 'override'
    LEFT JOIN LATERAL (
        SELECT * FROM pending_changes
        WHERE pending_provider = models.provider AND pending_model_id = models.model_id
        LIMIT 1
    ) AS pending ON pricing.model_key IS NOT NULL
    WHERE models.model_key > %(after_model)s
      AND (%(providers)s::text[] IS NULL OR models.provider = ANY(%(providers)s))
      AND (%(model_ids)s::text[] IS NULL OR models.model_id = ANY(%(model_ids)s))
    ORDER BY models.model_key
    LIMIT %(limit)s
) AS found ON true;
