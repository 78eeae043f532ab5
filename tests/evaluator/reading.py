"""Reads a model in the test's own process, where it can be looked at and no start is waited for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from evaluator import engines, formats, representations
from evaluator.codes import Codes
from evaluator.ground_truth import GroundTruth
from evaluator.metrics import METRICS, Metric
from evaluator.representations import Representation
from evaluator.worker import readers
from evaluator.worker.client import FailedError
from evaluator.worker.readers import Reading
from submission.errors import UserError


def read_representation(
    folder: Path, ground_truth: GroundTruth, allow_pickle: bool = False
) -> Representation:
    """What `python -m evaluator` reads in a worker."""
    path = formats.find(folder, allow_pickle)
    reading = readers.read(path)
    functions = (reading.encode, reading.encode_pixels, reading.fast)
    reading = Reading(*(one and _as_a_worker(one) for one in functions), reading.warnings)
    checked = representations.check(reading, path, ground_truth)
    return replace(checked, sha256=representations.sha256(path))


def _as_a_worker(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Shares no memory with whoever asks, and raises no error of the model's own."""

    def ask(images: np.ndarray, *rest: int) -> np.ndarray:
        try:
            return function(images.copy(), *rest).copy()
        except UserError:
            raise
        except Exception as error:
            raise FailedError(readers.one_line(error)) from error

    return ask


def encode_all(ground_truth: GroundTruth, representation: Representation) -> Codes:
    """The codes of all images."""
    codes = Codes(ground_truth, representation)
    codes.encode(np.arange(len(ground_truth.dataset.images)))
    return codes


def prepare(
    engine: str,
    ground_truth: GroundTruth,
    representation: Representation,
    metrics: Iterable[Metric] = METRICS.values(),
    bindings: Sequence[str] = (),
) -> engines.Prepared:
    """An engine for the challenge's sizes, but for `bindings`, and ten seeds."""
    return engines.prepare(
        engine,
        ground_truth,
        representation,
        list(metrics),
        seeds=range(10),
        preset="challenge",
        bindings=bindings,
    )
