"""`python -m writer`: the service alone."""

import sys

from shared.runtime.service import main

sys.exit(main("writer"))
