-- What several statements read in the same way. Readers see all of it anyway, so each view
-- reads in its owner's name.

-- Rates -----------------------------------------------------------------------------

CREATE VIEW rates AS
SELECT card_id,
       position,
       rate ->> 'meter' AS meter,
       (rate ->> 'price')::numeric AS price,
       coalesce((rate ->> 'per')::bigint, 1) AS per,
       rate - 'meter' - 'price' - 'per' - 'minimum' AS conditions,
       coalesce((rate ->> 'minimum')::bigint, 0) AS minimum
FROM rate_cards, jsonb_array_elements(rates) WITH ORDINALITY AS listed (rate, position);
COMMENT ON VIEW rates IS 'The rates of all cards, one a row: USD for "per" units of the meter.';
COMMENT ON COLUMN rates.minimum IS
    'The smallest quantity billed for a request that uses this meter.';

-- Prices ----------------------------------------------------------------------------

CREATE VIEW stated_quotes AS
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

COMMENT ON VIEW stated_quotes IS
    'What each source states of a model, under its own id or under the one that covers it.';

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
       models.retirement_time,
       models.retirement_source,
       models.successor,
       -- No join, which every look-up would pay for.
       CASE WHEN pricing.quoted_model_key <> pricing.model_key THEN (
           SELECT quoted.model_id FROM models AS quoted
           WHERE quoted.model_key = pricing.quoted_model_key
       ) END AS stated_as,
       pricing.disagreements,
       pricing.rate_sources,
       CASE WHEN NOT quotes.is_confirmed THEN (
           SELECT held.held_change_id FROM held_changes AS held
           WHERE held.provider = models.provider AND held.model_id = models.model_id
             AND held.source = pricing.source
             AND held.status = 'rejected' AND held.lapsed_at IS NULL
       ) END AS rejected_id
FROM models
JOIN model_pricing AS pricing USING (model_key)
JOIN price_quotes AS quotes ON quotes.model_key = pricing.quoted_model_key
                           AND quotes.source = pricing.source
JOIN rate_cards AS cards ON cards.card_id = pricing.card_id;
COMMENT ON VIEW current_prices IS
    'The price in force of each model, with its rate card and the quote that states it; rejected_id '
    'is what somebody rejected of what the source states instead.';

CREATE VIEW overrides_in_force AS
SELECT pricing.model_key, overrides.override_id, overrides.reason, overrides.set_by, overrides.set_at, overrides.until,
       overrides.card_id, to_jsonb(stated) AS beneath
FROM model_pricing AS pricing
JOIN price_overrides AS overrides ON overrides.model_key = pricing.quoted_model_key
                                 AND overrides.cleared_at IS NULL
