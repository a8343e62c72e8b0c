-- What the guard holds: stated prices that are suspicious, and what became of them; since when
-- a quote states its card; where a run fetched its payload.

-- Held changes --------------------------------------------------------------------

CREATE TABLE held_changes (
    held_change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL REFERENCES sources ON DELETE RESTRICT,
    provider text CHECK (provider = lower(provider) AND length(provider) BETWEEN 1 AND 512),
    model_id text CHECK (length(model_id) BETWEEN 1 AND 512),
    feed_id bigint REFERENCES held_changes ON DELETE RESTRICT,
    reason text NOT NULL CHECK (reason IN (
        'ratio_to_past', 'ratio_to_other_source', 'feed_shifted', 'few_references',
        'unproven_source')),
    evidence jsonb NOT NULL CHECK (jsonb_typeof(evidence) = 'array'),
    card_id text REFERENCES rate_cards ON DELETE RESTRICT,
    fragment json,
    provider_name text,
    hugging_face_id text,
    canonical_slug text,
    alias_target text,
    obtained_at timestamptz NOT NULL,
    last_obtained_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'open' CHECK (
        status IN ('open', 'approved', 'rejected', 'expired', 'released')),
    first_run bigint NOT NULL REFERENCES pricing_sync_log ON DELETE RESTRICT,
    last_run bigint NOT NULL REFERENCES pricing_sync_log ON DELETE RESTRICT,
    held_since timestamptz NOT NULL,
    last_stated timestamptz NOT NULL,
    resolved_at timestamptz,
    resolved_by text,
    note text,
    lapsed_at timestamptz,
    CHECK ((provider IS NULL) = (model_id IS NULL)),
    CHECK ((model_id IS NULL) = (card_id IS NULL) AND (model_id IS NULL) = (fragment IS NULL)),
    CHECK (model_id IS NOT NULL OR feed_id IS NULL),
    CHECK ((status = 'open') = (resolved_at IS NULL)),
    CHECK ((status IN ('approved', 'rejected')) = (resolved_by IS NOT NULL)),
    CHECK (lapsed_at IS NULL OR status = 'rejected')
);
COMMENT ON TABLE held_changes IS
    'Stated prices that are not in force because they are suspicious: of a model, or of a whole '
    'feed (provider and model_id null), whose models point to it. Decisions stay for ever.';
COMMENT ON COLUMN held_changes.obtained_at IS 'When the data that first stated it was obtained.';
COMMENT ON COLUMN held_changes.last_obtained_at IS 'When the data that last stated it was obtained.';
COMMENT ON COLUMN held_changes.lapsed_at IS
    'When the source stated another price than the rejected one: the rejection no longer binds.';

-- The same finding is one open entry, and a source has one feed held at a time.
CREATE UNIQUE INDEX held_changes_open_model ON held_changes (provider, model_id, source)
    WHERE status = 'open' AND model_id IS NOT NULL;
CREATE UNIQUE INDEX held_changes_open_feed ON held_changes (source)
    WHERE status = 'open' AND model_id IS NULL;
CREATE UNIQUE INDEX held_changes_rejected ON held_changes (provider, model_id, source)
    WHERE status = 'rejected' AND lapsed_at IS NULL AND model_id IS NOT NULL;
CREATE INDEX held_changes_by_source ON held_changes (source, held_change_id DESC);
CREATE INDEX held_changes_by_feed ON held_changes (feed_id) WHERE feed_id IS NOT NULL;

CREATE FUNCTION guard_held_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status <> 'open' THEN
        RAISE EXCEPTION 'a held change begins open';
    ELSIF TG_OP = 'UPDATE' AND OLD.status <> 'open'
          AND NOT (OLD.lapsed_at IS NULL
                   AND to_jsonb(NEW) - 'lapsed_at' = to_jsonb(OLD) - 'lapsed_at') THEN
        RAISE EXCEPTION 'a held change is decided exactly once'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
ALTER FUNCTION guard_held_change() SET search_path = pg_catalog, pg_temp;
CREATE TRIGGER guard_held_change BEFORE INSERT OR UPDATE ON held_changes
    FOR EACH ROW EXECUTE FUNCTION guard_held_change();
CREATE TRIGGER kept_for_ever BEFORE DELETE OR TRUNCATE ON held_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

ALTER TABLE model_pricing_history
    ADD FOREIGN KEY (held_change_id) REFERENCES held_changes ON DELETE RESTRICT;

-- Other sellers of a model are found by its names.
CREATE INDEX models_by_lower_model_id ON models (lower(model_id));
CREATE INDEX models_by_canonical_slug ON models (canonical_slug)
    WHERE canonical_slug IS NOT NULL;

-- Quotes --------------------------------------------------------------------------

ALTER TABLE price_quotes ADD COLUMN stated_since timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN price_quotes.stated_since IS
    'When the source''s data first stated this card, as far as known.';

UPDATE price_quotes AS quotes
SET stated_since = coalesce(
    (SELECT least(pricing.effective_time, quotes.obtained_at)
     FROM model_pricing AS pricing
     WHERE pricing.model_key = quotes.model_key AND pricing.source = quotes.source
       AND pricing.card_id = quotes.card_id),
    quotes.obtained_at);

-- The log of syncs ----------------------------------------------------------------

ALTER TABLE pricing_sync_log ADD COLUMN payload_url text,
    ADD COLUMN payload_sha256 text CHECK (payload_sha256 ~ '^[0-9a-f]{64}$');
COMMENT ON COLUMN pricing_sync_log.payload_url IS
    'Where the payload was fetched, without user and query; null for a bundled catalogue.';
COMMENT ON COLUMN pricing_sync_log.payload_sha256 IS
    'Of the fetched body; of several, of their hashes in order. Null if nothing was fetched.';

-- Rights --------------------------------------------------------------------------

REVOKE ALL ON held_changes FROM PUBLIC, pricing_reader, pricing_writer;
GRANT SELECT ON held_changes TO pricing_reader, pricing_writer;
GRANT INSERT ON held_changes TO pricing_writer;
GRANT UPDATE (status, last_run, last_stated, last_obtained_at, resolved_at, resolved_by, note,
              lapsed_at)
    ON held_changes TO pricing_writer;
GRANT UPDATE (payload_url, payload_sha256) ON pricing_sync_log TO pricing_writer;

ALTER TABLE held_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY looking_up ON held_changes FOR SELECT
    TO pricing_reader, pricing_writer USING (true);
CREATE POLICY adding ON held_changes FOR INSERT TO pricing_writer WITH CHECK (true);
CREATE POLICY changing ON held_changes FOR UPDATE TO pricing_writer USING (true);
