-- What was put at forges: secrets by their marks, since no forge gives one back.
CREATE TABLE provisioned (
    forge TEXT NOT NULL,
    -- repository, environment or organisation
    place TEXT NOT NULL,
    owner TEXT NOT NULL,
    environment TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    mark TEXT NOT NULL,
    -- what the forge says about when it changed
    stamp TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (forge, place, owner, environment, kind, name)
);
