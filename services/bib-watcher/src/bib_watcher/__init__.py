"""Bib-watcher: turns participant diffs into bib events, with history, and asks again where bibs moved."""
