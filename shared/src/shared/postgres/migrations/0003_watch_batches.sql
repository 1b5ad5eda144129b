-- The bib-watcher acts on a run's diffs together, once the run is over: batches of different runs become ready in another
-- order than they stand in the feed. So each is marked, instead of one position for all.

ALTER TABLE hub.change_batches ADD COLUMN watched_at timestamptz; -- when the bib-watcher acted on it
UPDATE hub.change_batches SET watched_at = written_at
    WHERE feed_first <= (SELECT feed_id FROM hub.feed_positions WHERE reader = 'bib-watcher');
CREATE INDEX change_batches_unwatched ON hub.change_batches (feed_first)
    WHERE watched_at IS NULL AND feed_first IS NOT NULL;
DROP TABLE hub.feed_positions;
