"""The paper's study: many runs, on one machine or several, and what their scores say together."""

import submission  # noqa: F401  (it sees to what `python -m` lacks, and to signals)
