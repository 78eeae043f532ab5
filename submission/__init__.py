"""Time-budgeted training of a disentangled representation, and its export for the challenge."""

import sys

from submission.packages import tell_missing

# What `python -m` puts there while it looks for the module, whose packages may import others first.
if sys.argv[:1] == ["-m"]:
    tell_missing()
