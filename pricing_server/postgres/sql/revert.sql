-- Statements of reverting a sync run. Those of a run that write prices serve here too.

-- name: read_run
SELECT source, status FROM pricing_sync_log WHERE sync_run_id = %(sync_run_id)s;

-- name: read_run_changes
-- What a run changed, with the change before of each model, its newest ones after, the quote of
-- the run's source, and what is in force now. If an override stated the price before, and has
-- ended since, the price counts as the run's source's: at its end no source stated another one.
SELECT history.model_key,
       models.provider,
       models.model_id,
       history.kind,
       history.source,
       history.previous_card_id,
       history.card_id,
       CASE WHEN before.source = 'override' AND pricing.source <> 'override'
                 AND before.state <> 'unpriced'
            THEN %(source)s ELSE before.source END AS before_source,
       before.effective_time AS before_effective_time,
       before.stated_card_id AS before_stated_card_id,
       history.previous_rate_sources,
       history.rate_sources,
       history.stated_card_id,
       (SELECT max(later.revision) FROM model_pricing_history AS later
        WHERE later.model_key = history.model_key
          AND later.revision > history.revision
          AND later.override_id IS NULL) AS later_revision,
       (SELECT max(later.revision) FROM model_pricing_history AS later
        WHERE later.model_key = history.model_key
          AND later.revision > history.revision
          AND later.override_id IS NOT NULL) AS override_revision,
       pricing.source = 'override' AND in_force.state <> 'unpriced' AS is_overridden,
       pricing.card_id AS card_in_force,
       quotes.card_id AS quoted_card,
       EXISTS (SELECT FROM covered_ids AS covered
               WHERE covered.model_key = history.model_key
                 AND covered.source = history.source) AS is_covered,
       coalesce(quotes.missing_syncs, 0) AS missing_syncs
FROM model_pricing_history AS history
JOIN models USING (model_key)
JOIN model_pricing AS pricing ON pricing.model_key = history.model_key
JOIN rate_cards AS in_force ON in_force.card_id = pricing.card_id
LEFT JOIN price_quotes AS quotes ON quotes.model_key = history.model_key
                                AND quotes.source = %(source)s
LEFT JOIN LATERAL (
    SELECT source, effective_time, state, stated_card_id
    FROM model_pricing_history AS earlier
    JOIN rate_cards USING (card_id)
    WHERE earlier.model_key = history.model_key AND earlier.revision < history.revision
    ORDER BY earlier.revision DESC
    LIMIT 1
) AS before ON true
WHERE history.sync_run_id = %(sync_run_id)s
ORDER BY history.model_key;

-- name: read_covering
-- Under which other ids sources state these models.
SELECT models.provider, models.model_id, covered.source, covering.model_id AS stated_as
FROM unnest(%(providers)s::text[], %(model_ids)s::text[]) AS named (provider, model_id)
JOIN models USING (provider, model_id)
JOIN covered_ids AS covered ON covered.model_key = models.model_key
JOIN models AS covering ON covering.model_key = covered.covering_model_key;

-- name: read_run_statements
-- The prices that a run was the first to state, where the quote of its source still has them: a
-- quote is stated since the time of the data that brought its card. Not those that were held
-- then, and are believed since somebody approved them or another source confirmed them. Data of
-- the same time may have been read before (a bundled catalogue, a recording): a price that was in
-- force before the run is then no news of it.
SELECT quotes.model_key,
       models.provider,
       models.model_id,
       quotes.is_confirmed,
       pricing.source = 'override' AND in_force.state <> 'unpriced' AS is_overridden,
       pricing.source = quotes.source AND pricing.revision > log.revision AS is_in_force_since,
       pricing.revision AS price_revision
FROM pricing_sync_log AS log
JOIN price_quotes AS quotes ON quotes.source = log.source
                           AND quotes.stated_since = log.obtained_at
                           AND quotes.sync_run_id >= log.sync_run_id
JOIN rate_cards AS stated ON stated.card_id = quotes.card_id
JOIN models USING (model_key)
JOIN model_pricing AS pricing USING (model_key)
JOIN rate_cards AS in_force ON in_force.card_id = pricing.card_id
WHERE log.sync_run_id = %(sync_run_id)s
  AND stated.state <> 'unpriced'
  AND NOT EXISTS (
      SELECT FROM held_changes AS held
      WHERE held.source = quotes.source AND held.provider = models.provider
        AND held.model_id = models.model_id AND held.card_id = quotes.card_id
        AND held.obtained_at = quotes.stated_since AND held.status IN ('approved', 'released'))
  AND NOT (
      pricing.source = quotes.source AND pricing.revision <= log.revision
      AND EXISTS (
          SELECT FROM pricing_sync_log AS earlier
          WHERE earlier.source = log.source AND earlier.status = 'success'
            AND earlier.obtained_at = log.obtained_at
            AND earlier.sync_run_id < log.sync_run_id))
ORDER BY quotes.model_key;

-- name: unconfirm_quotes
-- The statement stays as it was read; a price that comes into force by it is unconfirmed.
UPDATE price_quotes SET is_confirmed = false
WHERE source = %(source)s AND model_key = ANY(%(unconfirmed)s);

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

-- name: restore_beneath
-- What is in force again as soon as an override ends, of the model and of the ids that it covers.
UPDATE model_pricing
SET beneath_card_id = %(card_id)s, beneath_rate_sources = %(rate_sources)s
WHERE beneath_source = %(source)s AND beneath_model_key = %(model_key)s;
