-- The earlier deployment that an order comes from: `retry ID`, or `repair ID` where the release of ID is landed again. The version
-- before reads a repair as the rollback to a recorded release that it is to it.
ALTER TABLE deployments ADD COLUMN cause TEXT;
-- What the stack consisted of when the release was verified, as JSON.
ALTER TABLE runs ADD COLUMN parts TEXT;
