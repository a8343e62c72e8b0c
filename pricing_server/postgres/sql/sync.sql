-- Statements of a sync run. The order of locks is always: source, then head.

-- name: register_source
INSERT INTO sources (source, display_name, provider, rank, coverage)
VALUES (%(source)s, %(display_name)s, %(provider)s, %(rank)s, %(coverage)s)
ON CONFLICT (source) DO UPDATE
SET display_name = excluded.display_name, provider = excluded.provider, rank = excluded.rank,
    coverage = excluded.coverage
WHERE (sources.display_name, sources.provider, sources.rank, sources.coverage)
      IS DISTINCT FROM
      (excluded.display_name, excluded.provider, excluded.rank, excluded.coverage);

-- name: register_alias
INSERT INTO provider_aliases (alias, provider) VALUES (%(alias)s, %(provider)s)
ON CONFLICT (alias) DO UPDATE SET provider = excluded.provider
WHERE provider_aliases.provider IS DISTINCT FROM excluded.provider;

-- name: renew_epoch
-- A database that is not the one the epoch was made in was restored: its revisions
-- count another history from here on.
UPDATE price_table_head
SET database_identity = here.identity,
    epoch = CASE WHEN database_identity IS NULL THEN epoch ELSE gen_random_uuid() END
FROM (
    SELECT system_identifier || '/' || timeline_id || '/' || oid AS identity
    FROM pg_control_system(), pg_control_checkpoint(), pg_database
    WHERE datname = current_database()
) AS here
WHERE database_identity IS DISTINCT FROM here.identity;

-- name: renew_epoch_behind
-- A price table that is behind a state it once had was restored, whatever its identity says.
UPDATE price_table_head SET epoch = gen_random_uuid()
WHERE epoch = %(epoch)s AND revision < %(revision)s;

-- name: try_lock_source
-- One sync per source at a time, on all processes and hosts; freed when the session ends.
SELECT pg_try_advisory_lock(727001, hashtext(%(source)s)) AS locked;

-- name: unlock_source
SELECT pg_advisory_unlock(727001, hashtext(%(source)s));

-- name: run_in_progress
SELECT max(sync_run_id) AS sync_run_id FROM pricing_sync_log
WHERE source = %(source)s AND status = 'in_progress';

-- name: fail_dead
-- Every run in progress whose source nobody has locked: the lock is taken before the row is
-- written and freed after its final status, or when the process dies. Looks at the lock
-- instead of taking it, so that no sync is refused because of the look.
-- Whoever has just locked a source gives it as locked_source: then only its runs are looked at,
-- and whatever is in progress belongs to a dead process.
UPDATE pricing_sync_log AS log
SET status = 'failed', completed_at = clock_timestamp(),
    error_message = 'the process that ran this sync ended before it did'
WHERE status = 'in_progress'
  AND CASE WHEN %(locked_source)s::text IS NOT NULL THEN source = %(locked_source)s
      ELSE NOT EXISTS (SELECT FROM locked_sources
                       WHERE locked_sources.lock_key = hashtext(log.source)::oid) END
RETURNING sync_run_id, source;

-- name: frozen_runs
-- Runs whose process has locked the source and gave no sign of life for the time of a lease.
SELECT log.sync_run_id, log.source, locked_sources.pid
FROM pricing_sync_log AS log
JOIN locked_sources ON locked_sources.lock_key = hashtext(log.source)::oid
WHERE status = 'in_progress' AND heartbeat_at < clock_timestamp() - %(lease)s::interval;

-- name: terminate_holder
-- Only while the session still has the lock: its process id may be another's by now.
SELECT pg_terminate_backend(pid) FROM locked_sources
WHERE pid = %(pid)s AND lock_key = hashtext(%(source)s)::oid;

-- name: fail_frozen
UPDATE pricing_sync_log
SET status = 'failed', completed_at = clock_timestamp(), error_message = %(error_message)s
WHERE sync_run_id = %(sync_run_id)s AND status = 'in_progress'
  AND heartbeat_at < clock_timestamp() - %(lease)s::interval
RETURNING sync_run_id;

-- name: latest_release
-- The version of a bundled catalogue that was last applied.
SELECT release FROM pricing_sync_log
WHERE source = %(source)s AND status = 'success'
ORDER BY sync_run_id DESC
LIMIT 1;

-- name: start_run
-- A scheduled run begins unless another one did since the source was found due. Runs of a source
-- begin under its lock, which this session has, so no other can begin beside this statement.
INSERT INTO pricing_sync_log (source, triggered_by, release)
SELECT %(source)s, %(triggered_by)s, %(release)s
WHERE %(newest_run_id)s::bigint IS NULL
   OR NOT EXISTS (SELECT FROM pricing_sync_log
                  WHERE source = %(source)s AND sync_run_id > %(newest_run_id)s)
