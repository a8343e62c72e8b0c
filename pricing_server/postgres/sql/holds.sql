-- Statements of held changes, all within a transaction that has locked the head, or that only
-- reads.

-- name: is_first_sync
-- Whether nothing of a source was ever approved, and it never stated a price that was applied, or
-- still waits for its approval.
SELECT NOT EXISTS (
           SELECT FROM held_changes
           WHERE source = %(source)s AND model_id IS NULL AND status = 'approved')
       AND (
           (
               -- In order, so that a source without quotes is not looked for among all quotes.
               SELECT quotes.model_key
               FROM price_quotes AS quotes
               JOIN rate_cards AS cards USING (card_id)
               WHERE quotes.source = %(source)s AND cards.state <> 'unpriced'
               ORDER BY quotes.model_key
               LIMIT 1
           ) IS NULL
           OR coalesce((
               SELECT status IN ('open', 'rejected') FROM held_changes
               WHERE source = %(source)s AND model_id IS NULL
                 AND reason = ANY(%(first_sync_reasons)s)
               ORDER BY held_change_id DESC
               LIMIT 1
           ), false)
       ) AS is_first_sync;

-- name: read_holds
-- What is open of a source, and what was rejected and still binds.
SELECT held_change_id, provider, model_id, card_id, feed_id, reason, evidence, status, obtained_at
FROM held_changes
WHERE source = %(source)s
  AND (status = 'open' OR (status = 'rejected' AND lapsed_at IS NULL
                           AND (model_id IS NOT NULL OR reason = 'feed_shrunk')));

-- name: read_other_holds
-- Open held changes of single models of these sellers, by other sources.
SELECT held.*, held.fragment::text AS fragment_text, sources.rank,
       sources.coverage, sources.provider AS own_provider,
       cards.state, cards.currency, cards.rates
FROM held_changes AS held
JOIN sources USING (source)
JOIN rate_cards AS cards USING (card_id)
WHERE held.status = 'open' AND held.model_id IS NOT NULL AND held.feed_id IS NULL
  AND held.source <> %(source)s AND held.provider = ANY(%(providers)s)
ORDER BY held.held_change_id;

-- name: read_other_sellers
-- By asked model and meter, the middle one of the unconditional prices that other sellers of the
-- same model charge: one with the same id or Hugging Face id in any case, or the same canonical
-- slug. What an admin decided is no evidence of what is charged.
WITH asked AS (
    SELECT position, provider, lower(model_id) AS model_id,
           lower(hugging_face_id) AS hugging_face_id, canonical_slug
    FROM unnest(%(providers)s::text[], %(model_ids)s::text[], %(hugging_face_ids)s::text[],
                %(canonical_slugs)s::text[])
         WITH ORDINALITY AS listed (provider, model_id, hugging_face_id, canonical_slug, position)
), named AS (
    SELECT position, provider, name
    FROM asked, unnest(ARRAY[model_id, hugging_face_id]) AS name
    WHERE name IS NOT NULL
), same AS (
    SELECT position, model_key
    FROM named JOIN models ON lower(models.model_id) = named.name
    WHERE models.provider <> named.provider
    UNION
    SELECT position, model_key
    FROM named JOIN models ON lower(models.hugging_face_id) = named.name
    WHERE models.provider <> named.provider
    UNION
    SELECT position, model_key
    FROM asked JOIN models ON models.canonical_slug = asked.canonical_slug
    WHERE models.provider <> asked.provider
)
SELECT position, rate ->> 'meter' AS meter,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY (rate ->> 'price')::numeric) AS price
FROM same
JOIN model_pricing USING (model_key)
JOIN rate_cards USING (card_id),
     jsonb_array_elements(rates) AS rate
WHERE state = 'priced' AND model_pricing.source <> 'override'
  AND rate - 'meter' - 'price' = '{}' AND (rate ->> 'price')::numeric > 0
GROUP BY position, rate ->> 'meter';

-- name: read_usual_prices
-- By meter the prices in force of listed models but for the lowest and the highest share of them,
-- where enough models have one. Of a model the unconditional price counts, and none of an admin.
SELECT rate ->> 'meter' AS meter, count(*) AS models,
       percentile_disc(%(outer_share)s::float) WITHIN GROUP (ORDER BY (rate ->> 'price')::numeric)
           AS low,
       percentile_disc(1 - %(outer_share)s::float)
           WITHIN GROUP (ORDER BY (rate ->> 'price')::numeric) AS high
FROM models
JOIN model_pricing USING (model_key)
JOIN rate_cards USING (card_id),
     jsonb_array_elements(rates) AS rate
WHERE models.is_active AND state = 'priced' AND model_pricing.source <> 'override'
  AND rate - 'meter' - 'price' = '{}' AND (rate ->> 'price')::numeric > 0
GROUP BY rate ->> 'meter'
HAVING count(*) >= %(min_models)s;

