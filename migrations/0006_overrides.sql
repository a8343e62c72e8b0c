-- Prices that admins set.

-- Overrides ------------------------------------------------------------------------

-- An override is the quote of a source that ranks before all others: whatever a sync brings,
-- it stays in force, and the quotes beneath it are kept up to date.
INSERT INTO sources (source, display_name, provider, rank)
VALUES ('override', 'Override', NULL, 0)
ON CONFLICT (source) DO UPDATE SET provider = NULL, rank = 0;

-- No sync makes an override.
ALTER TABLE price_quotes
    ALTER COLUMN sync_run_id DROP NOT NULL,
    ADD CHECK ((sync_run_id IS NULL) = (source = 'override'));

CREATE TABLE price_overrides (
    override_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_key bigint NOT NULL REFERENCES models ON DELETE RESTRICT,
    card_id text NOT NULL REFERENCES rate_cards ON DELETE RESTRICT,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    set_by text NOT NULL CHECK (length(set_by) BETWEEN 1 AND 200),
    set_at timestamptz NOT NULL,
    until timestamptz CHECK (until > set_at),
    cleared_at timestamptz CHECK (cleared_at >= set_at),
    cleared_kind text CHECK (
        cleared_kind IN ('override_set', 'override_cleared', 'override_ended')),
    cleared_actor text CHECK (cleared_actor <> ''),
    cleared_by text,
    CHECK (num_nulls(cleared_at, cleared_kind, cleared_actor, cleared_by) IN (0, 4))
);
CREATE UNIQUE INDEX price_overrides_in_force ON price_overrides (model_key)
    WHERE cleared_at IS NULL;
CREATE INDEX price_overrides_by_end ON price_overrides (until)
    WHERE cleared_at IS NULL AND until IS NOT NULL;
COMMENT ON TABLE price_overrides IS
    'Every price that an admin has set. It is in force until it is cleared, at most one a model.';
COMMENT ON COLUMN price_overrides.until IS 'When it ends by itself; null if open.';
COMMENT ON COLUMN price_overrides.cleared_kind IS
    'As origin_kind in the history: another one was set, it was cleared, or it ended by itself.';
COMMENT ON COLUMN price_overrides.cleared_actor IS 'As actor in the history.';
COMMENT ON COLUMN price_overrides.cleared_by IS 'What the caller typed; empty if it ended by itself.';
ALTER TABLE model_pricing_history
    ADD FOREIGN KEY (override_id) REFERENCES price_overrides ON DELETE RESTRICT;

CREATE FUNCTION guard_overrides() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.cleared_at IS NOT NULL OR NEW.cleared_at IS NULL
       OR to_jsonb(NEW) - ARRAY['cleared_at', 'cleared_kind', 'cleared_actor', 'cleared_by']
          <> to_jsonb(OLD) - ARRAY['cleared_at', 'cleared_kind', 'cleared_actor', 'cleared_by']
       THEN
        RAISE EXCEPTION 'an override changes once, when it is cleared'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
ALTER FUNCTION guard_overrides() SET search_path = pg_catalog, pg_temp;
CREATE TRIGGER guard_overrides BEFORE UPDATE ON price_overrides
    FOR EACH ROW EXECUTE FUNCTION guard_overrides();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON price_overrides
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

CREATE VIEW overrides_in_force AS
SELECT overrides.*, to_jsonb(stated) AS stated
FROM price_overrides AS overrides
JOIN models USING (model_key)
LEFT JOIN LATERAL (
    SELECT quotes.source, quotes.obtained_at, quotes.stated_since, quotes.missing_syncs,
           quotes.is_confirmed, cards.state, cards.currency, cards.rates
    FROM price_quotes AS quotes
    JOIN sources USING (source)
    JOIN rate_cards AS cards USING (card_id)
    WHERE quotes.model_key = overrides.model_key AND quotes.source <> 'override'
    ORDER BY cards.state = 'unpriced',
             quotes.missing_syncs >= 2 AND sources.provider IS DISTINCT FROM models.provider,
             sources.rank, quotes.source
    LIMIT 1
) AS stated ON true
WHERE overrides.cleared_at IS NULL;
COMMENT ON VIEW overrides_in_force IS
    'The overrides in force, each with the quote that would be without it; null if there is none.';

-- Rights, as for every table -----------------------------------------------------------

REVOKE ALL ON price_overrides, overrides_in_force FROM PUBLIC, pricing_reader, pricing_writer;
GRANT SELECT ON price_overrides, overrides_in_force TO pricing_reader, pricing_writer;
GRANT INSERT ON price_overrides TO pricing_writer;
GRANT UPDATE (cleared_at, cleared_kind, cleared_actor, cleared_by) ON price_overrides TO pricing_writer;
ALTER TABLE price_overrides ENABLE ROW LEVEL SECURITY;
CREATE POLICY looking_up ON price_overrides FOR SELECT
    TO pricing_reader, pricing_writer USING (true);
CREATE POLICY adding ON price_overrides FOR INSERT TO pricing_writer WITH CHECK (true);
CREATE POLICY changing ON price_overrides FOR UPDATE TO pricing_writer USING (true);
