-- Statements about what names the state of a source's data. Writing ones hold the head's lock.

-- name: read_validators
-- Only of the same address, read by the same code, and not for ever: some servers keep the
-- name while the data changes.
SELECT etag, last_modified, sync_run_id, read_at FROM source_validators
WHERE source = %(source)s AND asked = %(asked)s AND sync_run_id IS NOT NULL
  AND read_at > clock_timestamp() - %(full_read_after)s::interval;

-- name: keep_validators
-- Not while a model waits to be delisted: that takes another answer without it.
INSERT INTO source_validators (source, asked, etag, last_modified, sync_run_id, read_at)
SELECT %(source)s, %(asked)s, %(etag)s, %(last_modified)s, %(sync_run_id)s, clock_timestamp()
WHERE (
    -- In order, as in "confirmable".
    SELECT model_key
    FROM price_quotes
    WHERE source = %(source)s AND missing_syncs BETWEEN 1 AND %(missing_syncs_to_delist)s - 1
    ORDER BY model_key
    LIMIT 1
) IS NULL
ON CONFLICT (source) DO UPDATE
SET asked = excluded.asked, etag = excluded.etag, last_modified = excluded.last_modified,
    sync_run_id = excluded.sync_run_id, read_at = excluded.read_at;

-- name: drop_validators
-- Those of one source, or of all.
UPDATE source_validators SET etag = NULL, last_modified = NULL, sync_run_id = NULL
WHERE source = coalesce(%(source)s, source) AND sync_run_id IS NOT NULL;

-- name: confirmable
-- The run that the validators are of, if all that the source lists is still as that run left it.
SELECT log.notices
FROM source_validators AS validators
JOIN pricing_sync_log AS log USING (sync_run_id)
WHERE validators.source = %(source)s AND validators.sync_run_id = %(last_run_id)s
  AND log.status = 'success'
  AND (
    -- In order, so that the quotes of the source are looked at and no others.
    SELECT quotes.model_key
    FROM price_quotes AS quotes
    WHERE quotes.source = %(source)s AND quotes.missing_syncs = 0
      AND quotes.sync_run_id <> %(last_run_id)s
    ORDER BY quotes.model_key
    LIMIT 1
  ) IS NULL;

-- name: confirm_quotes
-- A price that the last run could not confirm stays as old and unconfirmed as it is.
WITH confirmed AS (
    UPDATE price_quotes
    SET sync_run_id = %(sync_run_id)s,
        obtained_at = CASE WHEN is_confirmed THEN %(obtained_at)s ELSE obtained_at END
    WHERE source = %(source)s AND missing_syncs = 0
    RETURNING model_key
)
SELECT count(*) AS listed,
       (SELECT model_id FROM models WHERE model_key = min(confirmed.model_key)) AS example,
       (SELECT count(*) FROM price_quotes WHERE source = %(source)s AND missing_syncs > 0)
           AS missing
FROM confirmed;

-- name: move_validators
UPDATE source_validators SET sync_run_id = %(sync_run_id)s WHERE source = %(source)s;