RETURNING sync_run_id, started_at;

-- name: renew_lease
-- A sign of life, from another connection than the run's own; no row once the run has ended.
UPDATE pricing_sync_log SET heartbeat_at = clock_timestamp()
WHERE sync_run_id = %(sync_run_id)s AND status = 'in_progress'
RETURNING sync_run_id;

-- name: read_status
-- Waits for a commit of the row that is on its way.
SELECT status FROM pricing_sync_log WHERE sync_run_id = %(sync_run_id)s FOR SHARE;

-- name: fail_run
UPDATE pricing_sync_log
SET status = 'failed', completed_at = clock_timestamp(), error_message = %(error_message)s
WHERE sync_run_id = %(sync_run_id)s AND status = 'in_progress'
RETURNING completed_at;

-- name: finish_run
-- Requires that the run is still in progress: a run declared dead can no longer commit.
-- The payload of a run that confirmed another one's is that one's.
UPDATE pricing_sync_log AS log
SET status = 'success', completed_at = clock_timestamp(), revision = %(revision)s,
    obtained_at = %(obtained_at)s,
    payload_url = coalesce(%(payload_url)s, (
        SELECT payload_url FROM pricing_sync_log WHERE sync_run_id = %(confirmed_run_id)s)),
    payload_sha256 = coalesce(%(payload_sha256)s, (
        SELECT payload_sha256 FROM pricing_sync_log WHERE sync_run_id = %(confirmed_run_id)s)),
    models_fetched = %(models_fetched)s, models_updated = %(models_updated)s,
    models_unchanged = %(models_unchanged)s, models_skipped = %(models_skipped)s,
    models_registered = %(models_registered)s, models_missing = %(models_missing)s,
    models_held = %(models_held)s, errors = %(errors)s,
    error_details = %(error_details)s, notices = %(notices)s
WHERE sync_run_id = %(sync_run_id)s AND status = 'in_progress'
RETURNING completed_at;

-- name: lock_head
-- First statement of every writing transaction: from here on no other writer can
-- change a price, so what is read below is what the changes are made against.
SELECT revision, epoch::text AS epoch FROM price_table_head FOR UPDATE;

-- name: read_models
-- The models that a listing may touch: those of its sellers, and those it quoted before.
SELECT known.*
FROM known_models AS known
WHERE known.provider = ANY(%(providers)s)
   OR known.model_key IN (SELECT model_key FROM price_quotes WHERE source = %(source)s);

-- name: read_quotes
-- What each source states of models, under their own ids and under those that cover them.
SELECT quotes.model_key, quotes.source, sources.rank, sources.provider AS own_provider,
       sources.coverage, quotes.card_id, cards.state, quotes.obtained_at, quotes.stated_since,
       cards.rates @? '$[*] ? (exists(@.effective_from) || exists(@.effective_until))' AS is_dated,
       quotes.missing_syncs, quotes.stated_as, quotes.is_inferred,
       coalesce(NOT overrides.replace_card, false) AS is_patch, overrides.percent
FROM stated_quotes AS quotes
JOIN sources USING (source)
JOIN rate_cards AS cards USING (card_id)
LEFT JOIN price_overrides AS overrides ON quotes.source = 'override'
                                      AND overrides.model_key = quotes.quoted_model_key
                                      AND overrides.cleared_at IS NULL
WHERE quotes.model_key = ANY(%(model_keys)s);

-- name: read_covered
-- The models that others cover, through any source.
SELECT known.*
FROM known_models AS known
WHERE known.model_key IN (
    SELECT model_key FROM covered_ids WHERE covering_model_key = ANY(%(model_keys)s));

-- name: previous_obtained_at
-- When the data of the last successful sync was obtained.
SELECT obtained_at FROM pricing_sync_log
WHERE source = %(source)s AND status = 'success'
ORDER BY sync_run_id DESC
LIMIT 1;

-- name: read_cards
SELECT card_id, state, currency, rates FROM rate_cards WHERE card_id = ANY(%(card_ids)s);

-- name: apply_providers
INSERT INTO providers (provider, display_name)
SELECT * FROM unnest(%(providers)s::text[], %(display_names)s::text[])
ON CONFLICT (provider) DO NOTHING;

-- name: apply_models
-- What a source does not state of a model stays as another one stated it. Sources differ on
-- context lengths and retirements, so that of a source which ranks before stays, too. A
-- retirement that its source lists no more is taken back.
INSERT INTO models (provider, model_id, hugging_face_id, canonical_slug, alias_target,
                    context_length, context_length_source,
                    retirement_time, retirement_source, successor, successor_source)
