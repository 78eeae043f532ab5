"""Scores a representation as the NeurIPS 2019 Disentanglement Challenge did.

    evaluation = evaluator.score(model, "mpi3d_mini")
    evaluation.scores, evaluation.values, evaluation.intervals
    evaluation.write("scratch/mine")

    evaluation = evaluator.score_codes(codes, factors)

What is offered is imported when it is first asked for, since `import evaluator` is the first thing
that every command of this package does.
"""

import submission  # noqa: F401  (it sees to what `python -m` lacks, and to signals, first of all)

# isort: split
from typing import TYPE_CHECKING, Any

from submission.installation import VERSION as __version__

if TYPE_CHECKING:
    from evaluator.evaluation import Evaluation, score
    from evaluator.given_codes import score_codes

__all__ = ["Evaluation", "__version__", "score", "score_codes"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from evaluator import evaluation, given_codes

    return getattr(given_codes if name == "score_codes" else evaluation, name)
