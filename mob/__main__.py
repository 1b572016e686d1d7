"""`python -m mob` is `mob`."""

import sys

from mob.cli.main import main

sys.exit(main())
