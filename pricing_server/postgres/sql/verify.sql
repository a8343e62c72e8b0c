-- Checks of the price table against itself. "figures" counts what is looked at, each other
-- statement lists what is wrong.

-- name: figures
SELECT (SELECT count(*) FROM model_pricing) AS prices,
       (SELECT count(*) FROM models WHERE is_active) AS listed,
       (SELECT count(*) FROM models WHERE NOT is_active) AS delisted,
       (SELECT count(*) FROM model_pricing_history) AS changes,
       (SELECT revision FROM price_table_head) AS revision,
       (SELECT count(*) FROM rate_cards) AS cards,
       (SELECT count(*) FROM pricing_sync_log) AS runs,
       (SELECT count(*) FROM held_changes) AS held,
       (SELECT count(*) FROM held_changes WHERE status = 'open') AS held_open,
       (SELECT count(*) FROM pricing_sync_log WHERE status = 'in_progress') AS in_progress;

-- name: prices_unlike_history
-- The price in force is what the newest change says, and no model has one without the other.
SELECT coalesce(pricing.model_key, last.model_key) AS what
FROM model_pricing AS pricing
FULL JOIN (
    SELECT DISTINCT ON (model_key) model_key, card_id, input_price, output_price,
           effective_time, revision
    FROM model_pricing_history
    ORDER BY model_key, revision DESC
) AS last USING (model_key)
WHERE (pricing.card_id, pricing.price_per_input_token, pricing.price_per_output_token,
       pricing.effective_time, pricing.revision)
      IS DISTINCT FROM
      (last.card_id, last.input_price, last.output_price, last.effective_time, last.revision)
ORDER BY 1;

-- name: broken_chains
-- Each change begins with the card and the prices that the one before ended with.
SELECT revision || '/' || model_key AS what
FROM (
    SELECT model_key, revision, kind,
           (previous_card_id, previous_input_price, previous_output_price) AS begins,
           lag((card_id, input_price, output_price)) OVER model AS before,
           lag(revision) OVER model IS NULL AS is_first
    FROM model_pricing_history
    WINDOW model AS (PARTITION BY model_key ORDER BY revision)
) AS chained
WHERE CASE WHEN is_first THEN kind <> 'added'
           ELSE kind = 'added' OR begins IS DISTINCT FROM before END
ORDER BY revision, model_key;

-- name: activity_unlike_history
-- A model is delisted when the newest change that says so says delisted.
SELECT model_key AS what
FROM models
LEFT JOIN (
    SELECT DISTINCT ON (model_key) model_key, kind
    FROM model_pricing_history
    WHERE kind IN ('delisted', 'restored')
    ORDER BY model_key, revision DESC
) AS last USING (model_key)
WHERE is_active IS DISTINCT FROM (coalesce(last.kind, 'restored') = 'restored')
ORDER BY 1;

-- name: revisions_without_changes
-- Revisions are dense: each from 1 to the head has changes, and no change is beyond the head.
SELECT coalesce(counted.revision, found.revision) AS what
FROM (SELECT generate_series(1, revision) AS revision FROM price_table_head) AS counted
FULL JOIN (SELECT DISTINCT revision FROM model_pricing_history) AS found USING (revision)
WHERE counted.revision IS NULL OR found.revision IS NULL
ORDER BY 1;

-- name: quotes_unlike_prices
-- Not always of the same card: a quote that moved after a revert waits for the next sync.
SELECT pricing.model_key AS what
FROM model_pricing AS pricing
LEFT JOIN stated_quotes AS quotes ON quotes.model_key = pricing.model_key
                                 AND quotes.source = pricing.source
                                 AND quotes.quoted_model_key = pricing.quoted_model_key
WHERE quotes.model_key IS NULL
ORDER BY 1;

-- name: read_completed_prices
-- Cards that several sources state, with what each of them states. Not after a revert, which
-- restores what was in force until the next sync.
SELECT pricing.model_key, pricing.rate_sources, quotes.source,
       cards.state, cards.currency, cards.rates,
       stated.state AS stated_state, stated.currency AS stated_currency,
       stated.rates AS stated_rates
FROM model_pricing AS pricing
JOIN model_pricing_history AS history USING (model_key, revision)
JOIN rate_cards AS cards ON cards.card_id = pricing.card_id
JOIN stated_quotes AS quotes ON quotes.model_key = pricing.model_key
JOIN rate_cards AS stated ON stated.card_id = quotes.card_id
WHERE EXISTS (SELECT FROM unnest(pricing.rate_sources) AS one WHERE one <> pricing.source)
  AND history.origin_kind <> 'revert'
ORDER BY pricing.model_key;

-- name: inconsistent_runs
-- Counts of a success add up, its revision was reached, and the changes that name a run
-- belong to a success at its revision.
SELECT sync_run_id AS what
FROM pricing_sync_log AS log
LEFT JOIN (
    SELECT sync_run_id, min(revision) AS first_revision, max(revision) AS last_revision,
           count(*) FILTER (WHERE kind = 'added') AS added
    FROM model_pricing_history
    WHERE sync_run_id IS NOT NULL
    GROUP BY sync_run_id
) AS made USING (sync_run_id)
WHERE CASE WHEN status = 'success' THEN
          models_fetched <> models_registered + models_updated + models_unchanged
                            + models_skipped + errors + models_held
          OR revision > (SELECT revision FROM price_table_head)
          OR (made.sync_run_id IS NOT NULL
              AND (first_revision, last_revision) IS DISTINCT FROM (log.revision, log.revision))
          OR coalesce(made.added, 0) < models_registered
      ELSE made.sync_run_id IS NOT NULL END
ORDER BY 1;

-- name: held_unlike_feeds
-- The models of a held feed are of its source and held for its reason, and no longer open once
-- the feed is decided. The other way round a feed may be open without any: each of its models
-- can be decided alone.
SELECT held.held_change_id AS what
FROM held_changes AS held
JOIN held_changes AS feed ON feed.held_change_id = held.feed_id
WHERE feed.model_id IS NOT NULL
   OR (feed.source, feed.reason) IS DISTINCT FROM (held.source, held.reason)
   OR (held.status = 'open' AND feed.status <> 'open')
ORDER BY 1;

-- name: held_by_no_run
-- What is held was stated first and last by runs of its source that succeeded, in this order.
SELECT held.held_change_id AS what
FROM held_changes AS held
JOIN pricing_sync_log AS began ON began.sync_run_id = held.first_run
JOIN pricing_sync_log AS stated ON stated.sync_run_id = held.last_run
WHERE held.first_run > held.last_run
   OR (began.source, began.status) IS DISTINCT FROM (held.source, 'success')
   OR (stated.source, stated.status) IS DISTINCT FROM (held.source, 'success')
ORDER BY 1;

-- name: confirmed_though_held
-- While a price of a source waits for a decision, the one before is not what the source states.
-- They may be the same card: a revert restores what the source meanwhile states again.
SELECT held.held_change_id AS what
FROM held_changes AS held
JOIN models USING (provider, model_id)
JOIN price_quotes AS quotes ON quotes.model_key = models.model_key
                           AND quotes.source = held.source
WHERE held.status = 'open' AND quotes.is_confirmed
ORDER BY 1;

-- name: runs_without_process
SELECT sync_run_id AS what
FROM pricing_sync_log
WHERE status = 'in_progress'
  AND NOT EXISTS (SELECT FROM locked_sources WHERE lock_key = hashtext(source)::oid)
ORDER BY 1;

-- name: read_all_cards
SELECT card_id, state, currency, rates FROM rate_cards ORDER BY card_id;