SELECT staged.provider, staged.model_id, staged.hugging_face_id, staged.canonical_slug,
       staged.alias_target,
       CASE WHEN stated.is_kept THEN staged.context_length END,
       CASE WHEN stated.is_kept THEN staged.source END,
       CASE WHEN retires.is_stated THEN staged.retirement_time
            WHEN NOT retires.is_taken_back THEN known.retirement_time END,
       CASE WHEN retires.is_stated THEN staged.source
            WHEN NOT retires.is_taken_back THEN known.retirement_source END,
       CASE WHEN follows.is_stated THEN staged.successor
            WHEN NOT follows.is_taken_back THEN known.successor END,
       CASE WHEN follows.is_stated THEN staged.source
            WHEN NOT follows.is_taken_back THEN known.successor_source END
FROM staged_models AS staged
LEFT JOIN sources AS stating ON stating.source = staged.source
LEFT JOIN models AS known ON known.provider = staged.provider
                         AND known.model_id = staged.model_id
LEFT JOIN sources AS before ON before.source = known.context_length_source
CROSS JOIN LATERAL (
    SELECT staged.context_length IS NOT NULL
           AND (before.rank IS NULL OR stating.rank <= before.rank) AS is_kept
) AS stated
LEFT JOIN sources AS retiring ON retiring.source = known.retirement_source
LEFT JOIN sources AS following ON following.source = known.successor_source
CROSS JOIN LATERAL (
    SELECT staged.retirement_time IS NOT NULL
           AND (retiring.rank IS NULL OR stating.rank <= retiring.rank) AS is_stated,
           coalesce(staged.is_listed AND staged.source = known.retirement_source, false)
               AS is_taken_back
) AS retires
CROSS JOIN LATERAL (
    SELECT staged.successor IS NOT NULL
           AND (following.rank IS NULL OR stating.rank <= following.rank) AS is_stated,
           coalesce(staged.is_listed AND staged.source = known.successor_source, false)
               AS is_taken_back
) AS follows
ON CONFLICT (provider, model_id) DO UPDATE
SET hugging_face_id = coalesce(excluded.hugging_face_id, models.hugging_face_id),
    canonical_slug = coalesce(excluded.canonical_slug, models.canonical_slug),
    alias_target = coalesce(excluded.alias_target, models.alias_target),
    context_length = coalesce(excluded.context_length, models.context_length),
    context_length_source = coalesce(excluded.context_length_source,
                                     models.context_length_source),
    retirement_time = excluded.retirement_time,
    retirement_source = excluded.retirement_source,
    successor = excluded.successor,
    successor_source = excluded.successor_source
WHERE (coalesce(excluded.hugging_face_id, models.hugging_face_id),
       coalesce(excluded.canonical_slug, models.canonical_slug),
       coalesce(excluded.alias_target, models.alias_target),
       coalesce(excluded.context_length, models.context_length),
       coalesce(excluded.context_length_source, models.context_length_source),
       excluded.retirement_time, excluded.retirement_source,
       excluded.successor, excluded.successor_source)
      IS DISTINCT FROM (models.hugging_face_id, models.canonical_slug, models.alias_target,
                        models.context_length, models.context_length_source,
                        models.retirement_time, models.retirement_source,
                        models.successor, models.successor_source);

-- name: apply_cards
INSERT INTO rate_cards (card_id, state, currency, rates)
SELECT card_id, state, currency, rates FROM staged_cards
ON CONFLICT (card_id) DO NOTHING;

-- name: apply_quotes
INSERT INTO price_quotes (model_key, source, card_id, fragment, obtained_at, stated_since,
                          sync_run_id, is_confirmed)
SELECT models.model_key, staged.source, staged.card_id, staged.fragment, staged.obtained_at,
       staged.stated_since, staged.sync_run_id, staged.is_confirmed
FROM staged_quotes AS staged
JOIN models USING (provider, model_id)
ON CONFLICT (model_key, source) DO UPDATE
SET card_id = excluded.card_id, fragment = excluded.fragment,
    obtained_at = excluded.obtained_at, sync_run_id = excluded.sync_run_id,
    is_confirmed = excluded.is_confirmed, missing_syncs = 0,
    stated_since = CASE WHEN price_quotes.card_id = excluded.card_id
                   THEN price_quotes.stated_since ELSE excluded.stated_since END;

-- name: apply_uncovered
DELETE FROM covered_ids WHERE source = %(source)s AND model_key = ANY(%(uncovered)s);

