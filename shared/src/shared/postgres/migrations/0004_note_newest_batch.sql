-- Whoever looks at a race's people before locking the race can tell, once it is locked, whether they changed meanwhile.
ALTER TABLE hub.race_sync ADD COLUMN newest_batch_id bigint;
COMMENT ON COLUMN hub.race_sync.newest_batch_id IS
    'The newest batch of changes of this race: as long as it stays the same, nobody was added, changed, removed or restored.';
