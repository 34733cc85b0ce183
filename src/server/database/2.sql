-- The cards of machines that had a job on this server, registered or not. They stay when a machine is deleted: what had a
-- job once does not get another one by its model.
CREATE TABLE cards_with_jobs (
    mac TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO cards_with_jobs SELECT mac FROM cards WHERE machine IN (SELECT machine FROM jobs);
INSERT OR IGNORE INTO cards_with_jobs
    SELECT card.value FROM jobs JOIN sessions ON sessions.id = jobs.session, json_each(sessions.inventory, '$.macs') AS card;

-- The card that a session's machine booted from: what it said of itself counts more than what its boot loader says.
ALTER TABLE sessions ADD COLUMN card TEXT;
UPDATE sessions SET card = json_extract(inventory, '$.macs[0]');
CREATE INDEX sessions_of_card ON sessions (card);
