"""`python -m engage.demo`: what `make demo` runs."""

import sys

from engage.demo.launcher import main

sys.exit(main())
