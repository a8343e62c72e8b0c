-- Statements that read the sync log, the audit trail and the coverage.

-- name: get_sync_run
SELECT * FROM pricing_sync_log WHERE sync_run_id = %(sync_run_id)s;

-- name: list_sync_runs
-- Newest first, behind a cursor.
SELECT *
FROM pricing_sync_log
WHERE (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(before)s::bigint IS NULL OR sync_run_id < %(before)s)
ORDER BY sync_run_id DESC
LIMIT %(limit)s;

-- name: list_price_changes
-- Newest revision first, behind a cursor of (revision, model_key).
SELECT history.revision,
       history.model_key,
       history.kind,
       history.source,
       models.provider,
       models.model_id,
       history.effective_time,
       history.changed_at,
       history.origin_kind,
       history.actor,
       history.note,
       history.sync_run_id,
       history.held_change_id,
       history.override_id,
       history.reverted_run_id,
       old.card_id AS old_card_id,
       old.currency AS old_currency,
       old.state AS old_state,
       old.rates AS old_rates,
       new.card_id AS new_card_id,
       new.currency AS new_currency,
       new.state AS new_state,
       new.rates AS new_rates
FROM model_pricing_history AS history
JOIN models USING (model_key)
JOIN rate_cards AS new ON new.card_id = history.card_id
LEFT JOIN rate_cards AS old ON old.card_id = history.previous_card_id
WHERE (%(provider)s::text IS NULL OR models.provider = %(provider)s)
  AND (%(model_id)s::text IS NULL OR models.model_id = %(model_id)s)
  AND (%(sync_run_id)s::bigint IS NULL OR history.sync_run_id = %(sync_run_id)s)
  AND (%(before_revision)s::bigint IS NULL
       OR (history.revision, history.model_key) < (%(before_revision)s, %(before_model)s))
ORDER BY history.revision DESC, history.model_key DESC
LIMIT %(limit)s;

-- name: list_providers
-- Sellers by name, with what is known of their models.
SELECT providers.provider,
       providers.display_name,
       coalesce((SELECT array_agg(alias ORDER BY alias) FROM provider_aliases
                 WHERE provider_aliases.provider = providers.provider), '{}') AS aliases,
       count(models.model_key) FILTER (WHERE is_active) AS models_listed,
       count(models.model_key) FILTER (WHERE is_active AND state = 'priced') AS models_priced,
       count(models.model_key) FILTER (WHERE is_active AND state = 'free') AS models_free,
       count(models.model_key) FILTER (WHERE is_active AND state = 'dynamic') AS models_dynamic,
       count(models.model_key) FILTER (WHERE is_active AND state = 'unpriced') AS models_unpriced,
       count(models.model_key) FILTER (WHERE NOT is_active) AS models_delisted,
       (SELECT count(DISTINCT model_id) FROM held_changes AS held
        WHERE held.provider = providers.provider AND held.status = 'open') AS models_held
FROM providers
LEFT JOIN models USING (provider)
LEFT JOIN model_pricing USING (model_key)
LEFT JOIN rate_cards USING (card_id)
WHERE %(after)s::text IS NULL OR providers.provider > %(after)s
GROUP BY providers.provider
ORDER BY providers.provider
LIMIT %(limit)s;

-- name: list_sources
-- Sources by rank, with what the log says of their syncs. Overrides are no source that is synced.
SELECT sources.source,
       sources.display_name,
       sources.provider,
       sources.rank,
       newest_run_id,
       newest_started_at,
       is_in_progress,
       good_started_at,
       good_completed_at,
       good_obtained_at,
       failures_in_a_row,
       scheduled_failures,
       scheduled_failure_at,
       recent.runs AS recent_runs,
       recent.successes AS recent_successes,
       (SELECT count(*) FROM price_quotes AS quotes
        WHERE quotes.source = sources.source AND missing_syncs = 0) AS models_quoted,
       (SELECT count(*) FROM held_changes AS held
        WHERE held.source = sources.source AND held.status = 'open'
          AND held.model_id IS NOT NULL) AS models_held
FROM sources
JOIN source_syncs USING (source)
CROSS JOIN LATERAL (
    SELECT count(*) AS runs, count(*) FILTER (WHERE status = 'success') AS successes
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source AND status <> 'in_progress'
      AND completed_at > now() - interval '30 days'
) AS recent
ORDER BY sources.rank, sources.source;
