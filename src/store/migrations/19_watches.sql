-- The deployment by whose watch an order was placed. Its caller is stored as tagalong, which the version before can read.
ALTER TABLE deployments ADD COLUMN watch TEXT;

-- What is looked at again and again: the release of a deployment, for some time after it is live, or the page of a service, without end.
CREATE TABLE watches (
    -- the deployment's, or `page SERVICE`
    id TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL,
    -- watching, or how it ended
    state TEXT NOT NULL,
    -- by the database's clock, like all times here that decide something; none: without end
    since_ms BIGINT NOT NULL,
    until_ms BIGINT,
    every_ms BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    looks BIGINT NOT NULL,
    -- how many of the last looks that saw something saw it bad, without a good one in between
    bad BIGINT NOT NULL,
    last_ms BIGINT,
    last TEXT,
    why TEXT,
    -- how often each container had been restarted by the last look, as JSON
    restarts TEXT,
    -- the order that it has placed
    placed TEXT,
    ended_ms BIGINT,
    -- how often it was taken: what somebody says who had it before counts no more
    turn BIGINT NOT NULL,
    -- who looks just now, and until when nobody else may
    holder TEXT,
    lease_ms BIGINT NOT NULL
);
-- One release of a service is watched at a time: a fact of the database, not of a careful program.
CREATE UNIQUE INDEX one_watch ON watches (service) WHERE state = 'watching' AND until_ms IS NOT NULL;
CREATE INDEX watching ON watches (service, id) WHERE state = 'watching';
CREATE INDEX ended_watches ON watches (ended_ms) WHERE ended_ms IS NOT NULL;

-- What looks have seen, kept for plots: each by itself (span_ms = 0), and together by the hour (span_ms = 3600000).
CREATE TABLE looks (
    service TEXT NOT NULL,
    span_ms BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    looks BIGINT NOT NULL,
    bad BIGINT NOT NULL,
    blind BIGINT NOT NULL,
    -- how many of them have a latency, the sum of those, and the longest
    answered BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    slowest_ms BIGINT NOT NULL,
    -- of the last bad one
    status BIGINT,
    rules TEXT NOT NULL,
    PRIMARY KEY (service, span_ms, at_ms)
);
CREATE INDEX looks_by_age ON looks (span_ms, at_ms);

-- What was found wrong with a service, from the look that found it until its end.
CREATE TABLE incidents (
    id TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- what makes it the same fault when it is seen again
    fault TEXT NOT NULL,
    what TEXT NOT NULL,
    mend TEXT,
    seen BIGINT NOT NULL,
    -- how many looks running have not found it any more
    good BIGINT NOT NULL,
    opened_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    closed_ms BIGINT
);
CREATE UNIQUE INDEX open_incidents ON incidents (service, fault) WHERE closed_ms IS NULL;
CREATE INDEX incidents_by_service ON incidents (service, id);
CREATE INDEX closed_incidents ON incidents (closed_ms) WHERE closed_ms IS NOT NULL;
