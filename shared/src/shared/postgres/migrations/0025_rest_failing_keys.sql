-- A key whose calls fail one after the other rests between them, so that trying does not spend the hour.
ALTER TABLE hub.provider_keys ADD COLUMN failures integer NOT NULL DEFAULT 0; -- in a row