-- name: open_feed
INSERT INTO held_changes (source, reason, evidence, obtained_at, last_obtained_at, first_run,
                          last_run, held_since, last_stated)
VALUES (%(source)s, %(reason)s, %(evidence)s, %(obtained_at)s, %(obtained_at)s,
        %(sync_run_id)s, %(sync_run_id)s, %(changed_at)s, %(changed_at)s)
RETURNING held_change_id;

-- name: open_holds
INSERT INTO held_changes (source, provider, model_id, card_id, fragment, provider_name,
                          hugging_face_id, canonical_slug, alias_target, context_length,
                          reason, evidence, feed_id, obtained_at, last_obtained_at, first_run, last_run,
                          held_since, last_stated)
SELECT %(source)s, provider, model_id, card_id, fragment, provider_name, hugging_face_id,
       canonical_slug, alias_target, context_length, reason, evidence, feed_id, %(obtained_at)s,
       %(obtained_at)s, %(sync_run_id)s, %(sync_run_id)s, %(changed_at)s, %(changed_at)s
FROM staged_holds;

-- name: state_again
UPDATE held_changes
SET last_run = %(sync_run_id)s, last_stated = %(changed_at)s, last_obtained_at = %(obtained_at)s
WHERE held_change_id = ANY(%(held_change_ids)s);

-- name: end_holds
UPDATE held_changes SET status = %(status)s, resolved_at = %(changed_at)s
WHERE held_change_id = ANY(%(held_change_ids)s);

-- name: lapse_rejections
UPDATE held_changes SET lapsed_at = %(changed_at)s
WHERE held_change_id = ANY(%(held_change_ids)s);

-- name: keep_quotes
-- The source lists these models and no longer states what their quotes say.
UPDATE price_quotes SET is_confirmed = false, missing_syncs = 0
WHERE source = %(source)s AND model_key = ANY(%(model_keys)s);

-- name: lock_hold
SELECT held_change_id, model_id, status FROM held_changes
WHERE held_change_id = %(held_change_id)s
FOR UPDATE;

-- name: read_decided
-- What a decision is about: the held change of a model, or all open ones of a feed.
SELECT held.*, held.fragment::text AS fragment_text, sources.rank,
       sources.coverage, sources.provider AS own_provider,
       cards.state, cards.currency, cards.rates
FROM held_changes AS held
JOIN sources USING (source)
JOIN rate_cards AS cards USING (card_id)
WHERE held.status = 'open'
  AND (held.held_change_id = %(held_change_id)s OR held.feed_id = %(held_change_id)s)
ORDER BY held.held_change_id;

-- name: read_decided_models
SELECT known.*
FROM unnest(%(providers)s::text[], %(model_ids)s::text[]) AS named (provider, model_id)
JOIN known_models AS known USING (provider, model_id);

-- name: believe_shrunk_feed
-- Whoever approves a feed that shrank believes that what it does not list is missing: as if the
-- run that stated it last had been the first without these models. Those that it does
-- list and that are held with it are quoted by the approval, so it comes after this.
UPDATE price_quotes AS quotes SET missing_syncs = 1, is_confirmed = false
FROM held_changes AS feed
WHERE feed.held_change_id = %(held_change_id)s AND feed.status = 'open'
  AND feed.model_id IS NULL AND feed.reason = 'feed_shrunk'
  AND quotes.source = feed.source AND quotes.missing_syncs = 0
  AND quotes.sync_run_id IS DISTINCT FROM feed.last_run;

-- name: decide
-- A feed is decided with all of its open models.
UPDATE held_changes
SET status = %(status)s, resolved_at = %(changed_at)s, resolved_by = %(resolved_by)s,
    note = %(note)s
WHERE status = 'open'
  AND (held_change_id = %(held_change_id)s OR feed_id = %(held_change_id)s);

-- name: read_held_change
SELECT * FROM held_change_details WHERE held_change_id = %(held_change_id)s;

-- name: list_held_changes
-- Open ones first, newest first, behind a cursor of (is decided, held_change_id). Those of a
-- feed are listed for a feed or a model that is asked for.
SELECT *
FROM held_change_details AS held
WHERE held.status = ANY(%(statuses)s)
  AND (%(source)s::text IS NULL OR held.source = %(source)s)
  AND (%(provider)s::text IS NULL OR held.provider = %(provider)s)
  AND (%(model_id)s::text IS NULL OR held.model_id = %(model_id)s)
  AND CASE WHEN %(feed_id)s::bigint IS NOT NULL THEN held.feed_id = %(feed_id)s
      ELSE held.feed_id IS NULL
           OR %(provider)s::text IS NOT NULL OR %(model_id)s::text IS NOT NULL END
  AND (%(before_decided)s::integer IS NULL
       OR (held.status <> 'open')::integer > %(before_decided)s
       OR ((held.status <> 'open')::integer = %(before_decided)s
           AND held.held_change_id < %(before_id)s))
ORDER BY (held.status <> 'open')::integer, held.held_change_id DESC
LIMIT %(limit)s;
