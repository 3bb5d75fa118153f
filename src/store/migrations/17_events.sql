-- What happened that people may want to hear of. There is one of each kind about each thing, so that it is recorded once; what every
-- notifier that wants it is owed has a time in owed_ms.
CREATE TABLE events (
    kind TEXT NOT NULL,
    about TEXT NOT NULL,
    service TEXT,
    at_ms BIGINT NOT NULL,
    what TEXT NOT NULL,
    why TEXT NOT NULL,
    next_command TEXT,
    owed_ms BIGINT,
    PRIMARY KEY (kind, about)
);
CREATE INDEX events_to_owe ON events (at_ms, kind, about) WHERE owed_ms IS NULL;
CREATE INDEX events_by_time ON events (at_ms);

-- Deployments whose end was looked at for what is to be told of it.
CREATE TABLE noticed (
    deployment TEXT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
);
CREATE INDEX noticed_by_time ON noticed (at_ms);
