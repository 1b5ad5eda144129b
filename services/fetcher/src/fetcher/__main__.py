"""`python -m fetcher`: the service alone."""

import sys

from shared.runtime.service import main

sys.exit(main("fetcher"))
