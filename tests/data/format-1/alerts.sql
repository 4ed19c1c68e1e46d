BEGIN TRANSACTION;
CREATE TABLE applied (
    operator INTEGER NOT NULL REFERENCES operator (seq), stream TEXT NOT NULL,
    position INTEGER NOT NULL, PRIMARY KEY (operator, stream)) WITHOUT ROWID;
INSERT INTO "applied" VALUES(1,'rig',119);
INSERT INTO "applied" VALUES(2,'rig',119);
CREATE TABLE checkpoints (
    stream TEXT PRIMARY KEY, position INTEGER NOT NULL, state BLOB NOT NULL);
INSERT INTO "checkpoints" VALUES('rig',119,X'E8000000000000007B2230223A7B226474797065223A22493634222C227368617065223A5B335D2C22646174615F6F666673657473223A5B302C32345D7D2C2231223A7B226474797065223A22463634222C227368617065223A5B335D2C22646174615F6F666673657473223A5B32342C34385D7D2C2232223A7B226474797065223A22463634222C227368617065223A5B332C335D2C22646174615F6F666673657473223A5B34382C3132305D7D2C2274726565223A7B226474797065223A225538222C227368617065223A5B3736345D2C22646174615F6F666673657473223A5B3132302C3838345D7D7D20202000000000000000000100000000000000020000000000000000000040FC54D94100004040FC54D94100008040FC54D941000000000000F03F000000000000000000000000000000000000000000000000000000000000F03F000000000000000000000000000000000000000000000000000000000000F03F7B226D6F64656C223A20312C20226D616E61676572223A207B22747261636B73223A207B22726967223A207B22726563656E74223A205B5D2C2022696E636964656E74223A206E756C6C2C20227175696574223A20312C20226E223A20332C202273746F7265645F6174223A20313730303030303032302E302C20226E6F7469666965645F6174223A20313730303030303032302E302C2022636F6F6C5F756E74696C223A20313730303030303632302E302C2022636F6F6C5F7365766572697479223A2022637269746963616C227D2C202270756D70223A207B22726563656E74223A205B5D2C2022696E636964656E74223A207B226964223A202270756D707C636F6D62696E65647C30222C202273747265616D223A202270756D70222C20227374617274223A20302C2022656E64223A203130392C20226F70656E65645F6174223A20313730303030303030302E302C20226C6173745F6174223A20313730303030303031302E302C2022636C6F7365645F6174223A206E756C6C2C20227365766572697479223A2022637269746963616C222C20227065616B5F73636F7265223A20302E39352C20226E5F77696E646F7773223A20322C2022746F705F6665617475726573223A205B5B2274656D70222C20302E375D2C205B227072657373757265222C20302E325D5D2C20227374617465223A20226F70656E222C202261636B6E6F776C6564676564223A2066616C73657D2C20227175696574223A20302C20226E223A20322C202273746F7265645F6174223A20313730303030303031302E302C20226E6F7469666965645F6174223A20313730303030303030302E302C2022636F6F6C5F756E74696C223A206E756C6C2C2022636F6F6C5F7365766572697479223A2022696E666F227D7D2C202273696C656E636573223A205B5D7D2C202270726F636573736F72223A207B22736571223A207B226172726179223A202230227D2C202274696D65223A207B226172726179223A202231227D2C202276616C756573223A207B226172726179223A202232227D7D7D');
INSERT INTO "checkpoints" VALUES('pump',109,X'7374617465');
CREATE TABLE events (
    incident TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE, n INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, time REAL NOT NULL, notify INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (incident, n)) WITHOUT ROWID;
