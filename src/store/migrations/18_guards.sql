-- The guard that refused it, where the version before knows neither it nor a word for it in `guard`.
ALTER TABLE deployments ADD COLUMN refused_by TEXT;
-- Until when it counts that every guard has passed it at its turn (ms since 1970, by the server's clock); none: for as long as `granted_ms`
-- says.
ALTER TABLE deployments ADD COLUMN granted_until_ms BIGINT;
