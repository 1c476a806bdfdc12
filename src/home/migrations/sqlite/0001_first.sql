-- The first schema. The same tables as in ../postgres/0001_first.sql; only ids, bytes and collation differ.

CREATE TABLE meta (
    id INTEGER PRIMARY KEY,
    controller TEXT NOT NULL,
    level INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    quiet TEXT,
    restart INTEGER NOT NULL,
    restart_when TEXT NOT NULL,
    restart_by TEXT NOT NULL,
    restart_reload INTEGER NOT NULL,
    restart_withdrawn INTEGER NOT NULL,
    rollout TEXT,
    -- where objects are; empty: with the store
    objects_id TEXT NOT NULL DEFAULT '',
    objects_at TEXT NOT NULL DEFAULT ''
);
INSERT INTO meta
    (id, controller, level, epoch, tick, incarnation, restart, restart_when, restart_by, restart_reload, restart_withdrawn)
VALUES (1, '', 1, 1, 0, 0, 0, 'immediately', '', 0, 0);

CREATE TABLE account (
    user_key TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    full_name TEXT NOT NULL,
    email TEXT NOT NULL,
    password TEXT NOT NULL,
    admin INTEGER NOT NULL
);

CREATE TABLE session (
    hash TEXT PRIMARY KEY,
    user_key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE INDEX session_of_user ON session (user_key, seen_at);

CREATE TABLE token (
    id TEXT PRIMARY KEY,
    user_key TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    uses INTEGER NOT NULL
);
CREATE INDEX token_of_user ON token (user_key);

-- What an administrator has switched on or off.
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE member (
    name TEXT PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    address TEXT NOT NULL,
    state TEXT NOT NULL,
    since INTEGER NOT NULL,
    revision TEXT NOT NULL,
    version TEXT NOT NULL,
    level INTEGER NOT NULL,
    behaviour INTEGER NOT NULL,
    beat INTEGER NOT NULL,
    load_builds INTEGER NOT NULL,
    load_agents INTEGER NOT NULL,
    load_busy INTEGER NOT NULL
);

CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder_name TEXT,
    holder_incarnation INTEGER,
    fence INTEGER NOT NULL,
    since INTEGER NOT NULL,
    note TEXT NOT NULL
);

CREATE TABLE failover (
    lost INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    noted_at INTEGER NOT NULL,
    builds INTEGER NOT NULL,
    adopted INTEGER,
    resumed INTEGER
);
CREATE INDEX failover_newest ON failover (noted_at, lost);

CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    parent INTEGER NOT NULL,
    kind TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    next_build INTEGER NOT NULL,
    running INTEGER NOT NULL,
    last_completed INTEGER NOT NULL,
    last_result TEXT,
    -- builds that have ended, deleted ones too, and the milliseconds that they took
    succeeded INTEGER NOT NULL DEFAULT 0,
    unstable INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    not_built INTEGER NOT NULL DEFAULT 0,
    aborted INTEGER NOT NULL DEFAULT 0,
    took INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX item_children ON item (parent, name_key);

CREATE TABLE item_config (
    item INTEGER PRIMARY KEY,
    config TEXT NOT NULL
);

CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL,
    params TEXT NOT NULL,
    fold TEXT NOT NULL,
    causes TEXT NOT NULL,
    since INTEGER NOT NULL,
    buildable_at INTEGER NOT NULL,
    left_at INTEGER,
    build INTEGER,
    number INTEGER
);
CREATE UNIQUE INDEX queue_fold ON queue (item, fold) WHERE left_at IS NULL;
CREATE INDEX queue_waiting ON queue (id) WHERE left_at IS NULL;
CREATE INDEX queue_item ON queue (item);
CREATE INDEX queue_left ON queue (left_at) WHERE left_at IS NOT NULL;

CREATE TABLE build (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL,
    number INTEGER NOT NULL,
    queue_id INTEGER NOT NULL,
    causes TEXT NOT NULL,
    params TEXT NOT NULL,
    queued_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    result TEXT,
    display_name TEXT,
    description TEXT,
    keep INTEGER NOT NULL,
    log_end INTEGER NOT NULL,
    behaviour INTEGER NOT NULL,
    built_on TEXT,
    UNIQUE (item, number)
);
CREATE INDEX build_result ON build (item, result, number) WHERE ended_at IS NOT NULL;

