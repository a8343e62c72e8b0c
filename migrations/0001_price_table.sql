-- The price table: sellers, sources, models, rate cards, quotes, current prices,
-- their history, and the log of syncs.
--
-- A price is NUMERIC without a fixed scale: feeds state up to 22 decimals.
-- "< 'Infinity'" also refuses NaN, which Postgres sorts above it.

-- Sellers ----------------------------------------------------------------------

CREATE TABLE providers (
    provider text PRIMARY KEY CHECK (provider = lower(provider) AND length(provider) BETWEEN 1 AND 512),
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE providers IS 'Who sells models.';

CREATE TABLE provider_aliases (
    alias text PRIMARY KEY CHECK (alias = lower(alias)),
    provider text NOT NULL
);
COMMENT ON TABLE provider_aliases IS
    'Other spellings of a seller. An alias may wait for a seller that no source has named yet.';

-- Sources ----------------------------------------------------------------------

CREATE TABLE sources (
    source text PRIMARY KEY CHECK (source = lower(source) AND length(source) BETWEEN 1 AND 512),
    display_name text NOT NULL,
    provider text,
    rank integer NOT NULL CHECK (rank >= 0)
);
COMMENT ON TABLE sources IS 'Who tells prices: a seller''s own API, or a catalogue of many sellers.';
COMMENT ON COLUMN sources.provider IS 'The seller whose own API it is; null for a catalogue.';
COMMENT ON COLUMN sources.rank IS 'Of the sources that price a model the one with the lowest rank wins.';

-- The head: one row that orders every change of the table -----------------------

CREATE TABLE price_table_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL CHECK (revision >= 0),
    epoch uuid NOT NULL,
    database_identity text
);
COMMENT ON TABLE price_table_head IS
    'A writing transaction locks this row first, so revisions are dense and in commit order, '
    'and increments it when a price changes.';
COMMENT ON COLUMN price_table_head.epoch IS
    'Names the history that revision counts in; a restored database gets a new one.';
COMMENT ON COLUMN price_table_head.database_identity IS
    'The cluster and database that the epoch belongs to; differs after a restore.';
INSERT INTO price_table_head (revision, epoch) VALUES (0, gen_random_uuid());

-- The log of syncs --------------------------------------------------------------

CREATE TABLE pricing_sync_log (
    sync_run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL REFERENCES sources ON DELETE RESTRICT,
    status text NOT NULL DEFAULT 'in_progress' CHECK (status IN ('in_progress', 'success', 'failed')),
    triggered_by text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at timestamptz,
    duration_ms bigint GENERATED ALWAYS AS
        (round(extract(epoch FROM completed_at - started_at) * 1000)::bigint) STORED,
    models_fetched integer NOT NULL DEFAULT 0,
    models_updated integer NOT NULL DEFAULT 0,
    models_unchanged integer NOT NULL DEFAULT 0,
    models_skipped integer NOT NULL DEFAULT 0,
    models_registered integer NOT NULL DEFAULT 0,
    models_missing integer NOT NULL DEFAULT 0,
    models_held integer NOT NULL DEFAULT 0,
    errors integer NOT NULL DEFAULT 0,
    error_details jsonb NOT NULL DEFAULT '[]',
    notices jsonb NOT NULL DEFAULT '[]',
    error_message text,
    revision bigint,
    obtained_at timestamptz,
    release text,
    CHECK ((status = 'in_progress') = (completed_at IS NULL)),
    CHECK ((status = 'failed') = (error_message IS NOT NULL)),
    CHECK ((status = 'success') = (revision IS NOT NULL)),
    CHECK (models_fetched = models_registered + models_updated + models_unchanged
                            + models_skipped + errors + models_held OR status <> 'success')
);
CREATE INDEX pricing_sync_log_by_source ON pricing_sync_log (source, sync_run_id DESC);
CREATE INDEX pricing_sync_log_in_progress ON pricing_sync_log (source) WHERE status = 'in_progress';
COMMENT ON COLUMN pricing_sync_log.heartbeat_at IS
    'The last sign of life of the process that runs it; old while in progress: the process is frozen.';
COMMENT ON COLUMN pricing_sync_log.obtained_at IS 'When the data that the run read was obtained.';
COMMENT ON COLUMN pricing_sync_log.release IS 'The version of a bundled catalogue; null for an API.';

