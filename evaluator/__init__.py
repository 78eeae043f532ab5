"""Scores a representation as the NeurIPS 2019 Disentanglement Challenge did."""

import submission  # noqa: F401  (it tells what `python -m` lacks)
