"""The two ways to the same scores: disentanglement_lib itself, and encode once, compute fast."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np

from evaluator import lookup, metrics
from evaluator.codes import Codes, why_no_table
from evaluator.fast_metrics import FAST
from evaluator.ground_truth import GroundTruth
from evaluator.metrics import Metric, Result
from evaluator.representations import Representation
from submission.errors import UserError


class Score(Protocol):
    """Computes one metric of one representation."""

    def __call__(
        self, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
    ) -> Result:
        """Scores; see `metrics.run` for the arguments and errors."""


def prepare(
    engine: str, ground_truth: GroundTruth, representation: Representation
) -> tuple[str, Score, list[str]]:
    """Readies an engine for a representation; its codes are kept from one metric to the next.

    Args:
        engine: One of `metrics.ENGINES`.
        ground_truth: The data set.
        representation: What is scored.

    Returns:
        The engine that scores, the function, and warnings: the representation's own, and where its
        codes are no function of the image: `fast` can't score it, and `reference` does.

    Raises:
        UserError: The representation fails on a batch.
    """
    reference = partial(_reference, ground_truth, representation)
    warnings = list(representation.warnings)
    if engine == "reference":
        return engine, reference, warnings
    reason = why_no_table(ground_truth, representation)
    if reason is None:
        return engine, partial(_fast, Codes(ground_truth, representation)), warnings
    warnings.append(
        f"{reason}: scored by disentanglement_lib itself, which can take half an hour "
        "(--preset quick draws smaller samples)"
    )
    return "reference", reference, warnings


def _reference(
    ground_truth: GroundTruth,
    representation: Representation,
    metric: Metric,
    seed: int,
    preset: str,
    bindings: Sequence[str] = (),
) -> Result:
    return metrics.run(metric, ground_truth, representation, seed, preset, bindings)


def _fast(
    codes: Codes, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
) -> Result:
    if metric.computation not in FAST:
        return lookup.score(codes, metric, seed, preset, bindings)
    values = metrics.settings(metric, preset, bindings)
    arguments = {name.split(".")[1]: value for name, value in values.items()}
    with metrics.counted_warnings() as caught:
        start = time.perf_counter()
        computed = FAST[metric.computation](codes, seed, **arguments)
        seconds = time.perf_counter() - start
    if not all(np.isfinite(value) for value in computed.values()):
        raise UserError(
            f"{metric.name} of {codes.representation.path} is {computed}: "
            "are the codes too large for their type?"
        )
    bound = {name: repr(value) for name, value in values.items()}
    if "discretizer.num_bins" in bound:
        bound["discretizer.discretizer_fn"] = "@histogram_discretizer"
    gin_config = "\n".join(f"{name} = {value}" for name, value in sorted(bound.items()))
    score = float(computed[metric.score])
    return Result(metric, score, computed, seconds, gin_config, caught)
