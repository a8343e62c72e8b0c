-- Who may do what. pricing_reader looks up, pricing_writer runs syncs; logins are members
-- of them. Nobody but the owner, who applies migrations, truncates anything or deletes
-- anything but old runs of the log and old incidents.
--
-- Row-level security is on for every table, so that a right granted to some other role by
-- mistake shows and changes no row. It is not forced on the owner: foreign keys are checked
-- and dumps are made in its name, and it could drop the policies anyway.

-- Roles: they belong to the cluster, not to the database -------------------------

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['pricing_reader', 'pricing_writer'] LOOP
        IF to_regrole(wanted) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL; -- The migration of another database was faster.
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the role % is missing and % may not create it; '
                        'let an administrator run: CREATE ROLE pricing_reader; '
                        'CREATE ROLE pricing_writer;', wanted, current_user
                        USING ERRCODE = 'insufficient_privilege';
            END;
        END IF;
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            BEGIN
                -- So that one login can do everything.
                EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
            EXCEPTION
                WHEN insufficient_privilege OR unique_violation THEN
                    NULL; -- Whoever made the role says who may act as it.
            END;
        END IF;
    END LOOP;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO pricing_reader, pricing_writer',
                   current_database());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO pricing_reader, pricing_writer', current_schema());
    -- A sync stages its rows in temporary tables.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO pricing_writer', current_database());
END
$$;

-- Rights --------------------------------------------------------------------------

-- Whatever default privileges gave.
REVOKE ALL ON providers, provider_aliases, sources, price_table_head, pricing_sync_log, models,
    rate_cards, price_quotes, covered_ids, model_pricing, source_validators, held_changes,
    price_overrides, model_pricing_history, alert_incidents, alert_notices,
    rates, stated_quotes, current_prices, known_models, overrides_in_force, price_changes, pending_changes,
    held_change_details,
    locked_sources, source_syncs
    FROM PUBLIC, pricing_reader, pricing_writer;

GRANT SELECT ON providers, provider_aliases, sources, price_table_head, pricing_sync_log, models,
    rate_cards, price_quotes, covered_ids, model_pricing, source_validators, held_changes,
    price_overrides, model_pricing_history, alert_incidents, alert_notices,
    rates, stated_quotes, current_prices, known_models, overrides_in_force, price_changes, pending_changes,
    held_change_details,
    locked_sources, source_syncs
    TO pricing_reader, pricing_writer;

GRANT INSERT ON providers, provider_aliases, sources, pricing_sync_log, models, rate_cards,
    price_quotes, covered_ids, model_pricing, source_validators, held_changes, price_overrides,
    model_pricing_history, alert_incidents, alert_notices
    TO pricing_writer;

GRANT UPDATE ON provider_aliases, sources, price_table_head, price_quotes, covered_ids,
    model_pricing, source_validators
    TO pricing_writer;
GRANT UPDATE (is_active, delisted_at, hugging_face_id, canonical_slug, alias_target,
              context_length, context_length_source, retirement_time, retirement_source,
              successor, successor_source)
    ON models TO pricing_writer;
GRANT UPDATE (status, completed_at, models_fetched, models_updated, models_unchanged,
              models_skipped, models_registered, models_missing, models_held, errors,
              error_details, notices, error_message, revision, obtained_at, heartbeat_at,
              payload_url, payload_sha256)
    ON pricing_sync_log TO pricing_writer;
GRANT UPDATE (status, last_run, last_stated, last_obtained_at, resolved_at, resolved_by, note,
              lapsed_at)
    ON held_changes TO pricing_writer;
GRANT UPDATE (cleared_at, cleared_kind, cleared_actor, cleared_by)
    ON price_overrides TO pricing_writer;
GRANT UPDATE (recovered_at) ON alert_incidents TO pricing_writer;
GRANT UPDATE (attempts, next_attempt_at, sent_at) ON alert_notices TO pricing_writer;

-- What covers an id comes and goes with what its source states.
GRANT DELETE ON covered_ids TO pricing_writer;
-- Only what is old, as the policies below say; what anything refers to, foreign keys keep.
GRANT DELETE ON pricing_sync_log, alert_incidents, alert_notices TO pricing_writer;

-- Policies ------------------------------------------------------------------------

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'providers', 'provider_aliases', 'sources', 'price_table_head', 'pricing_sync_log',
        'models', 'rate_cards', 'price_quotes', 'covered_ids', 'model_pricing',
        'source_validators', 'held_changes', 'price_overrides', 'model_pricing_history', 'alert_incidents',
        'alert_notices'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY looking_up ON %I FOR SELECT '
                       'TO pricing_reader, pricing_writer USING (true)', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY[
        'providers', 'provider_aliases', 'sources', 'pricing_sync_log', 'models', 'rate_cards',
        'price_quotes', 'covered_ids', 'model_pricing', 'source_validators', 'held_changes',
        'price_overrides', 'alert_incidents', 'alert_notices'
    ] LOOP
        EXECUTE format('CREATE POLICY adding ON %I FOR INSERT '
                       'TO pricing_writer WITH CHECK (true)', name);
    END LOOP;
    -- The log is among them: a trigger keeps runs that have ended as they are, and a policy that
    -- did would also hide them from SELECT ... FOR SHARE.
    FOREACH name IN ARRAY ARRAY[
        'provider_aliases', 'sources', 'pricing_sync_log', 'models', 'price_quotes',
        'covered_ids', 'model_pricing', 'source_validators', 'held_changes', 'price_overrides',
        'alert_incidents', 'alert_notices'
    ] LOOP
        EXECUTE format('CREATE POLICY changing ON %I FOR UPDATE '
                       'TO pricing_writer USING (true)', name);
    END LOOP;
    -- The runner's own table, which psql does without.
    IF to_regclass('schema_migrations') IS NOT NULL THEN
        REVOKE ALL ON schema_migrations FROM PUBLIC, pricing_reader, pricing_writer;
        GRANT SELECT ON schema_migrations TO pricing_reader, pricing_writer;
        ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY;
        CREATE POLICY looking_up ON schema_migrations FOR SELECT
            TO pricing_reader, pricing_writer USING (true);
    END IF;
END
$$;

-- The count of revisions goes on by one or stays.
CREATE POLICY advancing ON price_table_head FOR UPDATE TO pricing_writer
    USING (true)
    WITH CHECK (revision - (SELECT before.revision FROM price_table_head AS before) IN (0, 1));

-- History grows at its end only: a transaction adds to it, then advances the head.
CREATE POLICY appending ON model_pricing_history FOR INSERT TO pricing_writer
    WITH CHECK (revision = (SELECT head.revision + 1 FROM price_table_head AS head));

CREATE POLICY removing ON covered_ids FOR DELETE TO pricing_writer USING (true);

CREATE POLICY pruning ON pricing_sync_log FOR DELETE TO pricing_writer
    USING (completed_at < now() - interval '30 days');
CREATE POLICY pruning ON alert_incidents FOR DELETE TO pricing_writer
    USING (recovered_at < now() - interval '30 days');
CREATE POLICY pruning ON alert_notices FOR DELETE TO pricing_writer
    USING (noticed_at < now() - interval '30 days');
