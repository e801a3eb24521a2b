"""`python -m engage.demo`: what `make demo` runs. With arguments, it is `manage.py` on the demo's data (`make manage`)."""

import sys

from engage.demo.launcher import main, manage

sys.exit(manage(sys.argv[1:]) if sys.argv[1:] else main())
