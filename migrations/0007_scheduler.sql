-- What the scheduler goes by, incidents and what was told of them, and the right to prune
-- the log of syncs.

-- How the syncs of each source went ---------------------------------------------------

CREATE VIEW source_syncs AS
SELECT sources.source,
       coalesce(newest.sync_run_id, 0) AS newest_run_id,
       newest.started_at AS newest_started_at,
       coalesce(newest.status = 'in_progress', false) AS is_in_progress,
       oldest.started_at AS oldest_started_at,
       good.started_at AS good_started_at,
       good.completed_at AS good_completed_at,
       good.obtained_at AS good_obtained_at,
       failed.failures_in_a_row,
       failed.scheduled_failures,
       failed.scheduled_failure_at,
       last_failure.error_message AS last_error
FROM sources
LEFT JOIN LATERAL (
    SELECT sync_run_id, started_at, status
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source
    ORDER BY sync_run_id DESC
    LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT started_at
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source
    ORDER BY sync_run_id
    LIMIT 1
) AS oldest ON true
LEFT JOIN LATERAL (
    SELECT sync_run_id, started_at, completed_at, obtained_at
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source AND status = 'success'
    ORDER BY sync_run_id DESC
    LIMIT 1
) AS good ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS failures_in_a_row,
           count(*) FILTER (WHERE triggered_by = 'scheduler') AS scheduled_failures,
           max(completed_at) FILTER (WHERE triggered_by = 'scheduler') AS scheduled_failure_at,
           max(sync_run_id) AS last_run_id
    FROM pricing_sync_log AS log
    WHERE log.source = sources.source AND status = 'failed'
      AND sync_run_id > coalesce(good.sync_run_id, 0)
) AS failed
LEFT JOIN pricing_sync_log AS last_failure ON last_failure.sync_run_id = failed.last_run_id
WHERE sources.source <> 'override';  -- Whose prices no sync brings.
COMMENT ON VIEW source_syncs IS
    'Per source what the log says of its newest run, its newest success, and the failures since.';

-- Incidents ---------------------------------------------------------------------------

CREATE TABLE alert_incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL REFERENCES sources ON DELETE RESTRICT,
    kind text NOT NULL CHECK (kind IN ('failing', 'stale')),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recovered_at timestamptz
);
CREATE UNIQUE INDEX alert_incidents_open ON alert_incidents (source, kind)
    WHERE recovered_at IS NULL;
COMMENT ON TABLE alert_incidents IS
    'Each time that syncs of a source failed over and over, or that its data grew old. '
    'One is open per source and kind, however many processes see it.';

CREATE TABLE alert_notices (
    notice_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES alert_incidents ON DELETE RESTRICT,
    event text NOT NULL CHECK (event IN ('opened', 'recovered')),
    document jsonb NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    UNIQUE (incident_id, event)
);
CREATE INDEX alert_notices_unsent ON alert_notices (notice_id) WHERE sent_at IS NULL;
COMMENT ON TABLE alert_notices IS
    'What a webhook is told of incidents: kept until one process says that it arrived.';

-- Rights ------------------------------------------------------------------------------

REVOKE ALL ON source_syncs, alert_incidents, alert_notices
    FROM PUBLIC, pricing_reader, pricing_writer;
GRANT SELECT ON source_syncs, alert_incidents, alert_notices TO pricing_reader, pricing_writer;
GRANT INSERT ON alert_incidents, alert_notices TO pricing_writer;
GRANT UPDATE (recovered_at) ON alert_incidents TO pricing_writer;
GRANT UPDATE (attempts, next_attempt_at, sent_at) ON alert_notices TO pricing_writer;
-- Of the log and of incidents only what is old; what anything refers to, foreign keys keep.
GRANT DELETE ON pricing_sync_log, alert_incidents, alert_notices TO pricing_writer;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['alert_incidents', 'alert_notices'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY looking_up ON %I FOR SELECT '
                       'TO pricing_reader, pricing_writer USING (true)', name);
        EXECUTE format('CREATE POLICY adding ON %I FOR INSERT '
                       'TO pricing_writer WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY changing ON %I FOR UPDATE '
                       'TO pricing_writer USING (true)', name);
    END LOOP;
END
$$;

CREATE POLICY pruning ON pricing_sync_log FOR DELETE TO pricing_writer
    USING (completed_at < now() - interval '30 days');
CREATE POLICY pruning ON alert_incidents FOR DELETE TO pricing_writer
    USING (recovered_at < now() - interval '30 days');
CREATE POLICY pruning ON alert_notices FOR DELETE TO pricing_writer
    USING (noticed_at < now() - interval '30 days');