INSERT INTO "events" VALUES('pump|combined|0',0,'pump|combined|0|open|0','open',1700000000.0,1,'{"kind":"open","incident":{"id":"pump|combined|0","stream":"pump","start":0,"end":99,"opened_at":1700000000.0,"last_at":1700000000.0,"closed_at":null,"severity":"critical","peak_score":0.95,"n_windows":1,"top_features":[["temp",0.7],["pressure",0.2]],"state":"open","acknowledged":false},"time":1700000000.0,"notify":true,"n":0}');
INSERT INTO "events" VALUES('pump|combined|0',1,'pump|combined|0|update|1','update',1700000010.0,0,'{"kind":"update","incident":{"id":"pump|combined|0","stream":"pump","start":0,"end":109,"opened_at":1700000000.0,"last_at":1700000010.0,"closed_at":null,"severity":"critical","peak_score":0.95,"n_windows":2,"top_features":[["temp",0.7],["pressure",0.2]],"state":"open","acknowledged":false},"time":1700000010.0,"notify":false,"n":1}');
INSERT INTO "events" VALUES('rig|combined|0',0,'rig|combined|0|open|0','open',1700000000.0,1,'{"kind":"open","incident":{"id":"rig|combined|0","stream":"rig","start":0,"end":99,"opened_at":1700000000.0,"last_at":1700000000.0,"closed_at":null,"severity":"critical","peak_score":0.95,"n_windows":1,"top_features":[["temp",0.7],["pressure",0.2]],"state":"open","acknowledged":false},"time":1700000000.0,"notify":true,"n":0}');
INSERT INTO "events" VALUES('rig|combined|0',1,'rig|combined|0|update|1','update',1700000010.0,0,'{"kind":"update","incident":{"id":"rig|combined|0","stream":"rig","start":0,"end":109,"opened_at":1700000000.0,"last_at":1700000010.0,"closed_at":null,"severity":"critical","peak_score":0.95,"n_windows":2,"top_features":[["temp",0.7],["pressure",0.2]],"state":"open","acknowledged":false},"time":1700000010.0,"notify":false,"n":1}');
INSERT INTO "events" VALUES('rig|combined|0',2,'rig|combined|0|close|2','close',1700000020.0,1,'{"kind":"close","incident":{"id":"rig|combined|0","stream":"rig","start":0,"end":109,"opened_at":1700000000.0,"last_at":1700000010.0,"closed_at":1700000020.0,"severity":"critical","peak_score":0.95,"n_windows":2,"top_features":[["temp",0.7],["pressure",0.2]],"state":"closed","acknowledged":false},"time":1700000020.0,"notify":true,"n":2}');
CREATE TABLE incidents (
    id TEXT PRIMARY KEY, stream TEXT NOT NULL, opened_at REAL NOT NULL, closed_at REAL,
    severity TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    acknowledged INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "incidents" VALUES('pump|combined|0','pump',1700000000.0,NULL,'critical','open',1,'{"id":"pump|combined|0","stream":"pump","start":0,"end":109,"opened_at":1700000000.0,"last_at":1700000010.0,"closed_at":null,"severity":"critical","peak_score":0.95,"n_windows":2,"top_features":[["temp",0.7],["pressure",0.2]],"state":"open","acknowledged":false}');
INSERT INTO "incidents" VALUES('rig|combined|0','rig',1700000000.0,1700000020.0,'critical','closed',0,'{"id":"rig|combined|0","stream":"rig","start":0,"end":109,"opened_at":1700000000.0,"last_at":1700000010.0,"closed_at":1700000020.0,"severity":"critical","peak_score":0.95,"n_windows":2,"top_features":[["temp",0.7],["pressure",0.2]],"state":"closed","acknowledged":false}');
CREATE TABLE operator (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL
        CHECK (kind IN ('acknowledge', 'silence')),
    target TEXT NOT NULL, body TEXT, created REAL NOT NULL);
INSERT INTO "operator" VALUES(1,'silence','night','{"id":"night","until":1700003600.0,"stream":"rig*","severity":"warning","feature":"*"}',1.79605579954156064984e+09);
INSERT INTO "operator" VALUES(2,'silence','forever','{"id":"forever","until":null,"stream":"*","severity":"critical","feature":"*"}',1.79605579954889845849e+09);
INSERT INTO "operator" VALUES(3,'acknowledge','pump|combined|0',NULL,1.7960557995630791187e+09);
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, channel TEXT NOT NULL,
    key TEXT NOT NULL, time REAL NOT NULL, body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sent', 'dead', 'discarded')),
    attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, error TEXT);
