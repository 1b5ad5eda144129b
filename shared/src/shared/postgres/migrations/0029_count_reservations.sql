-- Who has read a key's use and decided on a call takes it only if nobody else reserved one meanwhile; so no lock is held
-- while anybody reads or decides. (A fetcher from before does not count its calls here: let none run beside a newer one.)
ALTER TABLE hub.provider_keys ADD COLUMN reservations bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN hub.provider_keys.reservations IS
    'Calls ever reserved: as long as it stays the same, no more of the budget is taken than was read.';
