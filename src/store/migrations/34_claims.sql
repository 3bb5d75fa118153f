-- A service belongs to the agent that named it first, until that lets go of it or a person decides otherwise: the number of the claim among
-- all there were, and whether the agent still names the service. Of those before, the first by name was the one that counted.
ALTER TABLE placements ADD COLUMN claimed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE placements ADD COLUMN is_named BIGINT NOT NULL DEFAULT 1;

-- What agents have said of a deployment, bytes of its lines.
ALTER TABLE deployments ADD COLUMN told_bytes BIGINT;
-- The agent that told of it, where nothing was known of it here before, and when.
ALTER TABLE deployments ADD COLUMN told_by TEXT;
ALTER TABLE deployments ADD COLUMN told_ms BIGINT;
