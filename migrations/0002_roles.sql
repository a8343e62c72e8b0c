-- Who may do what. pricing_reader looks up, pricing_writer runs syncs; logins are members
-- of them. Nobody but the owner, who applies migrations, deletes or truncates anything.
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
    rate_cards, rates, held_sources, price_quotes, model_pricing,
    model_pricing_history
    FROM PUBLIC, pricing_reader, pricing_writer;

-- The view reads rate_cards in its owner's name; the reader may see all of that anyway.
GRANT SELECT ON providers, provider_aliases, sources, price_table_head, pricing_sync_log, models,
    rate_cards, rates, held_sources, price_quotes, model_pricing,
    model_pricing_history
    TO pricing_reader, pricing_writer;

GRANT INSERT ON providers, provider_aliases, sources, pricing_sync_log, models,
    rate_cards, price_quotes, model_pricing, model_pricing_history
    TO pricing_writer;

GRANT UPDATE ON provider_aliases, sources, price_table_head, price_quotes, model_pricing
    TO pricing_writer;
GRANT UPDATE (is_active, delisted_at, hugging_face_id, canonical_slug, alias_target)
    ON models TO pricing_writer;
GRANT UPDATE (status, completed_at, models_fetched, models_updated, models_unchanged,
              models_skipped, models_registered, models_missing, models_held, errors,
              error_details, notices, error_message, revision, obtained_at, heartbeat_at)
    ON pricing_sync_log TO pricing_writer;

-- Policies ------------------------------------------------------------------------

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'providers', 'provider_aliases', 'sources', 'price_table_head', 'pricing_sync_log',
        'models', 'rate_cards', 'price_quotes', 'model_pricing', 'model_pricing_history'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY looking_up ON %I FOR SELECT '
                       'TO pricing_reader, pricing_writer USING (true)', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY[
        'providers', 'provider_aliases', 'sources', 'pricing_sync_log', 'models', 'rate_cards',
        'price_quotes', 'model_pricing'
    ] LOOP
        EXECUTE format('CREATE POLICY adding ON %I FOR INSERT '
                       'TO pricing_writer WITH CHECK (true)', name);
    END LOOP;
    -- Of the log, too: a trigger keeps runs that have ended as they are, and a policy that did
    -- would also hide them from SELECT ... FOR SHARE.
    FOREACH name IN ARRAY ARRAY[
        'provider_aliases', 'sources', 'pricing_sync_log', 'models', 'price_quotes',
        'model_pricing'
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

-- Functions -----------------------------------------------------------------------

-- They run in the name of whoever writes: no object of the caller's may stand in for a
-- built-in one.
ALTER FUNCTION guard_sync_log() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION rates_are_sound(jsonb) SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION refuse_rewriting() SET search_path = pg_catalog, pg_temp;
