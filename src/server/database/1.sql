-- What the server knows. Times are milliseconds since 1970 by the server's clock; JSON is as src/protocol and src/schema have it.

CREATE TABLE machines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    inventory TEXT NOT NULL,
    assigned_image TEXT,
    assigned_profile TEXT,
    -- The job whose failure keeps the machine from the next one.
    failed_job INTEGER,
    registered INTEGER NOT NULL,
    seen INTEGER
) STRICT;

-- By which hardware addresses a machine is known.
CREATE TABLE cards (
    mac TEXT PRIMARY KEY,
    machine INTEGER NOT NULL REFERENCES machines (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX cards_of_machine ON cards (machine);

CREATE TABLE machine_groups (
    name TEXT PRIMARY KEY COLLATE NOCASE
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    group_name TEXT NOT NULL COLLATE NOCASE REFERENCES machine_groups (name) ON DELETE CASCADE,
    machine INTEGER NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
    PRIMARY KEY (group_name, machine)
) STRICT, WITHOUT ROWID;
CREATE INDEX groups_of_machine ON members (machine);

CREATE TABLE images (
    name TEXT PRIMARY KEY,
    description TEXT NOT NULL DEFAULT '',
    enabled INTEGER NOT NULL DEFAULT 1,
    on_demand INTEGER NOT NULL DEFAULT 0,
    protected INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE profiles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image TEXT NOT NULL REFERENCES images (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    profile TEXT NOT NULL,
    match_kind TEXT,
    match_text TEXT,
    UNIQUE (image, name)
) STRICT;

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    operation TEXT NOT NULL,
    -- Whose it is: a machine that is registered, or the session of one that is not.
    machine INTEGER REFERENCES machines (id) ON DELETE SET NULL,
    session INTEGER,
    machine_name TEXT NOT NULL,
    image TEXT NOT NULL,
    profile_name TEXT NOT NULL,
    -- The choices as they were when the job was made.
    profile TEXT NOT NULL,
    version TEXT,
    -- The version that a capture has announced at the store: the only one that its token may write.
    announced TEXT,
    state TEXT NOT NULL DEFAULT 'pending',
    cancel TEXT,
    outcome TEXT,
    message TEXT,
    target_changed INTEGER NOT NULL DEFAULT 0,
    wished_by TEXT NOT NULL,
    created INTEGER NOT NULL,
    -- Since when it waits in the queue, and when its machine last asked.
    queued INTEGER,
    asked INTEGER,
    started INTEGER,
    ended INTEGER,
    heard INTEGER,
    progress TEXT,
    next_event INTEGER NOT NULL DEFAULT 0,
    event_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
-- What no program error can break: a machine has one job that has not ended.
CREATE UNIQUE INDEX one_open_job ON jobs (machine) WHERE state <> 'ended' AND machine IS NOT NULL;
CREATE INDEX jobs_by_state ON jobs (state) WHERE state <> 'ended';
CREATE INDEX jobs_of_image ON jobs (image);

CREATE TABLE events (
    job INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    received INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
    job INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE users (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    role TEXT NOT NULL,
    -- argon2id, as a PHC string.
    password TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    machine INTEGER REFERENCES machines (id) ON DELETE SET NULL,
    inventory TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- Tokens by their SHA-256: who reads the database learns none.
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY,
    session INTEGER REFERENCES sessions (id) ON DELETE CASCADE,
    job INTEGER REFERENCES jobs (id) ON DELETE CASCADE,
    user TEXT COLLATE NOCASE REFERENCES users (name) ON DELETE CASCADE,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_machine ON sessions (machine);
CREATE INDEX tokens_of_job ON tokens (job);
CREATE INDEX tokens_of_session ON tokens (session);
CREATE INDEX tokens_of_user ON tokens (user);

-- The first answers to requests that bear an idempotency key.
CREATE TABLE answers (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    answer TEXT NOT NULL,
    given INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL
) STRICT;
