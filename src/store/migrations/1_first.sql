-- One set of statements for SQLite and PostgreSQL: TEXT and BIGINT only, times in ms since 1970 (UTC), ids as text.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('queue', ''), ('audit', '');

CREATE TABLE deployments (
    id TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT,
    outcome TEXT,
    outcome_name TEXT,
    tag TEXT,
    digest TEXT,
    commit_id TEXT,
    git_ref TEXT,
    run_url TEXT,
    run_number BIGINT,
    reason TEXT,
    force BIGINT NOT NULL,
    dry_run BIGINT NOT NULL,
    caller TEXT NOT NULL,
    images TEXT,
    verified BIGINT NOT NULL,
    barrier BIGINT NOT NULL,
    pin_before TEXT,
    ran_before TEXT,
    resolved TEXT,
    baseline TEXT,
    report TEXT,
    undo_why TEXT,
    cancel_by TEXT,
    attempts BIGINT NOT NULL,
    executor TEXT,
    fence BIGINT NOT NULL,
    lease_ms BIGINT,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT,
    ended_ms BIGINT
);
-- One running and one waiting deployment a service: a fact of the database, not of a careful program.
CREATE UNIQUE INDEX one_running ON deployments (service) WHERE state = 'running';
CREATE UNIQUE INDEX one_queued ON deployments (service) WHERE state = 'queued';
CREATE INDEX by_service ON deployments (service, id);

CREATE TABLE lines (
    deployment TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    step TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (deployment, seq)
);

CREATE TABLE deliveries (
    caller TEXT NOT NULL,
    id TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    deployment TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (caller, id)
);

CREATE TABLE holds (
    service TEXT NOT NULL PRIMARY KEY,
    deployment TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    until_ms BIGINT
);

CREATE TABLE attempts (
    address TEXT NOT NULL,
    minute BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    PRIMARY KEY (address, minute)
);

CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    caller TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
