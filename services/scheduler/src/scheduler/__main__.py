"""`python -m scheduler`: the service alone."""

import sys

from shared.runtime.service import main

sys.exit(main("scheduler"))
