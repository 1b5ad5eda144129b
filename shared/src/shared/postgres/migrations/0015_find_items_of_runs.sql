-- A replay of the whole archive has tens of thousands of items: whether all of a run are finished is asked by run.
CREATE INDEX replay_items_of_run ON hub.replay_items (run_id);
