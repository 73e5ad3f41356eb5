"""``python -m checks``: all checks of ``make check``, or those that are named."""

import sys

from checks.check import main

sys.exit(main(sys.argv[1:]))
