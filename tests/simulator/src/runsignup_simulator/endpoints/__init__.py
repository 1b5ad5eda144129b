"""One module per method of the API: plain functions from a question to an answer."""
