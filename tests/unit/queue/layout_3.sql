-- A queue of layout 3, with the rows of that of layout 1: `connect` migrates it.
BEGIN TRANSACTION;
CREATE TABLE attempts (
    attempt TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    job_id TEXT NOT NULL,
    pack_size INTEGER NOT NULL,
    worker TEXT NOT NULL,               -- JSON: where it ran
    started_at TEXT NOT NULL,
    ended_at TEXT,
    exit_reason TEXT,
    counts INTEGER NOT NULL DEFAULT 0,  -- whether it counts as a failure of the cell
    message TEXT
);
INSERT INTO "attempts" VALUES('00000000000000000000000000000001','355533a97a765987','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:01+00:00','2026-01-31T12:00:06+00:00','succeeded',0,NULL);
INSERT INTO "attempts" VALUES('00000000000000000000000000000002','8f0e077d52dda78a','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:02+00:00','2026-01-31T12:00:07+00:00','failed',0,'ValueError: the loss is not finite');
INSERT INTO "attempts" VALUES('00000000000000000000000000000003','60db1acaf663f69d','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:03+00:00','2026-01-31T12:00:08+00:00','coordinator lost',0,'the coordinator ended');
INSERT INTO "attempts" VALUES('00000000000000000000000000000004','4953cf91ed916279','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:04+00:00','2026-01-31T12:00:09+00:00','coordinator lost',0,'the coordinator ended');
INSERT INTO "attempts" VALUES('00000000000000000000000000000005','6dc155b590a94d01','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:05+00:00','2026-01-31T12:00:10+00:00','coordinator lost',0,'the coordinator ended');
INSERT INTO "attempts" VALUES('00000000000000000000000000000006','60db1acaf663f69d','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:11+00:00','2026-01-31T12:00:12+00:00','interrupted',0,'the service was stopped');
INSERT INTO "attempts" VALUES('00000000000000000000000000000007','60db1acaf663f69d','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:13+00:00',NULL,NULL,0,NULL);
INSERT INTO "attempts" VALUES('00000000000000000000000000000008','4953cf91ed916279','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:14+00:00','2026-01-31T12:00:15+00:00','died',1,'out of memory');
INSERT INTO "attempts" VALUES('00000000000000000000000000000009','4953cf91ed916279','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:16+00:00','2026-01-31T12:00:17+00:00','expired',1,'no word for a lease');
INSERT INTO "attempts" VALUES('0000000000000000000000000000000a','4953cf91ed916279','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:18+00:00','2026-01-31T12:00:19+00:00','node lost',0,'its node went');
INSERT INTO "attempts" VALUES('0000000000000000000000000000000b','4953cf91ed916279','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:20+00:00','2026-01-31T12:00:21+00:00','died',1,'killed');
INSERT INTO "attempts" VALUES('0000000000000000000000000000000c','6dc155b590a94d01','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:22+00:00','2026-01-31T12:00:23+00:00','died',1,'killed');
INSERT INTO "attempts" VALUES('0000000000000000000000000000000d','6dc155b590a94d01','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:24+00:00','2026-01-31T12:00:25+00:00','node lost',0,'its node went');
INSERT INTO "attempts" VALUES('0000000000000000000000000000000e','6dc155b590a94d01','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:26+00:00','2026-01-31T12:00:37+00:00','interrupted',0,'the service was stopped');
INSERT INTO "attempts" VALUES('0000000000000000000000000000000f','a7657e9c35c9de8e','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:27+00:00','2026-01-31T12:00:38+00:00','interrupted',0,'the service was stopped');
INSERT INTO "attempts" VALUES('00000000000000000000000000000010','739c4b55f74b4762','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:28+00:00','2026-01-31T12:00:39+00:00','succeeded',0,NULL);
INSERT INTO "attempts" VALUES('00000000000000000000000000000011','870228e91587b0c4','grid',3,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:29+00:00','2026-01-31T12:00:32+00:00','died',0,'killed');
INSERT INTO "attempts" VALUES('00000000000000000000000000000012','6a576ca93e44368b','grid',3,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:30+00:00','2026-01-31T12:00:33+00:00','died',0,'killed');
INSERT INTO "attempts" VALUES('00000000000000000000000000000013','fd158c54be145fcc','grid',3,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:31+00:00','2026-01-31T12:00:34+00:00','died',0,'killed');
INSERT INTO "attempts" VALUES('00000000000000000000000000000014','870228e91587b0c4','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:35+00:00','2026-01-31T12:00:36+00:00','died',1,'killed');
INSERT INTO "attempts" VALUES('00000000000000000000000000000015','6dc155b590a94d01','grid',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:41+00:00','2026-01-31T12:00:42+00:00','interrupted',0,'the service was stopped');
INSERT INTO "attempts" VALUES('00000000000000000000000000000016','b3ba57db220f4f27','stopped',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:43+00:00','2026-01-31T12:00:47+00:00','cancelled',0,'no job wants the cell any more');
INSERT INTO "attempts" VALUES('00000000000000000000000000000017','e8832c32878c9b79','stopped',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:44+00:00','2026-01-31T12:00:45+00:00','succeeded',0,NULL);
INSERT INTO "attempts" VALUES('00000000000000000000000000000018','355533a97a765987','again',1,'{"host": "here", "device": "cpu", "torch_version": "2.11", "node": "node-1", "process": 123}','2026-01-31T12:00:49+00:00',NULL,NULL,0,NULL);
CREATE TABLE cells (
    key TEXT PRIMARY KEY,
    spec TEXT NOT NULL,                 -- JSON of the Cell
    label TEXT NOT NULL,
    stream TEXT NOT NULL,
    needs TEXT NOT NULL,                -- JSON
    cost REAL NOT NULL,
    state TEXT NOT NULL,
    job INTEGER,                        -- the job it is trained for: of those that want it, the
    priority INTEGER NOT NULL,          -- one with the highest priority, then the oldest
    isolated INTEGER NOT NULL DEFAULT 0, -- its pack's worker died: it is tried in a pack of its own
    exhausted INTEGER NOT NULL DEFAULT 0, -- no retries are left; its failure is to be stored
    attempt TEXT,                       -- the current attempt while it runs, else the last one
    failures INTEGER NOT NULL DEFAULT 0, -- ends that count, since a client last queued it
    requeues INTEGER NOT NULL DEFAULT 0, -- ends that do not count
    node_losses INTEGER NOT NULL DEFAULT 0, -- those of the requeues whose node was lost
    checkpoint_attempt TEXT,            -- the attempt whose checkpoint it resumes from
    checkpoint_step INTEGER,
    since INTEGER NOT NULL,             -- only results accepted after this (us) are its result
    has_result INTEGER NOT NULL DEFAULT 0, -- it has succeeded before; also while it is retrained
    test_error REAL,                    -- percent, of the last success; null if it was not tested
    error TEXT,                         -- why it failed, one line
    changed INTEGER NOT NULL            -- number of its last change, counted over all cells
, evaluates TEXT, weights_attempt TEXT, waiting INTEGER NOT NULL DEFAULT 0);
INSERT INTO "cells" VALUES('355533a97a765987','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":0,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed0','(''digits'', ''R'', ''plain'', 28, 0, 16)','{}',1.0,'running',4,2,0,0,'00000000000000000000000000000018',0,0,0,'00000000000000000000000000000018',1,5,1,5.0,NULL,49,NULL,NULL,0);
INSERT INTO "cells" VALUES('8f0e077d52dda78a','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":1,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed1','(''digits'', ''R'', ''plain'', 28, 1, 16)','{}',1.0,'failed',1,0,0,0,'00000000000000000000000000000002',0,0,0,NULL,NULL,1,0,NULL,'ValueError: the loss is not finite',8,NULL,NULL,0);
INSERT INTO "cells" VALUES('60db1acaf663f69d','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":2,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed2','(''digits'', ''R'', ''plain'', 28, 2, 16)','{}',1.0,'running',1,0,0,0,'00000000000000000000000000000007',0,2,0,'00000000000000000000000000000007',8,1,0,NULL,NULL,14,NULL,NULL,0);
INSERT INTO "cells" VALUES('4953cf91ed916279','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":3,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed3','(''digits'', ''R'', ''plain'', 28, 3, 16)','{}',1.0,'queued',1,0,0,1,'0000000000000000000000000000000b',3,2,1,NULL,NULL,1,0,NULL,NULL,22,NULL,NULL,0);
INSERT INTO "cells" VALUES('6dc155b590a94d01','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":4,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed4','(''digits'', ''R'', ''plain'', 28, 4, 16)','{}',1.0,'queued',1,0,0,0,'00000000000000000000000000000015',1,4,1,'00000000000000000000000000000005',6,1,0,NULL,NULL,43,NULL,NULL,0);
INSERT INTO "cells" VALUES('a7657e9c35c9de8e','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":5,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed5','(''digits'', ''R'', ''plain'', 28, 5, 16)','{}',1.0,'queued',4,2,0,0,'0000000000000000000000000000000f',0,1,0,NULL,NULL,1,0,NULL,NULL,39,NULL,NULL,0);
INSERT INTO "cells" VALUES('739c4b55f74b4762','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":6,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed6','(''digits'', ''R'', ''plain'', 28, 6, 16)','{}',1.0,'queued',3,-1,0,0,'00000000000000000000000000000010',0,0,0,NULL,NULL,5,1,5.0,NULL,48,NULL,NULL,0);
INSERT INTO "cells" VALUES('870228e91587b0c4','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":20,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":0},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed20','(''digits'', ''R'', ''plain'', 28, 20, 16)','{}',1.0,'queued',1,0,1,0,'00000000000000000000000000000014',1,1,0,NULL,NULL,1,0,NULL,NULL,37,NULL,NULL,0);
INSERT INTO "cells" VALUES('6a576ca93e44368b','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":20,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed20','(''digits'', ''R'', ''plain'', 28, 20, 16)','{}',1.0,'queued',1,0,1,0,'00000000000000000000000000000012',0,1,0,NULL,NULL,1,0,NULL,NULL,34,NULL,NULL,0);
INSERT INTO "cells" VALUES('fd158c54be145fcc','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":20,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":2},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed20','(''digits'', ''R'', ''plain'', 28, 20, 16)','{}',1.0,'queued',1,0,1,0,'00000000000000000000000000000013',0,1,0,NULL,NULL,1,0,NULL,NULL,35,NULL,NULL,0);
INSERT INTO "cells" VALUES('b3ba57db220f4f27','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":10,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed10','(''digits'', ''R'', ''plain'', 28, 10, 16)','{}',1.0,'cancelled',NULL,0,0,0,'00000000000000000000000000000016',0,0,0,'00000000000000000000000000000016',3,4,0,NULL,NULL,47,NULL,NULL,0);
INSERT INTO "cells" VALUES('e8832c32878c9b79','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":11,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed11','(''digits'', ''R'', ''plain'', 28, 11, 16)','{}',1.0,'succeeded',2,0,0,0,'00000000000000000000000000000017',0,0,0,NULL,NULL,4,1,5.0,NULL,46,NULL,NULL,0);
INSERT INTO "cells" VALUES('4ad3fb62f056fac9','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":12,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed12','(''digits'', ''R'', ''plain'', 28, 12, 16)','{}',1.0,'cancelled',NULL,0,0,0,NULL,0,0,0,NULL,NULL,4,0,NULL,NULL,47,NULL,NULL,0);
INSERT INTO "cells" VALUES('4eff75a18620e11d','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":40,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed40','(''digits'', ''R'', ''plain'', 28, 40, 16)','{}',1.0,'queued',3,-1,0,0,NULL,0,0,0,NULL,NULL,5,0,NULL,NULL,48,NULL,NULL,0);
INSERT INTO "cells" VALUES('73f9173f2b6e9747','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":30,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":null,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed30','(''digits'', ''R'', ''plain'', 28, 30, 16)','{}',1.0,'succeeded',4,2,0,0,'ffffffffffffffffffffffffffffffff',0,0,0,NULL,NULL,5,1,NULL,NULL,50,NULL,NULL,0);
INSERT INTO "cells" VALUES('330c089476e2b282','{"model":"CNN","transform":"none","distortion":"R","variant":"plain","canvas":28,"seed":50,"dataset":"digits","recipe":"smoke","settings":{"iterations":8,"batch_size":16,"recipe":"smoke"},"revisions":{"model:CNN":1},"plugins":[],"cost":1.0,"needs":{"num_cpus":null,"num_gpus":1.0,"accelerator_type":null,"resources":{}}}','CNN/none/R/seed50','(''digits'', ''R'', ''plain'', 28, 50, 16)','{"num_gpus":1.0}',1.0,'queued',4,2,0,0,NULL,0,0,0,NULL,NULL,5,0,NULL,NULL,50,NULL,NULL,0);
CREATE TABLE job_cells (                -- the cells that each job wants
    job INTEGER NOT NULL,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    recipe TEXT NOT NULL,               -- the job's name for it
    stored INTEGER NOT NULL,            -- whether it had a result when the job was submitted
    pending INTEGER NOT NULL,           -- whether the job still waits for it
    cancelled INTEGER NOT NULL DEFAULT 0, -- whether the job was cancelled before it ended
    PRIMARY KEY (job, position)
) WITHOUT ROWID;
INSERT INTO "job_cells" VALUES(1,0,'355533a97a765987','smoke',0,0,0);
INSERT INTO "job_cells" VALUES(1,1,'8f0e077d52dda78a','smoke',0,0,0);
INSERT INTO "job_cells" VALUES(1,2,'60db1acaf663f69d','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(1,3,'4953cf91ed916279','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(1,4,'6dc155b590a94d01','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(1,5,'a7657e9c35c9de8e','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(1,6,'739c4b55f74b4762','smoke',0,0,0);
INSERT INTO "job_cells" VALUES(1,7,'870228e91587b0c4','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(1,8,'6a576ca93e44368b','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(1,9,'fd158c54be145fcc','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(2,0,'b3ba57db220f4f27','smoke',0,0,1);
INSERT INTO "job_cells" VALUES(2,1,'e8832c32878c9b79','smoke',0,0,0);
INSERT INTO "job_cells" VALUES(2,2,'4ad3fb62f056fac9','smoke',0,0,1);
INSERT INTO "job_cells" VALUES(3,0,'355533a97a765987','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(3,1,'739c4b55f74b4762','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(3,2,'4eff75a18620e11d','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(4,0,'a7657e9c35c9de8e','mine',0,1,0);
INSERT INTO "job_cells" VALUES(4,1,'355533a97a765987','smoke',0,1,0);
INSERT INTO "job_cells" VALUES(4,2,'73f9173f2b6e9747','smoke',1,0,0);
INSERT INTO "job_cells" VALUES(4,3,'330c089476e2b282','smoke',0,1,0);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,         -- in the order of submission
    job_id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,               -- hash of everything that was submitted
    config TEXT NOT NULL,               -- JSON
    folder TEXT,
    force INTEGER NOT NULL,
    priority INTEGER NOT NULL,          -- higher priorities go first
    submitted_at TEXT NOT NULL,         -- UTC
    cancelled_at TEXT,
    recorded INTEGER NOT NULL DEFAULT 0 -- whether the store has the job's record
);
INSERT INTO "jobs" VALUES(1,'grid','8fe22c01d7a2c6d98e8a98445acc2e41','{"name": "grid"}','/configs',0,0,'2026-01-31T12:00:00+00:00',NULL,1);
INSERT INTO "jobs" VALUES(2,'stopped','633e4a6d1e4ec168ebf04cd55dbe1771','{}',NULL,0,0,'2026-01-31T12:00:40+00:00','2026-01-31T12:00:46+00:00',0);
INSERT INTO "jobs" VALUES(3,'again','d0503b52a7cd4b5644545ace001b1d69','{}',NULL,1,-1,'2026-01-31T12:00:48+00:00',NULL,0);
INSERT INTO "jobs" VALUES(4,'mine','948dac25bf46d49d9f7b5860958f3016','{}',NULL,0,2,'2026-01-31T12:00:50+00:00',NULL,1);
CREATE INDEX cells_to_claim ON cells (needs, priority DESC, job, evaluates IS NOT NULL, cost DESC)
    WHERE state = 'queued' AND NOT exhausted AND NOT waiting;
CREATE INDEX cells_by_stream ON cells (stream, job, needs, cost DESC)
    WHERE state = 'queued' AND NOT exhausted AND NOT waiting AND NOT isolated;
CREATE INDEX cells_running ON cells (attempt) WHERE state = 'running';
CREATE INDEX cells_exhausted ON cells (key) WHERE exhausted;
CREATE INDEX cells_changed ON cells (changed);
CREATE INDEX cells_evaluated ON cells (evaluates) WHERE evaluates IS NOT NULL;
CREATE INDEX job_cells_by_key ON job_cells (key);
CREATE INDEX attempts_by_key ON attempts (key, started_at);
CREATE INDEX attempts_open ON attempts (key) WHERE ended_at IS NULL;
COMMIT;
PRAGMA user_version = 3;
