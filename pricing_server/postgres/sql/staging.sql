-- Temporary tables of one transaction, and the COPY that fills each: the fastest way into a table.

-- name: stage_models
CREATE TEMPORARY TABLE staged_models (
    provider text, model_id text, hugging_face_id text, canonical_slug text, alias_target text,
    context_length bigint, source text, retirement_time timestamptz, successor text,
    is_listed boolean
) ON COMMIT DROP;

-- name: copy_models
COPY staged_models FROM STDIN;

-- name: stage_cards
CREATE TEMPORARY TABLE staged_cards (card_id text, state text, currency text, rates jsonb)
    ON COMMIT DROP;

-- name: copy_cards
COPY staged_cards FROM STDIN;

-- name: stage_quotes
CREATE TEMPORARY TABLE staged_quotes (
    provider text, model_id text, source text, card_id text, fragment json,
    obtained_at timestamptz, stated_since timestamptz, sync_run_id bigint, is_confirmed boolean
) ON COMMIT DROP;

-- name: copy_quotes
COPY staged_quotes FROM STDIN;

-- name: stage_covered
CREATE TEMPORARY TABLE staged_covered (
    provider text, model_id text, source text, stated_as text, is_inferred boolean
) ON COMMIT DROP;

-- name: copy_covered
COPY staged_covered FROM STDIN;

-- name: stage_prices
-- A kind for a change of price; none where the same price is attributed anew.
CREATE TEMPORARY TABLE staged_prices (
    provider text, model_id text, kind text, card_id text, source text,
    input_price numeric, output_price numeric, effective_time timestamptz,
    origin_kind text, actor text, note text, sync_run_id bigint, held_change_id bigint,
    override_id bigint, reverted_run_id bigint,
    stated_as text, beneath_source text, beneath_stated_as text,
    beneath_card_id text, beneath_rate_sources text[], rate_sources text[], stated_card_id text, disagreements jsonb
) ON COMMIT DROP;

-- name: copy_prices
COPY staged_prices FROM STDIN;

-- name: stage_holds
CREATE TEMPORARY TABLE staged_holds (
    provider text, model_id text, card_id text, fragment json, provider_name text,
    hugging_face_id text, canonical_slug text, alias_target text, context_length bigint,
    reason text, evidence jsonb, feed_id bigint
) ON COMMIT DROP;

-- name: copy_holds
COPY staged_holds FROM STDIN;
