"""`python -m bib_watcher`: the service alone."""

import sys

from shared.runtime.service import main

sys.exit(main("bib-watcher"))
