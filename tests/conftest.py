"""Property tests draw new examples at each run, except in continuous integration, where they draw the same ones.

A run that decides whether a change lands must give the same answer twice. New cases are found by running the suite by
hand; each that is found becomes an `@example` of its test, or a test of its own.
"""

import os

from hypothesis import settings

settings.register_profile("same-again", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("same-again")
