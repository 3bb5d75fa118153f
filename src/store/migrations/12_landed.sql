-- The newest release that CI has numbered is found at once, however many without a number have landed since. By all these columns
-- SQLite prefers it to the index of a service's outcomes, which knows nothing of numbers.
CREATE INDEX landed_by_service ON deployments (service, outcome_name, kind, id) WHERE run_number IS NOT NULL;
