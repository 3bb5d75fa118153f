-- The user of the dashboard by whom an order was placed. Its caller is stored as tagalong, which the version before can read.
ALTER TABLE deployments ADD COLUMN by_user TEXT;

-- Who may log in here, beside those whom a forge proves.
CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    -- argon2id, as a PHC string; none: no password was set
    password TEXT,
    -- what the user may do, as a JSON list
    scopes TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    -- the last time that they logged in
    seen_ms BIGINT
);

-- Who is logged in. The token is the browser's alone; here stands what it is known by.
CREATE TABLE sessions (
    digest TEXT NOT NULL PRIMARY KEY,
    -- by which people name it
    id TEXT NOT NULL,
    by_user TEXT NOT NULL,
    -- what a forge said at the login that the configuration asks about, as a JSON list; none: a user of ours
    member_of TEXT,
    created_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (by_user, created_ms);
CREATE INDEX sessions_by_age ON sessions (created_ms);

-- Codes that log in once. Here stands what a code is known by.
CREATE TABLE login_codes (
    digest TEXT NOT NULL PRIMARY KEY,
    by_user TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);
CREATE INDEX login_codes_by_user ON login_codes (by_user);
