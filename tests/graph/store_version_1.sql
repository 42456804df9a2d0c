-- A graph store as version 1 wrote it. Later versions must open it; never change this file.
BEGIN TRANSACTION;
CREATE TABLE failures (
            id INTEGER PRIMARY KEY,
            user_id TEXT NOT NULL,
            stage TEXT NOT NULL,
            message TEXT NOT NULL,
            request TEXT NOT NULL,
            wave INTEGER NOT NULL
        );
INSERT INTO "failures" VALUES(1,'v','chained','refused','b2:r',0);
CREATE TABLE graphs (
            user_id TEXT PRIMARY KEY,
            history TEXT NOT NULL,
            recipe TEXT NOT NULL,
            wave INTEGER NOT NULL,
            nodes INTEGER NOT NULL,
            rejected INTEGER NOT NULL,
            edges INTEGER NOT NULL,
            hash TEXT NOT NULL,
            document BLOB NOT NULL
        );
INSERT INTO "graphs" VALUES('u','b2:h','b2:recipe',0,2,0,1,'b2:625e9b05d336da94da697fc45b396416',X'789C5D8FD10AC2300C457F45EE73189DE24BDFFC8E3246DDA22BCE7536AD20E2BFDB750AE24B724872939B27ACB4FE045D13B83FB3401B0317F9AA150881ADF8A9A0A479F6210A9A863038893E3CA071DCEA217727DFFF6B17C8E90052040BAA2B45531AC7121A32BFCB57CC30BA0BCBA668CAACAAF62B98E5D2ED5B6F1613813B37F3EAE1C3D96637F0D5B6770EE2F2C6E5AF6813B4AA7684241C5AD76749C2EB0D21784D9B');
CREATE TABLE knowledge (
            scope TEXT NOT NULL,
            key TEXT NOT NULL,
            wave INTEGER NOT NULL,
            hash TEXT NOT NULL,
            document BLOB NOT NULL,
            PRIMARY KEY (scope, key, wave)
        );
INSERT INTO "knowledge" VALUES('s','k',0,'b2:d409cf47f4df547cf2a65b3844d8916b',X'789CAB56CA53B232AC0500086B0216');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('dataset','"toy"');
CREATE TABLE waves (wave INTEGER PRIMARY KEY);
INSERT INTO "waves" VALUES(0);
CREATE INDEX failures_by_user ON failures (user_id);
COMMIT;
PRAGMA application_id = 1280068935;
PRAGMA user_version = 1;
