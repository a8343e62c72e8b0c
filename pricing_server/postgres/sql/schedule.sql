-- Statements of the scheduler, of alerts, and of pruning.

-- name: read_source_logs
SELECT source, newest_run_id, newest_started_at, is_in_progress, good_started_at,
       good_obtained_at, failures_in_a_row, scheduled_failures, scheduled_failure_at,
       clock_timestamp() AS now
FROM source_syncs;

-- name: read_clock
SELECT clock_timestamp() AS now;

-- name: open_incidents
-- Looks at the log itself, so that nothing that was read earlier opens one that is over. If
-- several processes try at once, one gets the row.
WITH opened AS (
    INSERT INTO alert_incidents (source, kind)
    SELECT syncs.source, seen.kind
    FROM unnest(%(sources)s::text[], %(stale_after)s::interval[]) AS watched (source, stale_after)
    JOIN source_syncs AS syncs ON syncs.source = watched.source
    CROSS JOIN LATERAL (VALUES
        ('failing', failures_in_a_row >= %(after_failures)s),
        ('stale', coalesce(good_obtained_at, oldest_started_at)
                  < clock_timestamp() - watched.stale_after)
    ) AS seen (kind, is_so)
    WHERE seen.is_so
      AND NOT EXISTS (SELECT FROM alert_incidents AS incidents
                      WHERE incidents.source = syncs.source AND incidents.kind = seen.kind
                        AND recovered_at IS NULL)
    ON CONFLICT (source, kind) WHERE recovered_at IS NULL DO NOTHING
    RETURNING incident_id, source, kind, opened_at, recovered_at
)
SELECT opened.*, 'opened' AS event, display_name, failures_in_a_row, last_error,
       good_completed_at AS last_success_time, good_obtained_at AS verified_time
FROM opened
JOIN source_syncs USING (source)
JOIN sources USING (source)
ORDER BY incident_id;

-- name: close_incidents
-- By what the log says alone, so that processes with other settings agree: after a success
-- since, for stale data with newer data.
WITH closed AS (
    UPDATE alert_incidents AS incidents
    SET recovered_at = clock_timestamp()
    FROM source_syncs AS syncs
    WHERE incidents.source = syncs.source AND recovered_at IS NULL
      AND CASE kind WHEN 'failing' THEN failures_in_a_row = 0 AND good_completed_at > opened_at
                    ELSE good_obtained_at > opened_at END
    RETURNING incident_id, incidents.source, kind, opened_at, recovered_at
)
SELECT closed.*, 'recovered' AS event, display_name, failures_in_a_row, last_error,
       good_completed_at AS last_success_time, good_obtained_at AS verified_time
FROM closed
JOIN source_syncs USING (source)
JOIN sources USING (source)
ORDER BY incident_id;

-- name: add_notice
INSERT INTO alert_notices (incident_id, event, document)
VALUES (%(incident_id)s, %(event)s, %(document)s);

-- name: unsent_notices
SELECT EXISTS (
    SELECT FROM alert_notices
    WHERE sent_at IS NULL AND attempts < %(most_attempts)s
      AND next_attempt_at <= clock_timestamp() AND noticed_at > now() - interval '1 day'
) AS has_unsent;

-- name: claim_notice
-- The attempt is counted before it is made: a process that dies in it leaves the next one to
-- another, later. Nothing over a day old is sent, and the end of an incident is sent after its
-- beginning.
UPDATE alert_notices
SET attempts = attempts + 1,
    next_attempt_at = clock_timestamp() + %(first_pause)s::interval * 6 ^ attempts
WHERE notice_id = (
    SELECT notice_id
    FROM alert_notices AS waiting
    WHERE sent_at IS NULL AND attempts < %(most_attempts)s
      AND next_attempt_at <= clock_timestamp() AND noticed_at > now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM alert_notices AS before
                      WHERE before.incident_id = waiting.incident_id
                        AND before.notice_id < waiting.notice_id
                        AND before.sent_at IS NULL AND before.attempts < %(most_attempts)s)
    ORDER BY notice_id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING notice_id, document, attempts;

-- name: notice_sent
UPDATE alert_notices SET sent_at = clock_timestamp() WHERE notice_id = %(notice_id)s;

-- name: prune_runs
-- A batch of old runs that nothing refers to, but for the newest ones of each source, which say
-- when it is due, and its newest success, which says how old its data is; and of a bundled
-- catalogue the newest success of each version, so that a version that was applied is not
-- applied again.
DELETE FROM pricing_sync_log
WHERE sync_run_id IN (
    SELECT sync_run_id
    FROM (
        SELECT sync_run_id, status, completed_at,
               row_number() OVER (PARTITION BY source ORDER BY sync_run_id DESC) AS position,
               row_number() OVER (PARTITION BY source, status, release
                                  ORDER BY sync_run_id DESC) AS position_of_its_kind
        FROM pricing_sync_log
    ) AS runs
    WHERE completed_at < clock_timestamp() - %(keep)s::interval
      AND position > %(newest)s
      AND NOT (status = 'success' AND position_of_its_kind = 1)
      AND NOT EXISTS (SELECT FROM price_quotes AS other
                      WHERE other.sync_run_id = runs.sync_run_id)
      AND NOT EXISTS (SELECT FROM model_pricing_history AS other
                      WHERE other.sync_run_id = runs.sync_run_id)
      AND NOT EXISTS (SELECT FROM model_pricing_history AS other
                      WHERE other.reverted_run_id = runs.sync_run_id)
      AND NOT EXISTS (SELECT FROM held_changes AS other
                      WHERE other.first_run = runs.sync_run_id)
      AND NOT EXISTS (SELECT FROM held_changes AS other
                      WHERE other.last_run = runs.sync_run_id)
      AND NOT EXISTS (SELECT FROM source_validators AS other
                      WHERE other.sync_run_id = runs.sync_run_id)
    LIMIT %(batch)s
);

-- name: prune_notices
DELETE FROM alert_notices
WHERE incident_id IN (SELECT incident_id FROM alert_incidents
                      WHERE recovered_at < clock_timestamp() - %(keep)s::interval);

-- name: prune_incidents
DELETE FROM alert_incidents
WHERE recovered_at < clock_timestamp() - %(keep)s::interval
  AND NOT EXISTS (SELECT FROM alert_notices AS notices
                  WHERE notices.incident_id = alert_incidents.incident_id);
