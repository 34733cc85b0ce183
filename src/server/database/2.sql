-- The cards of machines that had a job on this server, registered or not. They stay when a machine is deleted: what had a
-- job once does not get another one by its model.
CREATE TABLE cards_with_jobs (
    mac TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO cards_with_jobs SELECT mac FROM cards WHERE machine IN (SELECT machine FROM jobs);
INSERT OR IGNORE INTO cards_with_jobs
    SELECT card.value FROM jobs JOIN sessions ON sessions.id = jobs.session, json_each(sessions.inventory, '$.macs') AS card;

-- A session is forgotten in a day; the job still says which card an unregistered machine had.
INSERT OR IGNORE INTO cards_with_jobs SELECT substr(machine_name, 14) FROM jobs WHERE machine_name LIKE 'unregistered %';

-- What else tells a machine apart that comes back with another card: serial number and UUID together, as it says them.
CREATE TABLE identities_with_jobs (
    serial TEXT NOT NULL,
    uuid TEXT NOT NULL,
    PRIMARY KEY (serial, uuid)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO identities_with_jobs
    SELECT trim(inventory ->> '$.serial'), lower(trim(inventory ->> '$.uuid')) FROM machines
    WHERE id IN (SELECT machine FROM jobs) AND inventory ->> '$.serial' IS NOT NULL AND inventory ->> '$.uuid' IS NOT NULL;

-- Profiles for models were made here when nothing began by itself: nothing does before somebody says so.
INSERT INTO settings (only, body) SELECT 1, '{"model_match": false}'
    WHERE EXISTS (SELECT 1 FROM profiles WHERE match_kind IS NOT NULL)
    ON CONFLICT (only) DO UPDATE SET body = json_set(body, '$.model_match', json('false'));

-- The card that a session's machine booted from: what it said of itself counts more than what its boot loader says.
ALTER TABLE sessions ADD COLUMN card TEXT;
UPDATE sessions SET card = json_extract(inventory, '$.macs[0]');
CREATE INDEX sessions_of_card ON sessions (card);
