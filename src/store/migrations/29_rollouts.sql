-- The hosts of a rollout and how it goes over them, as JSON; none: the run is on one host. A rollout is the first run of its deployment.
ALTER TABLE runs ADD COLUMN plan TEXT;

-- What a rollout does on each host, one after the other: it lands the release, or brings the host back. Whoever has the rollout's run
-- writes here.
CREATE TABLE host_runs (
    deployment TEXT NOT NULL,
    -- 2 and more
    run BIGINT NOT NULL,
    service TEXT NOT NULL,
    host TEXT NOT NULL,
    -- whether it brings the host back to what it had before
    goes_back BIGINT NOT NULL,
    -- the id that its order has at the agent of the host
    order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    outcome TEXT,
    images TEXT,
    verified BIGINT NOT NULL,
    barrier BIGINT NOT NULL,
    ran_before TEXT,
    started_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    PRIMARY KEY (deployment, run)
);
CREATE UNIQUE INDEX one_host_run_on_a_host ON host_runs (service, host) WHERE state = 'running';
CREATE INDEX host_runs_by_order ON host_runs (order_id, host);
CREATE INDEX verified_by_host ON host_runs (service, host, deployment, run) WHERE verified = 1;
