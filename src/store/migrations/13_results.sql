-- How far its forge was owed what becomes of a deployment: 1 it waits, 2 it is being carried out, 3 it has ended. It stands apart from the
-- deployments, whose rows nobody may have to wait for.
CREATE TABLE results (
    deployment TEXT NOT NULL PRIMARY KEY,
    stage BIGINT NOT NULL,
    at_ms BIGINT NOT NULL
);
