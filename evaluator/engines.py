"""The two ways to the same scores: disentanglement_lib itself, and encode once, compute fast."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluator.codes import Codes, why_no_table
from evaluator.ground_truth import GroundTruth
from evaluator.metrics import Metric, Result, reference, settings
from evaluator.metrics.metric import counted_warnings
from evaluator.representations import Representation
from submission.errors import UserError

ENGINES = ("fast", "reference")


class Score(Protocol):
    """Computes one metric of one representation."""

    def __call__(
        self, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
    ) -> Result:
        """Scores; see `metrics.reference.run` for the arguments and errors."""


@dataclass(frozen=True)
class Reference:
    """disentanglement_lib itself, which encodes whatever it draws.

    Attributes:
        ground_truth: The data set.
        representation: What is scored.
    """

    ground_truth: GroundTruth
    representation: Representation

    def __call__(
        self, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
    ) -> Result:
        """Scores; see `metrics.reference.run`."""
        return reference.run(metric, self.ground_truth, self.representation, seed, preset, bindings)


@dataclass(frozen=True)
class Fast:
    """Encodes each image once, for all metrics and seeds.

    Attributes:
        codes: The codes so far.
    """

    codes: Codes

    def __call__(
        self, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
    ) -> Result:
        """Scores; see `metrics.reference.run`."""
        if metric.compute is None:
            return reference.run_on_codes(self.codes, metric, seed, preset, bindings)
        values = settings(metric, preset, bindings)
        arguments = {name.split(".")[1]: value for name, value in values.items()}
        with counted_warnings() as caught:
            start = time.perf_counter()
            computed = metric.compute(self.codes, seed, **arguments)
            seconds = time.perf_counter() - start
        if not all(np.isfinite(value) for value in computed.values()):
            raise UserError(
                f"{metric.name} of {self.codes.representation.path} is {computed}: "
                "are the codes too large for their type?"
            )
        bound = {name: repr(value) for name, value in values.items()}
        if "discretizer.num_bins" in bound:
            bound["discretizer.discretizer_fn"] = "@histogram_discretizer"
        gin_config = "\n".join(f"{name} = {value}" for name, value in sorted(bound.items()))
        score = float(computed[metric.score])
        return Result(metric, score, computed, seconds, gin_config, caught)


def check_installed(engine: str, metrics: Sequence[Metric]) -> None:
    """Refuses what disentanglement_lib itself computes where it isn't installed.

    Args:
        engine: One of `ENGINES`.
        metrics: What will be computed.

    Raises:
        UserError: It is needed and missing.
    """
    if engine == "reference":
        reference.check_installed("the reference engine")
    for metric in metrics:
        if metric.compute is None:
            reference.check_installed(metric.name)


def prepare(
    engine: str, ground_truth: GroundTruth, representation: Representation
) -> tuple[str, Score, list[str]]:
    """Readies an engine for a representation; its codes are kept from one metric to the next.

    Args:
        engine: One of `ENGINES`.
        ground_truth: The data set.
        representation: What is scored.

    Returns:
        The engine that scores, the function, and warnings: the representation's own, and where its
        codes are no function of the image: `fast` can't score it, and `reference` does.

    Raises:
        UserError: The representation fails on a batch.
    """
    slow = Reference(ground_truth, representation)
    warnings = list(representation.warnings)
    if engine == "reference":
        return engine, slow, warnings
    reason = why_no_table(ground_truth, representation)
    if reason is None:
        return engine, Fast(Codes(ground_truth, representation)), warnings
    reference.check_installed(f"{reason}, so that its scoring")
    warnings.append(
        f"{reason}: scored by disentanglement_lib itself, which can take half an hour "
        "(--preset quick draws smaller samples)"
    )
    return "reference", slow, warnings
