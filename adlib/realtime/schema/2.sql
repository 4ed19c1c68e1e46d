-- An operator may close an incident.
CREATE TABLE was AS SELECT * FROM applied;
DROP TABLE applied;
ALTER TABLE operator RENAME TO decided;
CREATE TABLE operator (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL
        CHECK (kind IN ('acknowledge', 'close', 'silence')),
    target TEXT NOT NULL, body TEXT, created REAL NOT NULL);
CREATE TABLE applied (
    operator INTEGER NOT NULL REFERENCES operator (seq) ON DELETE CASCADE, stream TEXT NOT NULL,
    position INTEGER NOT NULL, PRIMARY KEY (operator, stream)) WITHOUT ROWID;
INSERT OR IGNORE INTO operator SELECT * FROM decided;
INSERT OR IGNORE INTO applied SELECT * FROM was WHERE operator IN (SELECT seq FROM operator);
DROP TABLE decided;
DROP TABLE was;
-- When the receiver first refused a message.
ALTER TABLE outbox ADD COLUMN since REAL;
-- Deleted when they are old.
CREATE INDEX outbox_done ON outbox (time) WHERE state IN ('sent', 'discarded');
-- A checkpoint as it was last written whole, and what changed since then, in pages that keep
-- their size. The last page stands beside the position: a commit then writes this one.
CREATE TABLE pages (
    stream TEXT NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (stream, n));
