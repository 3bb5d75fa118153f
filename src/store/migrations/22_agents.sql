-- Hosts that dial in and take orders.
CREATE TABLE agents (
    name TEXT NOT NULL PRIMARY KEY,
    -- the machine that its key was made on
    machine TEXT NOT NULL,
    enrolled_ms BIGINT NOT NULL,
    -- when a person cut it off; none: it may connect
    revoked_ms BIGINT,
    -- since when its line is open, and at which server; none: it is away
    online_ms BIGINT,
    holder TEXT,
    -- when it was last known to be there
    seen_ms BIGINT,
    -- what last came with its key from elsewhere, and when: another machine, or another process
    clone_machine TEXT,
    clone_ms BIGINT
);
-- The public keys of each agent: several while one takes the place of another.
CREATE TABLE agent_keys (
    public_key TEXT NOT NULL PRIMARY KEY,
    agent TEXT NOT NULL,
    added_ms BIGINT NOT NULL,
    ended_ms BIGINT
);
CREATE INDEX agent_keys_by_agent ON agent_keys (agent);
-- Codes that enrol an agent once. A code is the seed of a key pair, of which only the public half is here.
CREATE TABLE agent_codes (
    public_key TEXT NOT NULL PRIMARY KEY,
    agent TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    -- the public key of the agent that was enrolled with it; none: nobody yet
    used_by TEXT
);
