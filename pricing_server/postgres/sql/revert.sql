-- Statements of reverting a sync run. Those of a run that write prices serve here too.

-- name: read_run
SELECT source, status FROM pricing_sync_log WHERE sync_run_id = %(sync_run_id)s;

-- name: read_run_changes
-- What a run changed, with the change before of each model, its newest one after, and the
-- quote of the run's source.
SELECT history.model_key,
       models.provider,
       models.model_id,
       history.kind,
       history.source,
       history.previous_card_id,
       history.card_id,
       before.source AS before_source,
       before.effective_time AS before_effective_time,
       (SELECT max(later.revision) FROM model_pricing_history AS later
        WHERE later.model_key = history.model_key
          AND later.revision > history.revision) AS later_revision,
       coalesce(quotes.missing_syncs, 0) AS missing_syncs
FROM model_pricing_history AS history
JOIN models USING (model_key)
LEFT JOIN price_quotes AS quotes ON quotes.model_key = history.model_key
                                AND quotes.source = %(source)s
LEFT JOIN LATERAL (
    SELECT source, effective_time
    FROM model_pricing_history AS earlier
    WHERE earlier.model_key = history.model_key AND earlier.revision < history.revision
    ORDER BY earlier.revision DESC
    LIMIT 1
) AS before ON true
WHERE history.sync_run_id = %(sync_run_id)s
ORDER BY history.model_key;

-- name: reset_quotes
-- The statement that was read stays as evidence, marked as no longer that of the card,
-- which nothing confirms any more.
UPDATE price_quotes AS quotes
SET card_id = coalesce(reset.card_id, quotes.card_id),
    obtained_at = coalesce(reset.obtained_at, quotes.obtained_at),
    stated_since = CASE WHEN reset.card_id IS NULL THEN quotes.stated_since
                   ELSE coalesce(reset.obtained_at, quotes.obtained_at) END,
    missing_syncs = reset.missing_syncs,
    is_confirmed = reset.card_id IS NULL AND quotes.is_confirmed,
    fragment = CASE WHEN reset.card_id IS NULL THEN quotes.fragment
               ELSE json_build_object('reverted_sync_run_id', %(sync_run_id)s::text,
                                      'stated', quotes.fragment) END
FROM unnest(%(model_keys)s::bigint[], %(card_ids)s::text[], %(obtained_at)s::timestamptz[],
            %(missing_syncs)s::integer[])
     AS reset (model_key, card_id, obtained_at, missing_syncs)
WHERE quotes.model_key = reset.model_key AND quotes.source = %(source)s;
