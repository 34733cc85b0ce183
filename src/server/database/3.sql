-- Files for deployed volumes, which lie beside this file under their SHA-256.
CREATE TABLE artefacts (
    digest TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    name TEXT NOT NULL,
    added INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a job that has ended put into answer files may have been a password.
UPDATE jobs SET profile = json_set(profile, '$.deploy.answers',
    (SELECT json_group_array(json_set(value, '$.value', '')) FROM json_each(profile, '$.deploy.answers')))
    WHERE state = 'ended' AND json_type(profile, '$.deploy.answers') = 'array';
