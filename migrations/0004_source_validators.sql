-- What a source's API says to name the state of its data, so that a sync can ask for it only
-- if it changed.

CREATE TABLE source_validators (
    source text PRIMARY KEY REFERENCES sources ON DELETE RESTRICT,
    asked text NOT NULL CHECK (asked ~ '^[0-9a-f]{64}$'),
    etag text,
    last_modified text,
    sync_run_id bigint REFERENCES pricing_sync_log ON DELETE SET NULL,
    read_at timestamptz NOT NULL,
    CHECK (num_nonnulls(etag, last_modified) = 1 OR sync_run_id IS NULL)
);
CREATE INDEX source_validators_by_run ON source_validators (sync_run_id);
COMMENT ON TABLE source_validators IS
    'Of the last answer that was applied as a whole; without a run they confirm nothing.';
COMMENT ON COLUMN source_validators.asked IS
    'SHA-256 of the address and of the code that read the answer: another of either starts anew.';
COMMENT ON COLUMN source_validators.sync_run_id IS
    'The last run that read or confirmed the answer; null when what it applied was changed since.';
COMMENT ON COLUMN source_validators.read_at IS 'When the answer was last read in full.';

-- Whatever default privileges gave.
REVOKE ALL ON source_validators FROM PUBLIC, pricing_reader, pricing_writer;
GRANT SELECT ON source_validators TO pricing_reader, pricing_writer;
GRANT INSERT, UPDATE ON source_validators TO pricing_writer;

ALTER TABLE source_validators ENABLE ROW LEVEL SECURITY;
CREATE POLICY looking_up ON source_validators FOR SELECT
    TO pricing_reader, pricing_writer USING (true);
CREATE POLICY adding ON source_validators FOR INSERT TO pricing_writer WITH CHECK (true);
CREATE POLICY changing ON source_validators FOR UPDATE TO pricing_writer USING (true);
