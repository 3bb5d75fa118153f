-- The caller whom another tagalong has let in, with its place. It is stored as tagalong, which the version before can read.
ALTER TABLE deployments ADD COLUMN guest TEXT;

-- Which services stand on the hosts of agents, as these said last.
CREATE TABLE placements (
    agent TEXT NOT NULL,
    service TEXT NOT NULL,
    -- the repositories of its images, as JSON
    images TEXT NOT NULL,
    seen_ms BIGINT NOT NULL,
    PRIMARY KEY (agent, service)
);

-- At an agent: how far its control plane knows the deployments that are newer than `told_to` in meta, which it knows all.
CREATE TABLE told (
    deployment TEXT NOT NULL PRIMARY KEY,
    -- of the last line that it has
    position BIGINT NOT NULL,
    -- whether it has the outcome
    ended BIGINT NOT NULL,
    -- whether there is nothing more to tell
    whole BIGINT NOT NULL
);