CREATE TABLE running (
    build INTEGER PRIMARY KEY,
    item INTEGER NOT NULL,
    number INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    log_end INTEGER NOT NULL,
    records INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    behaviour INTEGER NOT NULL
);
CREATE INDEX running_owner ON running (owner);

CREATE TABLE journal (
    build INTEGER NOT NULL,
    number INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (build, number)
);

CREATE TABLE log (
    build INTEGER NOT NULL,
    start INTEGER NOT NULL,
    step TEXT NOT NULL,
    raw_from INTEGER NOT NULL,
    raw_to INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (build, start)
);

-- Logs of ended builds that are objects, or are to become ones (they have no object yet).
CREATE TABLE archive (
    build INTEGER PRIMARY KEY,
    object TEXT,
    directory INTEGER NOT NULL,
    size INTEGER NOT NULL,
    -- whether `log` may have rows of it
    has_rows INTEGER NOT NULL
);
CREATE INDEX archive_due ON archive (build) WHERE object IS NULL;
CREATE INDEX archive_with_rows ON archive (build) WHERE has_rows = 1 AND object IS NOT NULL;

-- Builds that are deleted and of which journal or log is left: too much for one transaction.
CREATE TABLE erased (
    build INTEGER PRIMARY KEY
);

CREATE TABLE raw (
    build INTEGER NOT NULL,
    step TEXT NOT NULL,
    raw_to INTEGER NOT NULL,
    PRIMARY KEY (build, step)
);

CREATE TABLE source (
    hash TEXT PRIMARY KEY,
    body TEXT NOT NULL
);
CREATE TABLE source_use (
    build INTEGER NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (build, hash)
);
CREATE INDEX source_use_hash ON source_use (hash);

CREATE TABLE inbox (
    position INTEGER PRIMARY KEY,
    build INTEGER NOT NULL,
    row_key TEXT NOT NULL,
    body TEXT NOT NULL,
    consumed INTEGER NOT NULL,
    UNIQUE (build, row_key)
);
CREATE INDEX inbox_unread ON inbox (build, position) WHERE consumed = 0;

CREATE TABLE wait (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    build INTEGER NOT NULL,
    step TEXT NOT NULL,
    label TEXT,
    since INTEGER NOT NULL,
    UNIQUE (build, step)
);

-- Which labels are waited for, and who is first.
CREATE INDEX wait_label ON wait (COALESCE(label, ''), id);

CREATE TABLE busy (
    node TEXT NOT NULL,
    slot INTEGER NOT NULL,
    build INTEGER NOT NULL,
    step TEXT NOT NULL,
    PRIMARY KEY (node, slot)
);
CREATE INDEX busy_build ON busy (build, step);

CREATE TABLE node (
    name TEXT PRIMARY KEY,
    name_key TEXT NOT NULL UNIQUE,
    executors INTEGER NOT NULL,
    exclusive INTEGER NOT NULL,
    description TEXT NOT NULL,
    labels TEXT NOT NULL,
    remote_fs TEXT NOT NULL,
    offline TEXT,
    config TEXT NOT NULL
);

CREATE TABLE link (
    node TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    holder_name TEXT,
    holder_incarnation INTEGER,
    instance TEXT NOT NULL,
    since INTEGER NOT NULL,
    info TEXT NOT NULL,
    reason TEXT
);

CREATE TABLE artifact (
    build INTEGER NOT NULL,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    object TEXT NOT NULL,
    PRIMARY KEY (build, path)
);

CREATE TABLE stash (
    build INTEGER NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    object TEXT NOT NULL,
    PRIMARY KEY (build, name)
);

CREATE TABLE garbage (
    object TEXT PRIMARY KEY
);

-- Objects, when the database keeps them. Parts belong to an upload; an object names the upload that finished last.
CREATE TABLE object_upload (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    began_at INTEGER NOT NULL
);
CREATE TABLE object (
    object_key TEXT PRIMARY KEY,
    upload INTEGER NOT NULL,
    size INTEGER NOT NULL
);
CREATE TABLE object_part (
    upload INTEGER NOT NULL,
    part INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (upload, part)
);
