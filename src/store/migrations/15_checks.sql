-- Who is behind an order, as its forge has proven it.
ALTER TABLE deployments ADD COLUMN actor TEXT;
-- The guard that refused it, where its outcome says so by a word that the version before knows.
ALTER TABLE deployments ADD COLUMN guard TEXT;
-- What an order waits for that has had its turn: since when, why, who is asking just now and until when nobody else may (by the
-- database's clock), how often it was asked, when it may be asked again (by that clock), and when the answer was yes.
ALTER TABLE deployments ADD COLUMN waits_since_ms BIGINT;
ALTER TABLE deployments ADD COLUMN waits_why TEXT;
ALTER TABLE deployments ADD COLUMN asker TEXT;
ALTER TABLE deployments ADD COLUMN asker_until_ms BIGINT;
ALTER TABLE deployments ADD COLUMN asked BIGINT;
ALTER TABLE deployments ADD COLUMN ask_next_ms BIGINT;
ALTER TABLE deployments ADD COLUMN granted_ms BIGINT;
