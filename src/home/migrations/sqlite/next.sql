-- Of the version after this one, as the tests of an upgrade have it: a column of the busiest table, an index, a table.
ALTER TABLE running ADD COLUMN next INTEGER NOT NULL DEFAULT 0;
CREATE INDEX build_next ON build (item, started_at);
CREATE TABLE next (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
