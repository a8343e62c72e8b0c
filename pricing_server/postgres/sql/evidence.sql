-- Statements that lead from a price to its evidence. All are read-only.

-- name: quotes_of
-- What each source states of a model, with the run that last read it; the one in force first.
-- What is left of an override that has ended states nothing.
SELECT quotes.source, sources.rank, quotes.fragment::text AS fragment, quotes.obtained_at,
       quotes.stated_since, quotes.is_confirmed, quotes.sync_run_id,
       quotes.stated_as, quotes.is_inferred,
       (pricing.source, pricing.quoted_model_key)
           IS NOT DISTINCT FROM (quotes.source, quotes.quoted_model_key) AS is_in_force,
       log.payload_url, log.payload_sha256,
       cards.state, cards.currency, cards.rates
FROM stated_quotes AS quotes
JOIN sources USING (source)
JOIN rate_cards AS cards USING (card_id)
LEFT JOIN model_pricing AS pricing ON pricing.model_key = quotes.model_key
LEFT JOIN pricing_sync_log AS log ON log.sync_run_id = quotes.sync_run_id
WHERE quotes.model_key = (
      -- As one value, so that each part of the view looks for it by its key.
      SELECT model_key FROM models WHERE provider = %(provider)s AND model_id = %(model_id)s
  )
  AND NOT (quotes.source = 'override' AND cards.state = 'unpriced')
ORDER BY is_in_force DESC, sources.rank, quotes.source;

-- name: override_of
-- The override in force of a model, its own or that of the id that covers it.
SELECT overrides.*, cards.state, cards.currency, cards.rates
FROM models
JOIN model_pricing AS pricing USING (model_key)
JOIN price_overrides AS overrides ON overrides.model_key = pricing.quoted_model_key
                                 AND overrides.cleared_at IS NULL
JOIN rate_cards AS cards ON cards.card_id = overrides.card_id
WHERE models.provider = %(provider)s AND models.model_id = %(model_id)s
  AND pricing.source = 'override';

-- name: list_overrides
-- Those set last first, behind a cursor.
SELECT models.provider, models.model_id, overrides.*, cards.state, cards.currency, cards.rates
FROM price_overrides AS overrides
JOIN models USING (model_key)
JOIN rate_cards AS cards USING (card_id)
WHERE CASE WHEN overrides.cleared_at IS NULL THEN %(in_force)s::boolean ELSE %(past)s::boolean END
  AND (%(provider)s::text IS NULL OR models.provider = %(provider)s)
  AND (%(model_id)s::text IS NULL OR models.model_id = %(model_id)s)
  AND (%(before)s::bigint IS NULL OR overrides.override_id < %(before)s)
ORDER BY overrides.override_id DESC
LIMIT %(limit)s;

-- name: newest_change_of
SELECT *
FROM price_changes
WHERE provider = %(provider)s AND model_id = %(model_id)s
ORDER BY revision DESC
LIMIT 1;

-- name: discrepancies
-- Models whose sources state headline prices that differ, each with the two quotes and the
-- meter that differ most, by falling ratio. Looked at are listed quotes with a price above
-- zero; a card that all sources share is not even read.
--
-- "standard" is the rule of llmpricing.schedule.headline: for a meter, the first rate whose
-- date and time of day hold now, of the standard context and the lowest band, per one.
WITH quoted AS (
    SELECT quotes.model_key, quotes.source, sources.rank, quotes.card_id, quotes.stated_since
    FROM stated_quotes AS quotes
    JOIN sources USING (source)
    JOIN models USING (model_key)
    -- What we only infer no source has stated.
    WHERE quotes.source <> 'override' AND NOT quotes.is_inferred AND quotes.missing_syncs < %(delisted)s
      AND (%(provider)s::text IS NULL OR models.provider = %(provider)s)
), contested AS (
    SELECT quoted.*
    FROM quoted
    JOIN (
        SELECT model_key FROM quoted GROUP BY model_key HAVING min(card_id) <> max(card_id)
    ) AS doubtful USING (model_key)
), standard AS MATERIALIZED (
    SELECT DISTINCT ON (cards.card_id, rate ->> 'meter')
           cards.card_id, rate ->> 'meter' AS meter, (rate ->> 'price')::numeric AS price
    FROM rate_cards AS cards
    CROSS JOIN LATERAL jsonb_array_elements(cards.rates)
               WITH ORDINALITY AS listed (rate, position)
    WHERE cards.card_id IN (SELECT card_id FROM contested)
      AND cards.state = 'priced'
      AND rate ->> 'meter' IN ('input_tokens', 'output_tokens')
      AND NOT rate ?| ARRAY['per', 'context']
      AND (NOT rate ? 'threshold'
           OR (rate #>> '{threshold,comparison}' = 'at_least'
               AND (rate #>> '{threshold,quantity}')::numeric = 0))
      AND (NOT rate ? 'effective_from'
           OR (rate ->> 'effective_from')::timestamptz <= %(at)s)
      AND (NOT rate ? 'effective_until'
           OR (rate ->> 'effective_until')::timestamptz > %(at)s)
      AND (NOT rate ? 'utc_window'
           OR CASE WHEN %(clock)s >= rate #>> '{utc_window,0}'
              THEN (%(clock)s < rate #>> '{utc_window,1}'
                    OR rate #>> '{utc_window,1}' <= rate #>> '{utc_window,0}')
                   AND (NOT rate ? 'utc_days' OR rate -> 'utc_days' ? %(today)s)
              -- Before its start, what still lasts has begun the day before.
              ELSE rate #>> '{utc_window,1}' <= rate #>> '{utc_window,0}'
                   AND %(clock)s < rate #>> '{utc_window,1}'
                   AND (NOT rate ? 'utc_days' OR rate -> 'utc_days' ? %(yesterday)s)
              END)
    ORDER BY cards.card_id, rate ->> 'meter', position
), priced AS MATERIALIZED (
    SELECT contested.*, standard.meter, standard.price
    FROM contested
    JOIN standard USING (card_id)
    WHERE standard.price > 0
), worst AS (
    SELECT DISTINCT ON (one.model_key)
           one.model_key, one.meter, one.source, one.price,
           other.source AS other_source, other.price AS other_price,
           greatest(one.price, other.price) / least(one.price, other.price) AS ratio,
           greatest(one.stated_since, other.stated_since) AS since
    FROM priced AS one
    JOIN priced AS other
      ON other.model_key = one.model_key AND other.meter = one.meter
     AND (other.rank, other.source) > (one.rank, one.source)
    WHERE greatest(one.price, other.price) >= least(one.price, other.price) * %(min_ratio)s
    ORDER BY one.model_key, ratio DESC, one.meter, one.rank, one.source, other.rank, other.source
)
SELECT models.provider, models.model_id, worst.meter, worst.source, worst.price,
       worst.other_source, worst.other_price, worst.ratio, worst.since
FROM worst
JOIN models USING (model_key)
WHERE %(after_ratio)s::numeric IS NULL
   OR worst.ratio < %(after_ratio)s
   OR (worst.ratio = %(after_ratio)s
       AND (models.provider, models.model_id) > (%(after_provider)s, %(after_model)s))
ORDER BY worst.ratio DESC, models.provider, models.model_id
LIMIT %(limit)s;
