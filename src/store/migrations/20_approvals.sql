-- What was approved of an order and by whom, as JSON; none: it needed no approval, or has none yet.
ALTER TABLE deployments ADD COLUMN approved TEXT;
-- What the codes of an order are for, and how many wrong ones were entered.
CREATE TABLE approvals (
    deployment TEXT NOT NULL PRIMARY KEY,
    -- the exact images, as a JSON list of references
    images TEXT NOT NULL,
    wrong BIGINT NOT NULL
);
-- The code of each approver, which is known here by its keyed hash alone.
CREATE TABLE approval_codes (
    deployment TEXT NOT NULL,
    approver TEXT NOT NULL,
    mark TEXT NOT NULL,
    -- the life of the server that made it: the next one makes another
    made_by TEXT NOT NULL,
    sent_ms BIGINT,
    -- when it was entered, and by which way
    approved_ms BIGINT,
    approved_via TEXT,
    PRIMARY KEY (deployment, approver)
);