INSERT INTO "outbox" VALUES(1,'rig|combined|0|open|0|slack','slack','rig|combined|0',1700000000.0,'{"kind":"open","incident":{"id":"rig|combined|0","stream":"rig","start":0,"end":99,"opened_at":1700000000.0,"last_at":1700000000.0,"closed_at":null,"severity":"critical","peak_score":0.95,"n_windows":1,"top_features":[["temp",0.7],["pressure",0.2]],"state":"open","acknowledged":false},"time":1700000000.0,"notify":true,"n":0}','dead',1,0.0,'HTTP 404');
INSERT INTO "outbox" VALUES(2,'rig|combined|0|close|2|slack','slack','rig|combined|0',1700000020.0,'{"kind":"close","incident":{"id":"rig|combined|0","stream":"rig","start":0,"end":109,"opened_at":1700000000.0,"last_at":1700000010.0,"closed_at":1700000020.0,"severity":"critical","peak_score":0.95,"n_windows":2,"top_features":[["temp",0.7],["pressure",0.2]],"state":"closed","acknowledged":false},"time":1700000020.0,"notify":true,"n":2}','pending',0,0.0,NULL);
INSERT INTO "outbox" VALUES(3,'pump|combined|0|open|0|slack','slack','pump|combined|0',1700000000.0,'{"kind":"open","incident":{"id":"pump|combined|0","stream":"pump","start":0,"end":99,"opened_at":1700000000.0,"last_at":1700000000.0,"closed_at":null,"severity":"critical","peak_score":0.95,"n_windows":1,"top_features":[["temp",0.7],["pressure",0.2]],"state":"open","acknowledged":false},"time":1700000000.0,"notify":true,"n":0}','pending',0,0.0,NULL);
CREATE TABLE quality (
    stream TEXT NOT NULL, kind TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    body TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (stream, kind, start, end, body)
    ) WITHOUT ROWID;
INSERT INTO "quality" VALUES('rig','gap',5,9,'{"stream":"rig","kind":"gap","start":5,"end":9,"time":1700000000.0,"detail":"5 samples missing"}',1700000000.0);
CREATE TABLE verdicts (
    stream TEXT NOT NULL, end INTEGER NOT NULL, time REAL NOT NULL, severity TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (stream, end)) WITHOUT ROWID;
INSERT INTO "verdicts" VALUES('pump',99,1700000000.0,'critical','{"stream":"pump","start":0,"end":99,"time":1700000000.0,"p_value":0.01,"score":0.95,"severity":"critical","is_anomaly":true,"detectors":{"VAE":0.95},"top_features":[["temp",0.7],["pressure",0.2]]}');
INSERT INTO "verdicts" VALUES('pump',109,1700000010.0,'critical','{"stream":"pump","start":10,"end":109,"time":1700000010.0,"p_value":0.01,"score":0.95,"severity":"critical","is_anomaly":true,"detectors":{"VAE":0.95},"top_features":[["temp",0.7],["pressure",0.2]]}');
INSERT INTO "verdicts" VALUES('rig',99,1700000000.0,'critical','{"stream":"rig","start":0,"end":99,"time":1700000000.0,"p_value":0.01,"score":0.95,"severity":"critical","is_anomaly":true,"detectors":{"VAE":0.95},"top_features":[["temp",0.7],["pressure",0.2]]}');
INSERT INTO "verdicts" VALUES('rig',109,1700000010.0,'critical','{"stream":"rig","start":10,"end":109,"time":1700000010.0,"p_value":0.01,"score":0.95,"severity":"critical","is_anomaly":true,"detectors":{"VAE":0.95},"top_features":[["temp",0.7],["pressure",0.2]]}');
INSERT INTO "verdicts" VALUES('rig',119,1700000020.0,'info','{"stream":"rig","start":20,"end":119,"time":1700000020.0,"p_value":0.01,"score":0.2,"severity":"info","is_anomaly":false,"detectors":{"VAE":0.95},"top_features":[["temp",0.7],["pressure",0.2]]}');
CREATE INDEX verdicts_time ON verdicts (time);
CREATE INDEX incidents_time ON incidents (opened_at);
CREATE INDEX incidents_open ON incidents (id) WHERE state = 'open';
CREATE INDEX quality_time ON quality (time);
CREATE INDEX outbox_head ON outbox (channel, key, seq) WHERE state IN ('pending', 'dead');
CREATE INDEX outbox_due ON outbox (channel, seq, due) WHERE state = 'pending';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('operator',3);
INSERT INTO "sqlite_sequence" VALUES('outbox',3);
COMMIT;
PRAGMA user_version = 1;
