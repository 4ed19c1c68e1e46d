-- Rows as they were judged, of neighbouring entities of a commit together. The oldest are removed.
-- No index beside the key: each would be one more page that every commit writes.
CREATE TABLE traces (
    n INTEGER PRIMARY KEY, stream TEXT NOT NULL, low TEXT NOT NULL, high TEXT NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, body BLOB NOT NULL) STRICT;
-- How far each entity is.
CREATE TABLE streams (
    name TEXT NOT NULL PRIMARY KEY, stream TEXT NOT NULL, seq INTEGER NOT NULL, time REAL NOT NULL,
    rows INTEGER NOT NULL, judged INTEGER NOT NULL, p REAL, alpha REAL) STRICT, WITHOUT ROWID;
