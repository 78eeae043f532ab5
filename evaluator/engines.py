"""The two ways to the same scores: disentanglement_lib itself, and encode once, compute fast."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from evaluator.codes import Codes, why_no_table
from evaluator.ground_truth import GroundTruth
from evaluator.memorisation import Memorisation, probe
from evaluator.metrics import Metric, Result, reference, settings
from evaluator.metrics.metric import counted_warnings
from evaluator.representations import Representation
from submission.datasets import Dataset
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
        arguments = _arguments(values)
        with counted_warnings() as caught:
            start = time.perf_counter()
            computed = metric.compute(self.codes, seed, **arguments)
            seconds = time.perf_counter() - start
        # The constant that stands beside a single latent is none of the model's.
        latents = self.codes.representation.latents
        matrices = {
            name: one[:latents] for name, one in computed.items() if isinstance(one, np.ndarray)
        }
        numbers = {name: one for name, one in computed.items() if not isinstance(one, np.ndarray)}
        if not all(np.isfinite(value) for value in numbers.values()):
            raise UserError(
                f"{metric.name} of {self.codes.representation.path} is {numbers}: "
                "are the codes too large for their type?"
            )
        bound = {name: repr(value) for name, value in values.items()}
        if "discretizer.num_bins" in bound:
            bound["discretizer.discretizer_fn"] = "@histogram_discretizer"
        gin_config = "\n".join(f"{name} = {value}" for name, value in sorted(bound.items()))
        score = float(numbers[metric.score])
        return Result(metric, score, numbers, seconds, gin_config, caught, matrices)


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


@dataclass(frozen=True)
class Prepared:
    """An engine that is ready for one representation.

    Attributes:
        engine: Its name.
        score: Computes a metric.
        seconds: How long encoding took.
        warnings: The representation's own, and what else there is to say.
        memorisation: Whether codes outlast invisible noise; None where that was not tried.
        unproven: Why the scores don't prove that the model looked at the images, if so: it could
            have known what it would be asked, or its answers were no function of the image.
    """

    engine: str
    score: Score
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    memorisation: Memorisation | None = None
    unproven: str | None = None


def prepare(
    engine: str,
    ground_truth: GroundTruth,
    representation: Representation,
    metrics: Sequence[Metric],
    *,
    seeds: Sequence[int],
    preset: str,
    bindings: Sequence[str] = (),
) -> Prepared:
    """Readies an engine; the fast one encodes all that the metrics will look at, before any does.

    Args:
        engine: One of `ENGINES`.
        ground_truth: The data set.
        representation: What is scored.
        metrics: What will be scored.
        seeds: With which seeds.
        preset: With which sample sizes.
        bindings: Checked bindings, which win over the preset's.

    Returns:
        The engine: `fast`, where the codes are a function of the image; else `reference`.

    Raises:
        UserError: The representation fails on a batch.
    """
    if engine == "reference":
        exact = Reference(ground_truth, representation)
        return Prepared(engine, exact, warnings=representation.warnings, unproven=_PUBLIC_ORDER)
    start = time.perf_counter()
    reason = why_no_table(ground_truth, representation)
    if reason is None:
        codes = Codes(ground_truth, representation)
        reason = codes.encode(_images(ground_truth.dataset, metrics, seeds, preset, bindings))
    seconds = time.perf_counter() - start
    if reason is None:
        return of_codes(codes, Fast(codes), seconds)
    reference.check_installed(f"{reason}, so that its scoring")
    slower = (
        f"{reason}: scored by disentanglement_lib itself, which can take half an hour "
        "(--preset quick draws smaller samples)"
    )
    warned = (*representation.warnings, slower)
    slow = Reference(ground_truth, _interrupted(ground_truth, representation))
    return Prepared("reference", slow, seconds, warned, unproven=reason)


def _interrupted(ground_truth: GroundTruth, representation: Representation) -> Representation:
    """The same, asked for other images now and then: which call is which, a count doesn't tell."""
    random = np.random.default_rng()

    def encode(images: np.ndarray) -> np.ndarray:
        if random.random() < _SHARE_OF_DECOYS:
            decoys = np.random.RandomState(random.integers(2**32))
            representation.encode(ground_truth.sample_observations(len(images), decoys))
        return representation.encode(images)

    return replace(representation, encode=encode)


# So that a model that counts its calls has lost count after a few.
_SHARE_OF_DECOYS = 0.5


def of_codes(codes: Codes, score: Score, seconds: float, warnings: Sequence[str] = ()) -> Prepared:
    """The fast engine, once the images have been encoded.

    Args:
        codes: Of all images that the metrics look at.
        score: Computes a metric of them.
        seconds: How long encoding took.
        warnings: What there is to say beside what the codes tell.

    Returns:
        The engine, with what a last probe tells of the model.
    """
    told = [*codes.representation.warnings, *warnings]
    told += [] if codes.exact else [_INEXACT]
    memorisation = None
    try:
        memorisation = probe(codes)
    except UserError as error:
        told.append(f"labels may have been learnt by heart: with a little noise in images, {error}")
    if memorisation is not None and memorisation.warning:
        told.append(memorisation.warning)
    unproven = _IN_MEMORY if codes.representation.in_memory else None
    return Prepared("fast", score, seconds, tuple(told), memorisation, unproven)


_PUBLIC_ORDER = "disentanglement_lib asks for images in an order that anybody can know"
_IN_MEMORY = "the model ran in the process that scores it"
_INEXACT = (
    "the last bits of an image's code depend on the images that it is encoded with, and these "
    "differ each time: so may the last digits of the scores"
)


def _images(
    dataset: Dataset,
    metrics: Sequence[Metric],
    seeds: Sequence[int],
    preset: str,
    bindings: Sequence[str],
) -> np.ndarray:
    """All images that the metrics look at: int64 [n], each once."""
    asked = np.zeros(len(dataset.images), dtype=bool)
    for metric in metrics:
        if metric.images is None:
            return np.arange(len(dataset.images))
        arguments = _arguments(settings(metric, preset, bindings))
        for seed in seeds:
            asked[metric.images(dataset, seed, **arguments)] = True
    return np.flatnonzero(asked)


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the arguments of a metric's functions."""
    return {name.split(".")[1]: value for name, value in values.items()}
