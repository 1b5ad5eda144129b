-- The key that this one takes the place of. Both are in use until this one has listed its races.
ALTER TABLE hub.credentials ADD COLUMN replaces integer;
