"""`python -m verifier` is the command line."""

import sys

from verifier.wiring import main

sys.exit(main())
