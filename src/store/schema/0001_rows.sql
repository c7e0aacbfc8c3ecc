-- 0001_rows.sql - rows as they come from their owners, and the audit of their changes.

-- "WEIR": tells file(1) and us whose database this is.
PRAGMA application_id = 0x57454952;

-- With a rowid, since bodies are longer than an inner page of a tree should carry.
CREATE TABLE rows (
    tbl  TEXT NOT NULL,
    key  TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tbl, key)
) STRICT;

-- AUTOINCREMENT: a number is never given twice, even after the newest rows were trimmed.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms  INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT NOT NULL,
    after  TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_target ON audit (target, number);
CREATE INDEX audit_by_time ON audit (at_ms);
