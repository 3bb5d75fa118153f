-- The same as fill.sqlite.sql, for PostgreSQL.
INSERT INTO deployments (id, service, kind, state, outcome, outcome_name, tag, commit_id, git_ref, run_url, run_number, force, dry_run, caller,
    last_position, created_ms, started_ms, ended_ms)
SELECT '01' || lpad(i::text, 24, '0'), 's' || (i % :services), 'deploy', 'done',
    CASE name WHEN 'live' THEN '{"outcome":"live","warnings":[]}'
        WHEN 'rolled_back' THEN '{"outcome":"rolled_back","why":"the page did not hold","to":"the release before","verified_before":true}'
        WHEN 'failed' THEN '{"outcome":"failed","why":"the registry did not answer"}'
        ELSE '{"outcome":"superseded","by":"01' || lpad((i + 1)::text, 24, '0') || '"}' END,
    name, 'v' || i, lpad(to_hex(i), 40, '0'), 'refs/heads/main', 'https://forge.example.com/acme/site/actions/runs/' || i, i, 0, 0, 'key:ci',
    5, at_ms, at_ms + 50, at_ms + 20000
FROM (SELECT i, CASE WHEN i % 10 < 7 THEN 'live' WHEN i % 10 = 7 THEN 'rolled_back' WHEN i % 10 = 8 THEN 'failed' ELSE 'superseded' END AS name,
    :now_ms - (180 * 86400000.0 * (:many - i + 1) / :many)::bigint AS at_ms FROM generate_series(1, :many) AS i) AS kinds;

INSERT INTO runs (deployment, run, service, host, state, step, outcome, images, verified, barrier, changed, pin_before, ran_before, resolved,
    report, attempts, executor, fence, started_ms, ended_ms)
SELECT id, 1, service, 'local', 'done', 'after_hook', outcome,
    '["registry.example.com/acme/' || service || ':' || tag || '@sha256:' || lpad(to_hex(run_number), 64, '0') || '"]',
    (outcome_name = 'live')::int, 0, (outcome_name <> 'failed')::int, 'TAG=before', 'what ran before',
    '{"services":{"web":"' || repeat('x', 800) || '"}}',
    '{"url":"https://www.example.com/","attempts":1,"duration_ms":5,"assets":2,"findings":[]}', 1, 'elsewhere', 1, started_ms, ended_ms
FROM deployments WHERE outcome_name <> 'superseded';

INSERT INTO lines (deployment, run, seq, position, at_ms, step, kind, text)
SELECT d.id, (d.outcome_name <> 'superseded')::int, l.at, l.at, d.created_ms + l.at, 'up', 'output',
    'Container ' || d.service || '-web-1 says what containers say while they start, for the ' || l.at || '. time'
FROM deployments AS d, generate_series(1, 5) AS l(at);

INSERT INTO deliveries (caller, id, body_sha256, deployment, at_ms)
SELECT 'key:ci', 'msg_' || id, lpad(to_hex(run_number), 64, '0'), id, created_ms FROM deployments WHERE run_number % 4 = 0;

-- Its hashes are none: the trail of such a store cannot be verified.
INSERT INTO audit (seq, at_ms, caller, action, target, detail, previous, hash)
SELECT run_number, created_ms, 'key:ci', 'order', service, 'deploy ' || tag || ' as ' || id, '', lpad(to_hex(run_number), 64, '0') FROM deployments;
UPDATE meta SET value = :many || ' ' || (SELECT hash FROM audit WHERE seq = :many) WHERE name = 'audit_head';
ANALYZE;
