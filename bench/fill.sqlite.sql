-- Fills an empty store of SQLite: :many deployments of :services services over the last 180 days up to :now_ms, five lines each.
-- Of ten, seven are live, and one each was rolled back, failed and superseded; none is broken, and `quiet` has none.
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many),
kinds AS (SELECT i, CASE WHEN i % 10 < 7 THEN 'live' WHEN i % 10 = 7 THEN 'rolled_back' WHEN i % 10 = 8 THEN 'failed' ELSE 'superseded' END AS name,
    :now_ms - CAST(180 * 86400000.0 * (:many - i + 1) / :many AS INTEGER) AS at_ms FROM n)
INSERT INTO deployments (id, service, kind, state, outcome, outcome_name, tag, commit_id, git_ref, run_url, run_number, force, dry_run, caller,
    last_position, created_ms, started_ms, ended_ms)
SELECT printf('01%024d', i), 's' || (i % :services), 'deploy', 'done',
    CASE name WHEN 'live' THEN '{"outcome":"live","warnings":[]}'
        WHEN 'rolled_back' THEN '{"outcome":"rolled_back","why":"the page did not hold","to":"the release before","verified_before":true}'
        WHEN 'failed' THEN '{"outcome":"failed","why":"the registry did not answer"}'
        ELSE '{"outcome":"superseded","by":"' || printf('01%024d', i + 1) || '"}' END,
    name, 'v' || i, printf('%040x', i), 'refs/heads/main', 'https://forge.example.com/acme/site/actions/runs/' || i, i, 0, 0, 'key:ci',
    5, at_ms, at_ms + 50, at_ms + 20000 FROM kinds;

INSERT INTO runs (deployment, run, service, host, state, step, outcome, images, verified, barrier, changed, pin_before, ran_before, resolved,
    report, attempts, executor, fence, started_ms, ended_ms)
SELECT id, 1, service, 'local', 'done', 'after_hook', outcome,
    '["registry.example.com/acme/' || service || ':' || tag || '@sha256:' || printf('%064x', run_number) || '"]',
    outcome_name = 'live', 0, outcome_name <> 'failed', 'TAG=before', 'what ran before', '{"services":{"web":"' || printf('%.800c', 'x') || '"}}',
    '{"url":"https://www.example.com/","attempts":1,"duration_ms":5,"assets":2,"findings":[]}', 1, 'elsewhere', 1, started_ms, ended_ms
FROM deployments WHERE outcome_name <> 'superseded';

INSERT INTO lines (deployment, run, seq, position, at_ms, step, kind, text)
SELECT d.id, d.outcome_name <> 'superseded', l.column1, l.column1, d.created_ms + l.column1, 'up', 'output',
    'Container ' || d.service || '-web-1 says what containers say while they start, for the ' || l.column1 || '. time'
FROM deployments AS d, (VALUES (1), (2), (3), (4), (5)) AS l;

INSERT INTO deliveries (caller, id, body_sha256, deployment, at_ms)
SELECT 'key:ci', 'msg_' || id, printf('%064x', run_number), id, created_ms FROM deployments WHERE run_number % 4 = 0;

-- Its hashes are none: the trail of such a store cannot be verified.
INSERT INTO audit (seq, at_ms, caller, action, target, detail, previous, hash)
SELECT run_number, created_ms, 'key:ci', 'order', service, 'deploy ' || tag || ' as ' || id, '', printf('%064x', run_number) FROM deployments;
UPDATE meta SET value = :many || ' ' || (SELECT hash FROM audit WHERE seq = :many) WHERE name = 'audit_head';
