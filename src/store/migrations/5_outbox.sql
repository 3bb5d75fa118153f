-- What is owed to others, until they have it. A lane says who tells them; to each receiver one thing is told after the other, in the
-- order of the numbers; a newer debt of the same key takes the place of an older one.
CREATE TABLE outbox (
    lane TEXT NOT NULL,
    receiver TEXT NOT NULL,
    key TEXT NOT NULL,
    -- another one for everything that was ever owed: an answer for an older debt of the same key settles nothing
    number BIGINT NOT NULL,
    message TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    -- how often it has failed, and when it is tried again
    tries BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    -- the receiver asked to be left alone until then
    quiet_ms BIGINT NOT NULL,
    why TEXT,
    -- since when it is not tried any more: the receiver has refused it
    refused_ms BIGINT,
    -- who is telling it just now, and until when nobody else may
    holder TEXT,
    lease_ms BIGINT NOT NULL,
    PRIMARY KEY (lane, receiver, key)
);
CREATE INDEX outbox_in_order ON outbox (lane, receiver, number);

-- What peers are owed moves over. The table stays, empty, for the version before.
INSERT INTO outbox (lane, receiver, key, number, message, since_ms, tries, next_ms, quiet_ms, why, lease_ms)
    SELECT 'peers/' || executor || '/' || dataset, peer, 'newest', 0, 'commit ' || commit_id, since_ms, tries, next_ms, 0, why, 0
    FROM debts;
DELETE FROM debts;

-- The last number that was given to a debt.
INSERT INTO meta (name, value) VALUES ('outbox', '0');
