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
-- Newest revision first, behind a cursor of (revision, model_key): walks the history by its key
-- and reads the cards of what passes. All changes of a run have the revision of the run.
SELECT passing.*
FROM model_pricing_history AS walked
CROSS JOIN LATERAL (
    SELECT *
    FROM price_changes AS one
    WHERE one.revision = walked.revision AND one.model_key = walked.model_key
      AND (%(provider)s::text IS NULL OR one.provider = %(provider)s)
      AND (%(sync_run_id)s::bigint IS NULL OR one.sync_run_id = %(sync_run_id)s)
      AND (%(after_time)s::timestamptz IS NULL OR one.changed_at >= %(after_time)s)
      AND (%(before_time)s::timestamptz IS NULL OR one.changed_at < %(before_time)s)
      AND (%(kind)s::text IS NULL OR one.kind = %(kind)s)
      AND (%(source)s::text IS NULL OR one.source = %(source)s)
      AND (%(actor)s::text IS NULL OR one.actor = %(actor)s)
      AND (%(least_change)s::numeric IS NULL
           OR one.old_state IS DISTINCT FROM one.new_state
           OR rates_moved(one.old_rates, one.new_rates, %(least_change)s))
    LIMIT 1
) AS passing
WHERE (walked.revision, walked.model_key)
      < (coalesce(%(before_revision)s::bigint, 9223372036854775807),
         coalesce(%(before_model)s::bigint, 9223372036854775807))
  AND walked.revision
      BETWEEN CASE WHEN %(sync_run_id)s::bigint IS NULL THEN 0 ELSE coalesce((
                  SELECT revision FROM pricing_sync_log WHERE sync_run_id = %(sync_run_id)s
              ), 0) END
          AND CASE WHEN %(sync_run_id)s::bigint IS NULL THEN 9223372036854775807 ELSE coalesce((
                  SELECT revision FROM pricing_sync_log WHERE sync_run_id = %(sync_run_id)s
              ), 0) END
ORDER BY walked.revision DESC, walked.model_key DESC
LIMIT %(limit)s;

-- name: list_price_changes_of_model
-- The same of a model id, at one seller or at all.
SELECT changes.*
FROM models
JOIN price_changes AS changes USING (model_key)
WHERE models.model_id = %(model_id)s
  AND (%(provider)s::text IS NULL OR models.provider = %(provider)s)
  AND (%(sync_run_id)s::bigint IS NULL OR changes.sync_run_id = %(sync_run_id)s)
  AND (%(after_time)s::timestamptz IS NULL OR changes.changed_at >= %(after_time)s)
  AND (%(before_time)s::timestamptz IS NULL OR changes.changed_at < %(before_time)s)
  AND (%(kind)s::text IS NULL OR changes.kind = %(kind)s)
  AND (%(source)s::text IS NULL OR changes.source = %(source)s)
  AND (%(actor)s::text IS NULL OR changes.actor = %(actor)s)
  AND (%(least_change)s::numeric IS NULL
       OR changes.old_state IS DISTINCT FROM changes.new_state
       OR rates_moved(changes.old_rates, changes.new_rates, %(least_change)s))
  AND (%(before_revision)s::bigint IS NULL
       OR (changes.revision, changes.model_key) < (%(before_revision)s, %(before_model)s))
ORDER BY changes.revision DESC, changes.model_key DESC
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
        WHERE held.provider = providers.provider AND held.status = 'open'
          AND held.model_id IS NOT NULL) AS models_held
FROM providers
LEFT JOIN models USING (provider)
LEFT JOIN model_pricing USING (model_key)
LEFT JOIN rate_cards USING (card_id)
WHERE (%(after)s::text IS NULL OR providers.provider > %(after)s)
  -- What an override that has ended left behind is no model that anybody sells.
  AND NOT coalesce(model_pricing.source = 'override' AND state = 'unpriced', false)
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
