-- What constraints cannot say: what a rate is, what may change, and what never does.
--
-- Functions run in the name of whoever writes: no object of the caller's may stand in for a
-- built-in one.

-- Rate cards ----------------------------------------------------------------------

CREATE FUNCTION rates_are_sound(rates jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_typeof(rates) = 'array' AND NOT EXISTS (
        SELECT FROM jsonb_array_elements(rates) AS rate
        WHERE rate ->> 'meter' IS NULL
           OR jsonb_typeof(rate -> 'price') IS DISTINCT FROM 'string'
           OR NOT ((rate ->> 'price')::numeric >= 0 AND (rate ->> 'price')::numeric < 'Infinity')
    )
$$;
ALTER TABLE rate_cards
    ADD CONSTRAINT rate_cards_rates_are_sound CHECK (rates_are_sound(rates));

-- Whether a rate moved by at least a share of its price. One that is new or gone moved by more
-- than any share.
CREATE FUNCTION rates_moved(old_rates jsonb, new_rates jsonb, share numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT
        FROM jsonb_array_elements(old_rates) AS before (rate)
        FULL JOIN jsonb_array_elements(new_rates) AS after (rate)
          ON before.rate - 'price' = after.rate - 'price'
        WHERE before.rate IS NULL OR after.rate IS NULL
           OR (before.rate -> 'price' <> after.rate -> 'price'
               AND abs((after.rate ->> 'price')::numeric - (before.rate ->> 'price')::numeric)
                   >= (before.rate ->> 'price')::numeric * share))
$$;

-- What is never rewritten -----------------------------------------------------------

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
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

CREATE TRIGGER kept_for_ever BEFORE DELETE OR TRUNCATE ON held_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE ON price_overrides
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

-- What changes once -----------------------------------------------------------------

CREATE FUNCTION guard_sync_log() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
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

CREATE FUNCTION guard_held_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
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
CREATE TRIGGER guard_held_change BEFORE INSERT OR UPDATE ON held_changes
    FOR EACH ROW EXECUTE FUNCTION guard_held_change();

CREATE FUNCTION guard_overrides() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
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
CREATE TRIGGER guard_overrides BEFORE UPDATE ON price_overrides
    FOR EACH ROW EXECUTE FUNCTION guard_overrides();
