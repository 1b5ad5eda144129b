"""Writer: keeps the tables equal to the providers, one transaction a batch, and tells what changed."""
