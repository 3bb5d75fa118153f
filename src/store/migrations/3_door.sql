-- What each acceptance asks for is found without going through all that a service has had.
CREATE INDEX verified_by_service ON deployments (service, id) WHERE verified = 1;
CREATE INDEX attempts_by_minute ON attempts (minute);
-- The head of the audit trail (number and hash of its last entry), kept apart from it, and a place for trial writes.
INSERT INTO meta (name, value) VALUES ('probe', '');
INSERT INTO meta (name, value)
    SELECT 'audit_head', COALESCE((SELECT CAST(seq AS TEXT) || ' ' || hash FROM audit ORDER BY seq DESC LIMIT 1), '0 ');
