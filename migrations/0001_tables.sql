-- The price table: sellers, sources, models, rate cards, quotes, current prices, their history,
-- what the guard holds, what admins set, the log of syncs, and incidents.
--
-- A price is NUMERIC without a fixed scale: feeds state up to 22 decimals.
-- "< 'Infinity'" also refuses NaN, which Postgres sorts above it.

-- Sellers ----------------------------------------------------------------------

CREATE TABLE providers (
    provider text
        CONSTRAINT providers_pkey PRIMARY KEY
        CONSTRAINT providers_provider_is_a_name
            CHECK (provider = lower(provider) AND length(provider) BETWEEN 1 AND 512),
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE providers IS 'Who sells models.';

CREATE TABLE provider_aliases (
    alias text
        CONSTRAINT provider_aliases_pkey PRIMARY KEY
        CONSTRAINT provider_aliases_alias_is_lower_case CHECK (alias = lower(alias)),
    provider text NOT NULL
);
COMMENT ON TABLE provider_aliases IS
    'Other spellings of a seller. An alias may wait for a seller that no source has named yet.';

-- Sources ----------------------------------------------------------------------

CREATE TABLE sources (
    source text
        CONSTRAINT sources_pkey PRIMARY KEY
        CONSTRAINT sources_source_is_a_name
            CHECK (source = lower(source) AND length(source) BETWEEN 1 AND 512),
    display_name text NOT NULL,
    provider text,
    rank integer NOT NULL
        CONSTRAINT sources_rank_is_not_negative CHECK (rank >= 0),
    coverage jsonb
);
COMMENT ON TABLE sources IS
    'Who states prices: a seller''s own API, a catalogue of many sellers, or an admin.';
COMMENT ON COLUMN sources.provider IS 'The seller whose own API it is; null for a catalogue.';
COMMENT ON COLUMN sources.coverage IS
    'Where the absence of a rate is a statement: {"meters", "has_all_contexts", "has_all_tiers"}; '
    'null where it never is.';
COMMENT ON COLUMN sources.rank IS 'The source with the lowest rank decides a model''s price.';

-- An override is the quote of a source that ranks before all others: whatever a sync brings,
-- it stays in force, and the quotes beneath it are kept up to date.
INSERT INTO sources (source, display_name, provider, rank)
VALUES ('override', 'Override', NULL, 0);

-- The head: one row that orders every change of the table -----------------------

CREATE TABLE price_table_head (
    only_row boolean DEFAULT true
        CONSTRAINT price_table_head_pkey PRIMARY KEY
        CONSTRAINT price_table_head_has_one_row CHECK (only_row),
    revision bigint NOT NULL
        CONSTRAINT price_table_head_revision_is_not_negative CHECK (revision >= 0),
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
    sync_run_id bigint GENERATED ALWAYS AS IDENTITY
        CONSTRAINT pricing_sync_log_pkey PRIMARY KEY,
    source text NOT NULL
        CONSTRAINT pricing_sync_log_source_fkey REFERENCES sources ON DELETE RESTRICT,
    status text NOT NULL DEFAULT 'in_progress'
        CONSTRAINT pricing_sync_log_status_is_known
            CHECK (status IN ('in_progress', 'success', 'failed')),
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
    payload_url text,
    payload_sha256 text
        CONSTRAINT pricing_sync_log_payload_sha256_is_a_digest
            CHECK (payload_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT pricing_sync_log_ended_runs_have_an_end
        CHECK ((status = 'in_progress') = (completed_at IS NULL)),
    CONSTRAINT pricing_sync_log_failed_runs_have_a_message
        CHECK ((status = 'failed') = (error_message IS NOT NULL)),
    CONSTRAINT pricing_sync_log_good_runs_have_a_revision
        CHECK ((status = 'success') = (revision IS NOT NULL)),
    CONSTRAINT pricing_sync_log_counts_add_up
        CHECK (models_fetched = models_registered + models_updated + models_unchanged
                                + models_skipped + errors + models_held OR status <> 'success')
);
CREATE INDEX pricing_sync_log_by_source ON pricing_sync_log (source, sync_run_id DESC);
CREATE INDEX pricing_sync_log_in_progress ON pricing_sync_log (source) WHERE status = 'in_progress';
COMMENT ON COLUMN pricing_sync_log.heartbeat_at IS
    'The last sign of life of the process that runs it; old while in progress: the process is frozen.';
COMMENT ON COLUMN pricing_sync_log.obtained_at IS 'When the data that the run read was obtained.';
COMMENT ON COLUMN pricing_sync_log.release IS 'The version of a bundled catalogue; null for an API.';
COMMENT ON COLUMN pricing_sync_log.payload_url IS
    'Where the payload was fetched, without user and query; null for a bundled catalogue.';
COMMENT ON COLUMN pricing_sync_log.payload_sha256 IS
    'The hash of the fetched body, or of several bodies'' hashes in order. Null if nothing was '
    'fetched.';

-- Models ------------------------------------------------------------------------

CREATE TABLE models (
    model_key bigint GENERATED ALWAYS AS IDENTITY
        CONSTRAINT models_pkey PRIMARY KEY,
    provider text NOT NULL
        CONSTRAINT models_provider_fkey REFERENCES providers ON DELETE RESTRICT,
    model_id text NOT NULL
        CONSTRAINT models_model_id_has_a_length CHECK (length(model_id) BETWEEN 1 AND 512),
    is_active boolean NOT NULL DEFAULT true,
    delisted_at timestamptz,
    hugging_face_id text,
    canonical_slug text,
    alias_target text,
    created_at timestamptz NOT NULL DEFAULT now(),
    context_length bigint
        CONSTRAINT models_context_length_is_positive CHECK (context_length > 0),
    context_length_source text
        CONSTRAINT models_context_length_source_fkey REFERENCES sources ON DELETE RESTRICT,
    retirement_time timestamptz,
    retirement_source text
        CONSTRAINT models_retirement_source_fkey REFERENCES sources ON DELETE RESTRICT,
    successor text
        CONSTRAINT models_successor_has_a_length CHECK (length(successor) BETWEEN 1 AND 512),
    successor_source text
        CONSTRAINT models_successor_source_fkey REFERENCES sources ON DELETE RESTRICT,
    CONSTRAINT models_provider_model_id_key UNIQUE (provider, model_id),
    CONSTRAINT models_delisted_ones_have_a_time CHECK (is_active = (delisted_at IS NULL)),
    CONSTRAINT models_context_length_has_a_source
        CHECK ((context_length IS NULL) = (context_length_source IS NULL)),
    CONSTRAINT models_retirement_has_a_source
        CHECK ((retirement_time IS NULL) = (retirement_source IS NULL)),
    CONSTRAINT models_successor_has_a_source
        CHECK ((successor IS NULL) = (successor_source IS NULL))
);
CREATE INDEX models_by_model_id ON models (model_id);
-- Other sellers of a model are found by its names.
CREATE INDEX models_by_lower_model_id ON models (lower(model_id));
CREATE INDEX models_by_hugging_face_id ON models (lower(hugging_face_id))
    WHERE hugging_face_id IS NOT NULL;
CREATE INDEX models_by_canonical_slug ON models (canonical_slug)
    WHERE canonical_slug IS NOT NULL;
COMMENT ON COLUMN models.model_id IS 'The seller''s own id of the model; unique only with the seller.';
COMMENT ON COLUMN models.alias_target IS 'What an alias stands for, in the seller''s naming.';
COMMENT ON COLUMN models.context_length IS
    'Tokens of input and output together; null if no source states it.';
COMMENT ON COLUMN models.context_length_source IS
    'Who states the context length: the source with the lowest rank that does.';
COMMENT ON COLUMN models.retirement_time IS
    'When the seller stops serving the model; null if no source states it.';
COMMENT ON COLUMN models.retirement_source IS
    'Who states the retirement: the source with the lowest rank that does.';
COMMENT ON COLUMN models.successor IS 'The model to move to, in the seller''s naming.';
COMMENT ON COLUMN models.successor_source IS
    'Who states the successor: the source with the lowest rank that does.';

-- Rate cards ----------------------------------------------------------------------

CREATE TABLE rate_cards (
    card_id text
        CONSTRAINT rate_cards_pkey PRIMARY KEY
        CONSTRAINT rate_cards_card_id_is_a_digest CHECK (card_id ~ '^[0-9a-f]{64}$'),
    state text NOT NULL
        CONSTRAINT rate_cards_state_is_known
            CHECK (state IN ('priced', 'free', 'dynamic', 'unpriced')),
    currency text NOT NULL
        CONSTRAINT rate_cards_currency_is_usd CHECK (currency = 'USD'),
    rates jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE rate_cards IS
    'Immutable. card_id is the SHA-256 of the canonical document {currency, rates, state}; '
    'for a meter, the first rate whose conditions hold applies.';

-- Quotes: what each source states now ----------------------------------------------

CREATE TABLE price_quotes (
    model_key bigint NOT NULL
        CONSTRAINT price_quotes_model_key_fkey REFERENCES models ON DELETE RESTRICT,
    source text NOT NULL
        CONSTRAINT price_quotes_source_fkey REFERENCES sources ON DELETE RESTRICT,
    card_id text NOT NULL
        CONSTRAINT price_quotes_card_id_fkey REFERENCES rate_cards ON DELETE RESTRICT,
    fragment json NOT NULL,
    obtained_at timestamptz NOT NULL,
    sync_run_id bigint
        CONSTRAINT price_quotes_sync_run_id_fkey REFERENCES pricing_sync_log ON DELETE RESTRICT,
    missing_syncs integer NOT NULL DEFAULT 0
        CONSTRAINT price_quotes_missing_syncs_is_not_negative CHECK (missing_syncs >= 0),
    is_confirmed boolean NOT NULL DEFAULT true,
    stated_since timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT price_quotes_pkey PRIMARY KEY (model_key, source),
    CONSTRAINT price_quotes_only_overrides_have_no_run
        CHECK ((sync_run_id IS NULL) = (source = 'override'))
);
CREATE INDEX price_quotes_by_source ON price_quotes (source, model_key);
COMMENT ON COLUMN price_quotes.fragment IS
    'The source''s own statement, as it was written; after a revert {"reverted_sync_run_id", "stated"}.';
COMMENT ON COLUMN price_quotes.obtained_at IS 'When the data that last stated this card was obtained.';
COMMENT ON COLUMN price_quotes.sync_run_id IS
    'The run that last read the statement; no sync makes an override.';
COMMENT ON COLUMN price_quotes.missing_syncs IS 'Successful syncs in a row that did not list the model.';
COMMENT ON COLUMN price_quotes.is_confirmed IS
    'Whether the source''s last successful sync stated this card: false if the model was missing '
    'from it, listed without its price, or in a row that could not be read.';
COMMENT ON COLUMN price_quotes.stated_since IS
    'When the source''s data first stated this card, as far as known.';

-- Ids that a source states under another id of the same seller -----------------------

CREATE TABLE covered_ids (
    model_key bigint NOT NULL
        CONSTRAINT covered_ids_model_key_fkey REFERENCES models ON DELETE RESTRICT,
    source text NOT NULL
        CONSTRAINT covered_ids_source_fkey REFERENCES sources ON DELETE RESTRICT,
    covering_model_key bigint NOT NULL,
    is_inferred boolean NOT NULL,
    CONSTRAINT covered_ids_pkey PRIMARY KEY (model_key, source),
    CONSTRAINT covered_ids_covering_quote_fkey
        FOREIGN KEY (covering_model_key, source) REFERENCES price_quotes (model_key, source)
        ON DELETE RESTRICT,
    CONSTRAINT covered_ids_cover_others CHECK (covering_model_key <> model_key)
);
CREATE INDEX covered_ids_by_covering_model ON covered_ids (covering_model_key);
COMMENT ON TABLE covered_ids IS
    'Listed ids that a source states under another id: its quote of that id is its quote of these.';
COMMENT ON COLUMN covered_ids.is_inferred IS
    'Whether we infer it from how ids are written; false if the source itself says so.';

-- Current prices: one resolved card per model -----------------------------------------

CREATE TABLE model_pricing (
    model_key bigint
        CONSTRAINT model_pricing_pkey PRIMARY KEY
        CONSTRAINT model_pricing_model_key_fkey REFERENCES models ON DELETE RESTRICT,
    card_id text NOT NULL
        CONSTRAINT model_pricing_card_id_fkey REFERENCES rate_cards ON DELETE RESTRICT,
    source text NOT NULL,
    quoted_model_key bigint NOT NULL,
    beneath_source text,
    beneath_model_key bigint,
    beneath_card_id text
        CONSTRAINT model_pricing_beneath_card_id_fkey REFERENCES rate_cards ON DELETE RESTRICT,
    beneath_rate_sources text[],
    rate_sources text[] NOT NULL DEFAULT '{}',
    disagreements jsonb NOT NULL DEFAULT '[]',
    price_per_input_token numeric
        CONSTRAINT model_pricing_input_price_is_sound
            CHECK (price_per_input_token >= 0 AND price_per_input_token < 'Infinity'),
    price_per_output_token numeric
        CONSTRAINT model_pricing_output_price_is_sound
            CHECK (price_per_output_token >= 0 AND price_per_output_token < 'Infinity'),
    effective_time timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT model_pricing_quote_fkey
        FOREIGN KEY (quoted_model_key, source) REFERENCES price_quotes (model_key, source)
        ON DELETE RESTRICT,
    CONSTRAINT model_pricing_beneath_fkey
        FOREIGN KEY (beneath_model_key, beneath_source) REFERENCES price_quotes (model_key, source)
        ON DELETE RESTRICT,
    CONSTRAINT model_pricing_beneath_is_a_quote
        CHECK (num_nonnulls(beneath_source, beneath_model_key, beneath_card_id,
                            beneath_rate_sources) IN (0, 4))
);
CREATE INDEX model_pricing_by_beneath ON model_pricing (beneath_model_key)
    WHERE beneath_model_key IS NOT NULL;
COMMENT ON COLUMN model_pricing.quoted_model_key IS
    'The model whose quote is in force: this one, or the id under which the source states it.';
COMMENT ON COLUMN model_pricing.beneath_source IS
    'Whose quote would be in force without the override; null without an override.';
COMMENT ON COLUMN model_pricing.beneath_card_id IS
    'The card that would be in force without the override, as others complete it.';
COMMENT ON COLUMN model_pricing.beneath_rate_sources IS
    'Who states each rate of the card beneath.';
COMMENT ON COLUMN model_pricing.rate_sources IS
    'Who states each rate of the card, in the order of its rates: the source, and those that '
    'complete what it states.';
COMMENT ON COLUMN model_pricing.disagreements IS
    'Where other sources state another price, when the row was written: '
    '[{"source", "meter", "price", "other_price"}], USD per one of the meter.';
COMMENT ON COLUMN model_pricing.price_per_input_token IS
    'USD, a copy for SQL users: the headline when the row was written. The card decides.';
COMMENT ON COLUMN model_pricing.effective_time IS 'When the source''s data first stated this card.';
COMMENT ON COLUMN model_pricing.revision IS 'That of the last change of this price.';

-- What names the state of a source's data ------------------------------------------

-- So that a sync can ask a source's API for its data only if it changed.
CREATE TABLE source_validators (
    source text
        CONSTRAINT source_validators_pkey PRIMARY KEY
        CONSTRAINT source_validators_source_fkey REFERENCES sources ON DELETE RESTRICT,
    asked text NOT NULL
        CONSTRAINT source_validators_asked_is_a_digest CHECK (asked ~ '^[0-9a-f]{64}$'),
    etag text,
    last_modified text,
    sync_run_id bigint
        CONSTRAINT source_validators_sync_run_id_fkey
            REFERENCES pricing_sync_log ON DELETE SET NULL,
    read_at timestamptz NOT NULL,
    CONSTRAINT source_validators_of_a_run_have_one_name
        CHECK (num_nonnulls(etag, last_modified) = 1 OR sync_run_id IS NULL)
);
CREATE INDEX source_validators_by_run ON source_validators (sync_run_id);
COMMENT ON TABLE source_validators IS
    'Those of the last answer that was applied as a whole; without a run they confirm nothing.';
COMMENT ON COLUMN source_validators.asked IS
    'SHA-256 of the address and of the code that read the answer: another of either starts anew.';
COMMENT ON COLUMN source_validators.sync_run_id IS
    'The last run that read or confirmed the answer; null when what it applied was changed since.';
COMMENT ON COLUMN source_validators.read_at IS 'When the answer was last read in full.';

-- Held changes --------------------------------------------------------------------

CREATE TABLE held_changes (
    held_change_id bigint GENERATED ALWAYS AS IDENTITY
        CONSTRAINT held_changes_pkey PRIMARY KEY,
    source text NOT NULL
        CONSTRAINT held_changes_source_fkey REFERENCES sources ON DELETE RESTRICT,
    provider text
        CONSTRAINT held_changes_provider_is_a_name
            CHECK (provider = lower(provider) AND length(provider) BETWEEN 1 AND 512),
    model_id text
        CONSTRAINT held_changes_model_id_has_a_length CHECK (length(model_id) BETWEEN 1 AND 512),
    feed_id bigint
        CONSTRAINT held_changes_feed_id_fkey REFERENCES held_changes ON DELETE RESTRICT,
    reason text NOT NULL
        CONSTRAINT held_changes_reason_is_known CHECK (reason IN (
            'ratio_to_past', 'ratio_to_other_source', 'feed_shifted', 'few_references',
            'unproven_source', 'feed_shrunk', 'implausible')),
    evidence jsonb NOT NULL
        CONSTRAINT held_changes_evidence_is_a_list CHECK (jsonb_typeof(evidence) = 'array'),
    card_id text
        CONSTRAINT held_changes_card_id_fkey REFERENCES rate_cards ON DELETE RESTRICT,
    fragment json,
    provider_name text,
    hugging_face_id text,
    canonical_slug text,
    alias_target text,
    obtained_at timestamptz NOT NULL,
    last_obtained_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'open'
        CONSTRAINT held_changes_status_is_known
            CHECK (status IN ('open', 'approved', 'rejected', 'expired', 'released')),
    first_run bigint NOT NULL
        CONSTRAINT held_changes_first_run_fkey REFERENCES pricing_sync_log ON DELETE RESTRICT,
    last_run bigint NOT NULL
        CONSTRAINT held_changes_last_run_fkey REFERENCES pricing_sync_log ON DELETE RESTRICT,
    held_since timestamptz NOT NULL,
    last_stated timestamptz NOT NULL,
    resolved_at timestamptz,
    resolved_by text,
    note text,
    lapsed_at timestamptz,
    context_length bigint
        CONSTRAINT held_changes_context_length_is_positive CHECK (context_length > 0),
    CONSTRAINT held_changes_of_a_model_have_both_names
        CHECK ((provider IS NULL) = (model_id IS NULL)),
    CONSTRAINT held_changes_of_a_model_have_a_card
        CHECK ((model_id IS NULL) = (card_id IS NULL) AND (model_id IS NULL) = (fragment IS NULL)),
    CONSTRAINT held_changes_of_a_feed_have_no_feed CHECK (model_id IS NOT NULL OR feed_id IS NULL),
    CONSTRAINT held_changes_resolved_ones_have_a_time
        CHECK ((status = 'open') = (resolved_at IS NULL)),
    CONSTRAINT held_changes_decided_ones_have_a_name
        CHECK ((status IN ('approved', 'rejected')) = (resolved_by IS NOT NULL)),
    CONSTRAINT held_changes_only_rejections_lapse CHECK (lapsed_at IS NULL OR status = 'rejected')
);
-- The same finding is one open entry, and a source has one feed held at a time.
CREATE UNIQUE INDEX held_changes_open_model ON held_changes (provider, model_id, source)
    WHERE status = 'open' AND model_id IS NOT NULL;
CREATE UNIQUE INDEX held_changes_open_feed ON held_changes (source)
    WHERE status = 'open' AND model_id IS NULL;
CREATE UNIQUE INDEX held_changes_rejected ON held_changes (provider, model_id, source)
    WHERE status = 'rejected' AND lapsed_at IS NULL AND model_id IS NOT NULL;
CREATE INDEX held_changes_by_source ON held_changes (source, held_change_id DESC);
CREATE INDEX held_changes_by_feed ON held_changes (feed_id) WHERE feed_id IS NOT NULL;
CREATE INDEX held_changes_by_first_run ON held_changes (first_run);
CREATE INDEX held_changes_by_last_run ON held_changes (last_run);
COMMENT ON TABLE held_changes IS
    'Stated prices that are not in force because they are suspicious: of a model, or of a whole '
    'feed (provider and model_id null), whose models point to it. Decisions stay for ever.';
COMMENT ON COLUMN held_changes.obtained_at IS 'When the data that first stated it was obtained.';
COMMENT ON COLUMN held_changes.last_obtained_at IS 'When the data that last stated it was obtained.';
COMMENT ON COLUMN held_changes.lapsed_at IS
    'When the source stated another price than the rejected one, or a feed that was rejected for '
    'its size grew again: the rejection no longer binds.';

-- Overrides ------------------------------------------------------------------------

CREATE TABLE price_overrides (
    override_id bigint GENERATED ALWAYS AS IDENTITY
        CONSTRAINT price_overrides_pkey PRIMARY KEY,
    model_key bigint NOT NULL
        CONSTRAINT price_overrides_model_key_fkey REFERENCES models ON DELETE RESTRICT,
    card_id text NOT NULL
        CONSTRAINT price_overrides_card_id_fkey REFERENCES rate_cards ON DELETE RESTRICT,
    replace_card boolean NOT NULL,
    percent numeric
        CONSTRAINT price_overrides_percent_is_sound CHECK (percent > 0 AND percent < 'Infinity'),
    reason text NOT NULL
        CONSTRAINT price_overrides_reason_has_a_length CHECK (length(reason) BETWEEN 1 AND 1000),
    set_by text NOT NULL
        CONSTRAINT price_overrides_set_by_has_a_length CHECK (length(set_by) BETWEEN 1 AND 200),
    set_at timestamptz NOT NULL,
    until timestamptz
        CONSTRAINT price_overrides_end_after_they_begin CHECK (until > set_at),
    cleared_at timestamptz
        CONSTRAINT price_overrides_are_cleared_after_they_begin CHECK (cleared_at >= set_at),
    cleared_kind text
        CONSTRAINT price_overrides_cleared_kind_is_known
            CHECK (cleared_kind IN ('override_set', 'override_cleared', 'override_ended')),
    cleared_actor text
        CONSTRAINT price_overrides_cleared_actor_has_a_name CHECK (cleared_actor <> ''),
    cleared_by text,
    CONSTRAINT price_overrides_cleared_ones_say_by_what
        CHECK (num_nulls(cleared_at, cleared_kind, cleared_actor, cleared_by) IN (0, 4))
);
CREATE UNIQUE INDEX price_overrides_in_force ON price_overrides (model_key)
    WHERE cleared_at IS NULL;
CREATE INDEX price_overrides_by_end ON price_overrides (until)
    WHERE cleared_at IS NULL AND until IS NOT NULL;
COMMENT ON TABLE price_overrides IS
    'Every price that an admin has set. It is in force until it is cleared, at most one a model.';
COMMENT ON COLUMN price_overrides.replace_card IS
    'Whether the card is the whole price; false if its rates replace some of what sources state.';
COMMENT ON COLUMN price_overrides.percent IS
    'Of every rate that sources state; null where the card itself is the price. The card is then '
    'what that came to when it was set.';
COMMENT ON COLUMN price_overrides.until IS 'When it ends by itself; null if open.';
COMMENT ON COLUMN price_overrides.cleared_kind IS
    'As origin_kind in the history: another one was set, it was cleared, or it ended by itself.';
COMMENT ON COLUMN price_overrides.cleared_actor IS 'As actor in the history.';
COMMENT ON COLUMN price_overrides.cleared_by IS
    'What the caller typed; empty if it ended by itself.';

-- History -----------------------------------------------------------------------------

CREATE TABLE model_pricing_history (
    revision bigint NOT NULL,
    model_key bigint NOT NULL
        CONSTRAINT model_pricing_history_model_key_fkey REFERENCES models ON DELETE RESTRICT,
    kind text NOT NULL
        CONSTRAINT model_pricing_history_kind_is_known
            CHECK (kind IN ('added', 'changed', 'delisted', 'restored')),
    previous_card_id text
        CONSTRAINT model_pricing_history_previous_card_id_fkey
            REFERENCES rate_cards ON DELETE RESTRICT,
    card_id text NOT NULL
        CONSTRAINT model_pricing_history_card_id_fkey REFERENCES rate_cards ON DELETE RESTRICT,
    previous_input_price numeric
        CONSTRAINT model_pricing_history_previous_input_price_is_sound
            CHECK (previous_input_price >= 0 AND previous_input_price < 'Infinity'),
    previous_output_price numeric
        CONSTRAINT model_pricing_history_previous_output_price_is_sound
            CHECK (previous_output_price >= 0 AND previous_output_price < 'Infinity'),
    input_price numeric
        CONSTRAINT model_pricing_history_input_price_is_sound
            CHECK (input_price >= 0 AND input_price < 'Infinity'),
    output_price numeric
        CONSTRAINT model_pricing_history_output_price_is_sound
            CHECK (output_price >= 0 AND output_price < 'Infinity'),
    source text NOT NULL
        CONSTRAINT model_pricing_history_source_fkey REFERENCES sources ON DELETE RESTRICT,
    effective_time timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    origin_kind text NOT NULL
        CONSTRAINT model_pricing_history_origin_kind_is_known CHECK (origin_kind IN (
            'sync', 'revert', 'approval', 'override_set', 'override_cleared', 'override_ended')),
    actor text NOT NULL
        CONSTRAINT model_pricing_history_actor_has_a_name CHECK (actor <> ''),
    note text NOT NULL,
    sync_run_id bigint
        CONSTRAINT model_pricing_history_sync_run_id_fkey
            REFERENCES pricing_sync_log ON DELETE RESTRICT,
    held_change_id bigint
        CONSTRAINT model_pricing_history_held_change_id_fkey
            REFERENCES held_changes ON DELETE RESTRICT,
    override_id bigint
        CONSTRAINT model_pricing_history_override_id_fkey
            REFERENCES price_overrides ON DELETE RESTRICT,
    reverted_run_id bigint
        CONSTRAINT model_pricing_history_reverted_run_id_fkey
            REFERENCES pricing_sync_log ON DELETE RESTRICT,
    stated_card_id text
        CONSTRAINT model_pricing_history_stated_card_id_fkey
            REFERENCES rate_cards ON DELETE RESTRICT,
    rate_sources text[] NOT NULL DEFAULT '{}',
    previous_rate_sources text[] NOT NULL DEFAULT '{}',
    CONSTRAINT model_pricing_history_pkey PRIMARY KEY (revision, model_key),
    CONSTRAINT model_pricing_history_only_the_first_price_has_none_before
        CHECK ((kind = 'added') = (previous_card_id IS NULL)),
    CONSTRAINT model_pricing_history_origin_has_its_reference
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
-- The last revision by a time.
CREATE INDEX model_pricing_history_by_time ON model_pricing_history (changed_at, revision);
COMMENT ON TABLE model_pricing_history IS
    'Every price from the first, append-only for everyone. Prices are USD per token.';
COMMENT ON COLUMN model_pricing_history.stated_card_id IS
    'The card that the source itself stated, which others may complete; null after a revert to '
    'no price.';
COMMENT ON COLUMN model_pricing_history.rate_sources IS
    'Who stated each rate of the card, in the order of its rates.';
COMMENT ON COLUMN model_pricing_history.origin_kind IS
    'What made the change: it has the one reference that its kind needs.';
COMMENT ON COLUMN model_pricing_history.actor IS
    'Who is known to have acted: "admin", "scheduler" or "server".';
COMMENT ON COLUMN model_pricing_history.note IS 'What the caller typed, which nobody has checked.';

-- Incidents ---------------------------------------------------------------------------

CREATE TABLE alert_incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY
        CONSTRAINT alert_incidents_pkey PRIMARY KEY,
    source text NOT NULL
        CONSTRAINT alert_incidents_source_fkey REFERENCES sources ON DELETE RESTRICT,
    kind text NOT NULL
        CONSTRAINT alert_incidents_kind_is_known CHECK (kind IN ('failing', 'stale')),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recovered_at timestamptz
);
CREATE UNIQUE INDEX alert_incidents_open ON alert_incidents (source, kind)
    WHERE recovered_at IS NULL;
COMMENT ON TABLE alert_incidents IS
    'Each time that syncs of a source failed over and over, or that its data grew old. '
    'One is open per source and kind, however many processes see it.';

CREATE TABLE alert_notices (
    notice_id bigint GENERATED ALWAYS AS IDENTITY
        CONSTRAINT alert_notices_pkey PRIMARY KEY,
    incident_id bigint NOT NULL
        CONSTRAINT alert_notices_incident_id_fkey REFERENCES alert_incidents ON DELETE RESTRICT,
    event text NOT NULL
        CONSTRAINT alert_notices_event_is_known CHECK (event IN ('opened', 'recovered')),
    document jsonb NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0
        CONSTRAINT alert_notices_attempts_is_not_negative CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    CONSTRAINT alert_notices_incident_id_event_key UNIQUE (incident_id, event)
);
CREATE INDEX alert_notices_unsent ON alert_notices (notice_id) WHERE sent_at IS NULL;
COMMENT ON TABLE alert_notices IS
    'What a webhook is sent of incidents: kept until one process notes that it arrived.';
