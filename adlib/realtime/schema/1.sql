CREATE TABLE checkpoints (
    stream TEXT PRIMARY KEY, position INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE verdicts (
    stream TEXT NOT NULL, end INTEGER NOT NULL, time REAL NOT NULL, severity TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (stream, end)) WITHOUT ROWID;
CREATE INDEX verdicts_time ON verdicts (time);
CREATE TABLE incidents (
    id TEXT PRIMARY KEY, stream TEXT NOT NULL, opened_at REAL NOT NULL, closed_at REAL,
    severity TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    acknowledged INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX incidents_time ON incidents (opened_at);
CREATE INDEX incidents_open ON incidents (id) WHERE state = 'open';
CREATE TABLE events (
    incident TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE, n INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, time REAL NOT NULL, notify INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (incident, n)) WITHOUT ROWID;
CREATE TABLE quality (
    stream TEXT NOT NULL, kind TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    body TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (stream, kind, start, end, body)
    ) WITHOUT ROWID;
CREATE INDEX quality_time ON quality (time);
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, channel TEXT NOT NULL,
    key TEXT NOT NULL, time REAL NOT NULL, body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sent', 'dead', 'discarded')),
    attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, error TEXT);
CREATE INDEX outbox_head ON outbox (channel, key, seq) WHERE state IN ('pending', 'dead');
CREATE INDEX outbox_due ON outbox (channel, seq, due) WHERE state = 'pending';
CREATE TABLE operator (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL
        CHECK (kind IN ('acknowledge', 'silence')),
    target TEXT NOT NULL, body TEXT, created REAL NOT NULL);
CREATE TABLE applied (
    operator INTEGER NOT NULL REFERENCES operator (seq), stream TEXT NOT NULL,
    position INTEGER NOT NULL, PRIMARY KEY (operator, stream)) WITHOUT ROWID;
