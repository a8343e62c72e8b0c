-- What was known at a time: the last revision by then.

CREATE INDEX model_pricing_history_by_time ON model_pricing_history (changed_at, revision);
