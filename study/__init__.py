"""The paper's study: many runs, on one machine or several, and what their scores say together."""

import submission  # noqa: F401  (it tells what `python -m` lacks)
