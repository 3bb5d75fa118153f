-- What became of each dataset on each executor, and what its peers are owed: the newest commit only.
CREATE TABLE datasets (
    executor TEXT NOT NULL,
    dataset TEXT NOT NULL,
    outcome TEXT NOT NULL,
    why TEXT,
    load_fault TEXT,
    at_ms BIGINT NOT NULL,
    loaded_ms BIGINT,
    PRIMARY KEY (executor, dataset)
);

CREATE TABLE debts (
    executor TEXT NOT NULL,
    dataset TEXT NOT NULL,
    peer TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    why TEXT,
    PRIMARY KEY (executor, dataset, peer)
);
