-- Which message told it: `hub explain` follows a change from the request to what was published.
ALTER TABLE hub.change_batches ADD COLUMN message_id uuid;
ALTER TABLE hub.bib_history ADD COLUMN message_id uuid;
