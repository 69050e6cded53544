"""Hypothesis profiles (`dev` looks for failures, `ci` repeats them); signals as at a terminal."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# No deadline in either: the machines are shared, and a slow example is no failure.
settings.register_profile("dev", deadline=None, max_examples=60)
settings.register_profile("ci", deadline=None, max_examples=200, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

# A shell starts what runs in its background with SIGINT ignored, and children inherit that: Ctrl-C
# could then not be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