CREATE FUNCTION guard_sync_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status <> 'in_progress' THEN
        RAISE EXCEPTION 'a sync run begins in progress';
    ELSIF TG_OP = 'UPDATE' AND OLD.status = 'in_progress'
          AND to_jsonb(NEW) - 'heartbeat_at' = to_jsonb(OLD) - 'heartbeat_at' THEN
        RETURN NEW;  -- A sign of life.
    ELSIF TG_OP = 'UPDATE' AND (OLD.status <> 'in_progress' OR NEW.status = 'in_progress') THEN
        RAISE EXCEPTION 'a sync run moves to its final status exactly once'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_sync_log BEFORE INSERT OR UPDATE ON pricing_sync_log
    FOR EACH ROW EXECUTE FUNCTION guard_sync_log();

CREATE VIEW held_sources AS
SELECT objid AS lock_key, pid
FROM pg_locks
WHERE locktype = 'advisory' AND classid = 727001 AND objsubid = 2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
COMMENT ON VIEW held_sources IS
    'Sessions that hold a source for a sync: pg_try_advisory_lock(727001, hashtext(source)).';

-- Models ------------------------------------------------------------------------

CREATE TABLE models (
    model_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL REFERENCES providers ON DELETE RESTRICT,
    model_id text NOT NULL CHECK (length(model_id) BETWEEN 1 AND 512),
    is_active boolean NOT NULL DEFAULT true,
    delisted_at timestamptz,
    hugging_face_id text,
    canonical_slug text,
    alias_target text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider, model_id),
    CHECK (is_active = (delisted_at IS NULL))
);
CREATE INDEX models_by_model_id ON models (model_id);
CREATE INDEX models_by_hugging_face_id ON models (lower(hugging_face_id))
    WHERE hugging_face_id IS NOT NULL;
COMMENT ON COLUMN models.model_id IS 'The seller''s own id of the model; unique only with the seller.';
COMMENT ON COLUMN models.alias_target IS 'What an alias stands for, in the seller''s naming.';

-- Rate cards ----------------------------------------------------------------------

