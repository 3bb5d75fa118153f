-- A store of a million deployments answers as quickly as an empty one: whatever is asked again and again, and every page, is
-- found by an index, and what is not finished by one that holds nothing else.
CREATE INDEX unfinished ON deployments (id) WHERE state <> 'done';
CREATE INDEX unfinished_by_service ON deployments (service, id) WHERE state <> 'done';
CREATE INDEX by_outcome ON deployments (outcome_name, id) WHERE outcome_name IS NOT NULL;
CREATE INDEX by_service_and_outcome ON deployments (service, outcome_name, id) WHERE outcome_name IS NOT NULL;
CREATE INDEX by_end ON deployments (ended_ms, id) WHERE state = 'done';
CREATE INDEX running_by_executor ON runs (executor, deployment) WHERE state = 'running';
CREATE INDEX deliveries_by_time ON deliveries (at_ms);
