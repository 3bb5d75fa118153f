-- What is done on one host stands below what was ordered: a deployment has runs, and a run has its lease, its pin and what it
-- has verified. A deployment waits for something, and an outcome that is left for a person says so by its own name.
ALTER TABLE deployments RENAME TO deployments_3;
ALTER TABLE lines RENAME TO lines_3;

CREATE TABLE runs (
    deployment TEXT NOT NULL,
    run BIGINT NOT NULL,
    service TEXT NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT,
    outcome TEXT,
    images TEXT,
    verified BIGINT NOT NULL,
    barrier BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    pin_before TEXT,
    ran_before TEXT,
    resolved TEXT,
    baseline TEXT,
    report TEXT,
    undo_why TEXT,
    attempts BIGINT NOT NULL,
    executor TEXT,
    fence BIGINT NOT NULL,
    lease_ms BIGINT,
    started_ms BIGINT,
    ended_ms BIGINT,
    PRIMARY KEY (deployment, run)
);
INSERT INTO runs (deployment, run, service, host, state, step, outcome, images, verified, barrier, changed, pin_before, ran_before,
        resolved, baseline, report, undo_why, attempts, executor, fence, lease_ms, started_ms, ended_ms)
    SELECT id, 1, service, 'local', state, step,
        CASE WHEN outcome_name = 'held' THEN REPLACE(outcome, '"outcome":"held"', '"outcome":"needs_operator"') ELSE outcome END,
        images, verified, barrier,
        CASE WHEN outcome_name IN ('live', 'rolled_back', 'rollback_failed', 'broken', 'held')
            OR (outcome_name = 'cancelled' AND outcome LIKE '%"changed":true%') THEN 1 ELSE 0 END,
        pin_before, ran_before, resolved, baseline, report, undo_why, attempts, executor, fence, lease_ms, started_ms, ended_ms
    FROM deployments_3 WHERE state <> 'queued' AND (state = 'running' OR attempts > 0 OR verified = 1);

CREATE TABLE deployments (
    id TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    waits_for TEXT,
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
    cancel_by TEXT,
    last_position BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT,
    ended_ms BIGINT
);
INSERT INTO deployments (id, service, kind, state, waits_for, outcome, outcome_name, tag, digest, commit_id, git_ref, run_url, run_number,
        reason, force, dry_run, caller, images, cancel_by, last_position, created_ms, started_ms, ended_ms)
    SELECT id, service, kind,
        CASE WHEN state = 'queued' THEN 'waiting' ELSE state END,
        CASE WHEN state = 'queued' THEN 'turn' END,
        CASE WHEN outcome_name = 'held' THEN REPLACE(outcome, '"outcome":"held"', '"outcome":"needs_operator"') ELSE outcome END,
        CASE WHEN outcome_name = 'held' THEN 'needs_operator' ELSE outcome_name END,
        tag, digest, commit_id, git_ref, run_url, run_number, reason, force, dry_run, caller,
        CASE WHEN kind = 'rollback' OR state = 'queued' THEN images END,
        cancel_by, COALESCE((SELECT MAX(seq) FROM lines_3 WHERE deployment = deployments_3.id), 0), created_ms, started_ms, ended_ms
    FROM deployments_3;

-- Run 0 is the deployment's own. A line's position is its place among all lines of the deployment.
CREATE TABLE lines (
    deployment TEXT NOT NULL,
    run BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    position BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    step TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (deployment, run, seq)
);
INSERT INTO lines (deployment, run, seq, position, at_ms, step, kind, text)
    SELECT old.deployment, COALESCE(runs.run, 0), old.seq, old.seq, old.at_ms, old.step, old.kind, old.text
    FROM lines_3 AS old LEFT JOIN runs ON runs.deployment = old.deployment;

DROP TABLE deployments_3;
DROP TABLE lines_3;

-- One running and one waiting deployment a service, and one run on a host: facts of the database, not of a careful program.
CREATE UNIQUE INDEX one_running ON deployments (service) WHERE state = 'running';
CREATE UNIQUE INDEX one_waiting ON deployments (service) WHERE state = 'waiting';
CREATE UNIQUE INDEX one_run_on_a_host ON runs (service, host) WHERE state = 'running';
CREATE INDEX by_service ON deployments (service, id);
CREATE INDEX verified_by_service ON runs (service, deployment) WHERE verified = 1;
CREATE INDEX changed_by_service ON runs (service, deployment) WHERE changed = 1;
CREATE UNIQUE INDEX by_position ON lines (deployment, position);

-- Orders of CI are refused after a rollback, and after an outcome that is left for a person.
ALTER TABLE holds ADD COLUMN kind TEXT NOT NULL DEFAULT 'rollback';