CREATE FUNCTION rates_are_sound(rates jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_typeof(rates) = 'array' AND NOT EXISTS (
        SELECT FROM jsonb_array_elements(rates) AS rate
        WHERE rate ->> 'meter' IS NULL
           OR jsonb_typeof(rate -> 'price') IS DISTINCT FROM 'string'
           OR NOT ((rate ->> 'price')::numeric >= 0 AND (rate ->> 'price')::numeric < 'Infinity')
    )
$$;

CREATE TABLE rate_cards (
    card_id text PRIMARY KEY CHECK (card_id ~ '^[0-9a-f]{64}$'),
    state text NOT NULL CHECK (state IN ('priced', 'free', 'dynamic', 'unpriced')),
    currency text NOT NULL CHECK (currency = 'USD'),
    rates jsonb NOT NULL CHECK (rates_are_sound(rates)),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE rate_cards IS
    'Immutable. card_id is the SHA-256 of the canonical document {currency, rates, state}; '
    'for a meter, the first rate whose conditions hold applies.';

CREATE VIEW rates AS
SELECT card_id,
       position,
       rate ->> 'meter' AS meter,
       (rate ->> 'price')::numeric AS price,
       coalesce((rate ->> 'per')::bigint, 1) AS per,
       rate - 'meter' - 'price' - 'per' AS conditions
FROM rate_cards, jsonb_array_elements(rates) WITH ORDINALITY AS listed (rate, position);
COMMENT ON VIEW rates IS 'The rates of all cards, one a row: USD for "per" units of the meter.';

-- Quotes: what each source states now ----------------------------------------------

CREATE TABLE price_quotes (
    model_key bigint NOT NULL REFERENCES models ON DELETE RESTRICT,
    source text NOT NULL REFERENCES sources ON DELETE RESTRICT,
    card_id text NOT NULL REFERENCES rate_cards ON DELETE RESTRICT,
    fragment json NOT NULL,
    obtained_at timestamptz NOT NULL,
    sync_run_id bigint NOT NULL REFERENCES pricing_sync_log ON DELETE RESTRICT,
    missing_syncs integer NOT NULL DEFAULT 0 CHECK (missing_syncs >= 0),
    PRIMARY KEY (model_key, source)
);
CREATE INDEX price_quotes_by_source ON price_quotes (source);
COMMENT ON COLUMN price_quotes.fragment IS
    'The source''s own statement, as it was written; after a revert {"reverted_sync_run_id", "stated"}.';
COMMENT ON COLUMN price_quotes.obtained_at IS 'When the data that last stated this card was obtained.';
COMMENT ON COLUMN price_quotes.sync_run_id IS 'The run that last read the statement.';
COMMENT ON COLUMN price_quotes.missing_syncs IS 'Successful syncs in a row that did not list the model.';

-- Current prices: one resolved card per model -----------------------------------------

CREATE TABLE model_pricing (
    model_key bigint PRIMARY KEY REFERENCES models ON DELETE RESTRICT,
    card_id text NOT NULL REFERENCES rate_cards ON DELETE RESTRICT,
    source text NOT NULL,
    price_per_input_token numeric
        CHECK (price_per_input_token >= 0 AND price_per_input_token < 'Infinity'),
    price_per_output_token numeric
        CHECK (price_per_output_token >= 0 AND price_per_output_token < 'Infinity'),
    effective_time timestamptz NOT NULL,
    revision bigint NOT NULL,
    FOREIGN KEY (model_key, source) REFERENCES price_quotes ON DELETE RESTRICT
);
COMMENT ON COLUMN model_pricing.price_per_input_token IS
    'USD, a copy for SQL users: the headline when the row was written. The card decides.';
COMMENT ON COLUMN model_pricing.effective_time IS 'When the source''s data first stated this card.';
COMMENT ON COLUMN model_pricing.revision IS 'Of the last change of this price.';

-- History -----------------------------------------------------------------------------

CREATE TABLE model_pricing_history (
    revision bigint NOT NULL,
    model_key bigint NOT NULL REFERENCES models ON DELETE RESTRICT,
    kind text NOT NULL CHECK (kind IN ('added', 'changed', 'delisted', 'restored')),
    previous_card_id text REFERENCES rate_cards ON DELETE RESTRICT,
    card_id text NOT NULL REFERENCES rate_cards ON DELETE RESTRICT,
    previous_input_price numeric,
    previous_output_price numeric,
    input_price numeric,
    output_price numeric,
    source text NOT NULL REFERENCES sources ON DELETE RESTRICT,
    effective_time timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    origin_kind text NOT NULL CHECK (origin_kind IN (
        'sync', 'revert', 'approval', 'override_set', 'override_cleared', 'override_ended')),
    actor text NOT NULL CHECK (actor <> ''),
    note text NOT NULL,
    sync_run_id bigint REFERENCES pricing_sync_log ON DELETE RESTRICT,
    held_change_id bigint,
    override_id bigint,
    reverted_run_id bigint REFERENCES pricing_sync_log ON DELETE RESTRICT,
    PRIMARY KEY (revision, model_key),
    CHECK ((kind = 'added') = (previous_card_id IS NULL)),
    CHECK (num_nonnulls(sync_run_id, held_change_id, override_id, reverted_run_id) = 1
           AND CASE origin_kind
               WHEN 'sync' THEN sync_run_id
               WHEN 'revert' THEN reverted_run_id
               WHEN 'approval' THEN held_change_id
               ELSE override_id END IS NOT NULL)
);
CREATE INDEX model_pricing_history_by_model ON model_pricing_history (model_key, revision DESC);
CREATE INDEX model_pricing_history_by_run ON model_pricing_history (sync_run_id)
    WHERE sync_run_id IS NOT NULL;
CREATE INDEX model_pricing_history_by_reverted_run ON model_pricing_history (reverted_run_id)
    WHERE reverted_run_id IS NOT NULL;
COMMENT ON COLUMN model_pricing_history.origin_kind IS
    'What made the change: it has the one reference that its kind needs.';
COMMENT ON COLUMN model_pricing_history.actor IS
    'Who is known to have acted: "admin", "scheduler" or "server".';
COMMENT ON COLUMN model_pricing_history.note IS 'What the caller typed, which nobody has checked.';
COMMENT ON TABLE model_pricing_history IS
    'Every price from the first, append-only for everyone. Prices are USD per token.';

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON model_pricing_history
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rate_cards
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
-- Also where a superuser turned ordinary triggers off.
ALTER TABLE model_pricing_history ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE rate_cards ENABLE ALWAYS TRIGGER append_only;