LEFT JOIN LATERAL (
    SELECT quotes.source, quotes.obtained_at, quotes.stated_since, quotes.missing_syncs,
           quotes.is_confirmed, cards.state, cards.currency, cards.rates,
           pricing.beneath_rate_sources AS rate_sources,
           CASE WHEN quotes.model_key <> pricing.model_key THEN beneath.model_id END AS stated_as
    FROM price_quotes AS quotes
    JOIN rate_cards AS cards ON cards.card_id = pricing.beneath_card_id
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
       pricing.beneath_card_id,
       pricing.beneath_rate_sources,
       pricing.rate_sources,
       pricing.disagreements,
       coalesce(history.origin_kind = 'revert', false) AS is_reverted
FROM models
LEFT JOIN model_pricing AS pricing USING (model_key)
LEFT JOIN model_pricing_history AS history USING (model_key, revision)
LEFT JOIN models AS quoted ON quoted.model_key = pricing.quoted_model_key
LEFT JOIN models AS beneath ON beneath.model_key = pricing.beneath_model_key;
COMMENT ON VIEW known_models IS
    'Models as a change of prices finds them: what is in force, and whose price it is.';

-- Changes ---------------------------------------------------------------------------

CREATE VIEW price_changes AS
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
       history.rate_sources,
       history.previous_rate_sources,
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
LEFT JOIN rate_cards AS old ON old.card_id = history.previous_card_id;
COMMENT ON VIEW price_changes IS 'The history, each change with its model and both cards.';

CREATE VIEW held_change_details AS
SELECT held.held_change_id,
       held.source,
       held.provider,
       held.model_id,
       held.feed_id,
       held.reason,
       held.evidence,
       held.fragment::text AS fragment,
       held.status,
       held.held_since,
       held.last_stated,
       held.last_run,
       held.resolved_at,
       held.resolved_by,
       held.note,
       CASE WHEN held.model_id IS NULL THEN (
           SELECT count(*) FROM held_changes AS part
           WHERE part.feed_id = held.held_change_id AND part.status = held.status
       ) ELSE 1 END AS models,
       new.card_id AS new_card_id,
       new.state AS new_state,
       new.currency AS new_currency,
       new.rates AS new_rates,
       old.card_id AS old_card_id,
       old.state AS old_state,
       old.currency AS old_currency,
       old.rates AS old_rates
FROM held_changes AS held
LEFT JOIN rate_cards AS new ON new.card_id = held.card_id
LEFT JOIN models ON models.provider = held.provider AND models.model_id = held.model_id
LEFT JOIN model_pricing AS pricing ON pricing.model_key = models.model_key
LEFT JOIN rate_cards AS old ON old.card_id = pricing.card_id;
COMMENT ON VIEW held_change_details IS
    'The held changes, each with the card that is held, and the one in force meanwhile.';
COMMENT ON COLUMN held_change_details.models IS
    'How many models it holds: those of a feed that have the status of the feed.';

CREATE VIEW pending_changes AS
SELECT held.provider AS pending_provider,
       held.model_id AS pending_model_id,
       held.held_change_id AS pending_id,
       held.source AS pending_source,
       held.reason AS pending_reason,
       held.held_since AS pending_since,
       cards.state AS pending_state,
       cards.currency AS pending_currency,
       cards.rates AS pending_rates
FROM held_changes AS held
JOIN sources USING (source)
JOIN rate_cards AS cards ON cards.card_id = held.card_id
WHERE held.status = 'open' AND held.model_id IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM held_changes AS other
      JOIN sources AS others USING (source)
      WHERE other.provider = held.provider AND other.model_id = held.model_id
        AND other.status = 'open'
        AND (others.rank, other.source) < (sources.rank, held.source)
  );
COMMENT ON VIEW pending_changes IS
    'The open held change of each model that has one: if several sources'' are held, that of '
    'the source that ranks first. Names begin with pending_, so that a join can take them all.';

-- Syncs ------------------------------------------------------------------------------

CREATE VIEW locked_sources AS
SELECT objid AS lock_key, pid
FROM pg_locks
WHERE locktype = 'advisory' AND classid = 727001 AND objsubid = 2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
COMMENT ON VIEW locked_sources IS
    'Sessions that have locked a source for a sync: pg_try_advisory_lock(727001, hashtext(source)).';

CREATE VIEW source_syncs AS
SELECT sources.source,
       coalesce(newest.sync_run_id, 0) AS newest_run_id,
       newest.started_at AS newest_started_at,
       coalesce(newest.status = 'in_progress', false) AS is_in_progress,
       oldest.started_at AS oldest_started_at,
       good.started_at AS good_started_at,
       good.completed_at AS good_completed_at,
       good.obtained_at AS good_obtained_at,
       failed.failures_in_a_row,
       failed.scheduled_failures,
       failed.scheduled_failure_at,
       last_failure.error_message AS last_error
FROM sources
LEFT JOIN LATERAL (
    SELECT sync_run_id, started_at, status
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source
    ORDER BY sync_run_id DESC
    LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT started_at
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source
    ORDER BY sync_run_id
    LIMIT 1
) AS oldest ON true
LEFT JOIN LATERAL (
    SELECT sync_run_id, started_at, completed_at, obtained_at
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source AND status = 'success'
    ORDER BY sync_run_id DESC
    LIMIT 1
) AS good ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS failures_in_a_row,
           count(*) FILTER (WHERE triggered_by = 'scheduler') AS scheduled_failures,
           max(completed_at) FILTER (WHERE triggered_by = 'scheduler') AS scheduled_failure_at,
           max(sync_run_id) AS last_run_id
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source AND status = 'failed'
      AND sync_run_id > coalesce(good.sync_run_id, 0)
) AS failed
LEFT JOIN pricing_sync_log AS last_failure ON last_failure.sync_run_id = failed.last_run_id
WHERE sources.source <> 'override';  -- No sync brings its prices.
COMMENT ON VIEW source_syncs IS
    'Per source what the log says of its newest run, its newest success, and the failures since.';
