-- An hour may not fit although race day gives way: then the slower paces are asked for at so many times their intervals.
-- Such an hour is kept without race-day work too.
ALTER TABLE hub.key_hours ADD COLUMN slowdown real NOT NULL DEFAULT 1;