-- name: apply_covered
-- After apply_quotes: what covers an id has a quote of the source.
INSERT INTO covered_ids (model_key, source, covering_model_key, is_inferred)
SELECT models.model_key, staged.source, covering.model_key, staged.is_inferred
FROM staged_covered AS staged
JOIN models USING (provider, model_id)
JOIN models AS covering ON covering.provider = staged.provider
                       AND covering.model_id = staged.stated_as
ON CONFLICT (model_key, source) DO UPDATE
SET covering_model_key = excluded.covering_model_key, is_inferred = excluded.is_inferred;

-- name: apply_missing
UPDATE price_quotes SET missing_syncs = missing_syncs + 1, is_confirmed = false
WHERE source = %(source)s AND model_key = ANY(%(model_keys)s);

-- name: apply_unreadable
UPDATE price_quotes SET is_confirmed = false
WHERE source = %(source)s AND model_key = ANY(%(unreadable)s) AND is_confirmed;

-- name: apply_history
-- Before apply_prices: the previous card and prices are those still in force.
INSERT INTO model_pricing_history (
    revision, model_key, kind, previous_card_id, card_id,
    previous_input_price, previous_output_price, input_price, output_price,
    source, effective_time, changed_at, origin_kind, actor, note,
    sync_run_id, held_change_id, override_id, reverted_run_id,
    stated_card_id, rate_sources, previous_rate_sources)
SELECT %(revision)s, models.model_key, staged.kind, pricing.card_id, staged.card_id,
       pricing.price_per_input_token, pricing.price_per_output_token,
       staged.input_price, staged.output_price,
       staged.source, staged.effective_time, %(changed_at)s,
       staged.origin_kind, staged.actor, staged.note,
       staged.sync_run_id, staged.held_change_id, staged.override_id, staged.reverted_run_id,
       staged.stated_card_id, staged.rate_sources, coalesce(pricing.rate_sources, '{}')
FROM staged_prices AS staged
JOIN models USING (provider, model_id)
LEFT JOIN model_pricing AS pricing USING (model_key)
WHERE staged.kind IS NOT NULL;

-- name: apply_prices
INSERT INTO model_pricing (model_key, card_id, source, quoted_model_key, price_per_input_token,
                           price_per_output_token, effective_time, revision)
SELECT models.model_key, staged.card_id, staged.source,
       coalesce(quoted.model_key, models.model_key), staged.input_price,
       staged.output_price, staged.effective_time, %(revision)s
FROM staged_prices AS staged
JOIN models USING (provider, model_id)
LEFT JOIN models AS quoted ON quoted.provider = staged.provider
                          AND quoted.model_id = staged.stated_as
WHERE staged.kind IS NOT NULL
ON CONFLICT (model_key) DO UPDATE
SET card_id = excluded.card_id, source = excluded.source,
    quoted_model_key = excluded.quoted_model_key,
    price_per_input_token = excluded.price_per_input_token,
    price_per_output_token = excluded.price_per_output_token,
    effective_time = excluded.effective_time, revision = excluded.revision;

-- name: apply_attributions
-- Whose the price in force is. Where the price stays, it is no change and no new revision.
UPDATE model_pricing
SET source = staged.source,
    quoted_model_key = coalesce(quoted.model_key, models.model_key),
    beneath_source = staged.beneath_source,
    beneath_model_key = CASE WHEN staged.beneath_source IS NOT NULL
                        THEN coalesce(beneath.model_key, models.model_key) END,
    beneath_card_id = staged.beneath_card_id,
    beneath_rate_sources = staged.beneath_rate_sources,
    rate_sources = staged.rate_sources,
    disagreements = staged.disagreements
FROM staged_prices AS staged
JOIN models USING (provider, model_id)
LEFT JOIN models AS quoted ON quoted.provider = staged.provider
                          AND quoted.model_id = staged.stated_as
LEFT JOIN models AS beneath ON beneath.provider = staged.provider
                           AND beneath.model_id = staged.beneath_stated_as
WHERE model_pricing.model_key = models.model_key;

-- name: apply_activity
UPDATE models
SET is_active = staged.kind <> 'delisted',
    delisted_at = CASE WHEN staged.kind = 'delisted' THEN %(changed_at)s::timestamptz END
FROM staged_prices AS staged
WHERE models.provider = staged.provider AND models.model_id = staged.model_id
  AND staged.kind IN ('delisted', 'restored');

-- name: advance_head
UPDATE price_table_head SET revision = revision + 1 RETURNING revision;

-- name: notify
-- A wake-up for other processes, never data: they read the head. The origin lets a process
-- know its own, whose commit it has heard of already.
SELECT pg_notify('price_table', %(origin)s::text);
