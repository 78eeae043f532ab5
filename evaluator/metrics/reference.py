"""disentanglement_lib's own computation of a metric: of images, or of a table of codes.

On a table its loops draw and nothing is encoded twice: what the metric is given as images are the
images' numbers, and what encodes them looks the codes up. So the fast engine computes the metrics
that have no faster form.
"""

import contextlib
import random
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin
import numpy as np

from evaluator.codes import Codes
from evaluator.compat import load_metric_module, load_tensorflow
from evaluator.ground_truth import GroundTruth
from evaluator.metrics.metric import Metric, Result, counted_warnings
from evaluator.metrics.presets import GIN_FOLDER, settings
from evaluator.representations import Representation
from evaluator.worker.readers import Encode
from submission.errors import UserError, require_packages


def check_installed(what: str) -> None:
    """Refuses to begin what disentanglement_lib has to compute where it isn't installed.

    Args:
        what: What that is, as the line's beginning.

    Raises:
        UserError: It is missing, or TensorFlow, which it imports.
    """
    require_packages(what, "disentanglement_lib", "tensorflow")


def run(
    metric: Metric,
    ground_truth: GroundTruth,
    representation: Representation,
    seed: int,
    preset: str,
    bindings: Sequence[str] = (),
) -> Result:
    """Computes a metric as disentanglement_lib does.

    Every generator starts from the seed, for each metric anew, so that no metric's score depends on
    which others run: the metric draws from the `RandomState` it is given, but scikit-learn's trees
    and support vector machines draw from numpy's global one.

    The numbers are disentanglement_lib's, with one exception. Its IRS means to leave constant
    latents out, but tests a variance that rounding keeps above zero for most constants, and then
    divides by zero or nearly so (-324 for a constant 0.1). Where that takes the score out of
    [0, 1], constant latents are set to zero, which it does leave out, and a warning says so.

    Args:
        metric: The metric.
        ground_truth: The data set.
        representation: The representation.
        seed: Where all generators start, 0 to 2**32 - 1. The challenge used 0.
        preset: One of `PRESETS`.
        bindings: Checked bindings.

    Returns:
        The result.

    Raises:
        UserError: Too few latents for the metric, codes that the representation gets wrong, or a
            result that is no finite number.
    """
    if representation.latents < metric.least_latents:
        raise UserError(
            f"{metric.name} compares the best latent with the second best, "
            f"but {representation.path} has {representation.latents}"
        )
    compute = getattr(load_metric_module(metric.module), metric.function)
    with _configured(metric, settings(metric, preset, bindings)), counted_warnings() as caught:
        start = time.perf_counter()
        spread = _Spread(representation.encode)
        _seed_all(seed)
        try:
            raw = compute(ground_truth, spread.watch, random_state=np.random.RandomState(seed))
        except (ValueError, IndexError) as error:
            raise UserError(
                f"disentanglement_lib's {metric.name} of {representation.path} fails "
                f"({' '.join(str(error).split())}): are the samples too few?"
            ) from error
        spoiled = metric.drops_constants and not 0 <= raw[metric.score] <= 1
        if spoiled and spread.constant.any():
            warnings.warn(
                f"{spread.constant.sum()} latents are constant, and rounding makes "
                f"disentanglement_lib's {metric.title} {raw[metric.score]:.4g}: "
                "computed without them",
                stacklevel=1,
            )
            _seed_all(seed)
            raw = compute(ground_truth, spread.zero, random_state=np.random.RandomState(seed))
        seconds = time.perf_counter() - start
        gin_config = gin.operative_config_str()
    values = {name: np.asarray(value).item() for name, value in raw.items()}
    score = float(values[metric.score])
    if not all(np.isfinite(value) for value in values.values()):
        raise UserError(
            f"disentanglement_lib's {metric.name} of {representation.path} is {values}: "
            "are the codes too large for their type?"
        )
    return Result(metric, score, values, seconds, gin_config, caught)


def run_on_codes(
    codes: Codes, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
) -> Result:
    """Computes as `run` does, to the last bit for the same codes.

    Args:
        codes: The codes by image.
        metric: The metric.
        seed: The seed.
        preset: The preset.
        bindings: Checked bindings.

    Returns:
        The result.

    Raises:
        UserError: As `run`.
    """
    origin = codes.representation
    table = Representation(origin.path, codes.__getitem__, origin.latents, origin.repeatable)
    return run(metric, _Numbers(codes.ground_truth.dataset), table, seed, preset, bindings)


class _Numbers(GroundTruth):
    """The data set, with the number of each image in its place."""

    def sample_observations_from_factors(
        self, factors: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draws what the data set draws; int64 [n], rows of the data set's images."""
        return self.dataset.image_indices(factors, random_state)


class _Spread:
    """Finds the latents that are constant over all codes a metric has seen."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._low = np.array(np.inf)
        self._high = np.array(-np.inf)

    @property
    def constant(self) -> np.ndarray:
        """Bool [latents]."""
        return self._low == self._high

    def watch(self, images: np.ndarray) -> np.ndarray:
        """Encodes, and notes the extremes."""
        codes = self._encode(images)
        self._low = np.minimum(self._low, codes.min(axis=0))
        self._high = np.maximum(self._high, codes.max(axis=0))
        return codes

    def zero(self, images: np.ndarray) -> np.ndarray:
        """Encodes, with zeros for the constant latents."""
        codes = self._encode(images)
        return np.where(self.constant, codes.dtype.type(0), codes)


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    # A model of PyTorch's has imported it.
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    load_tensorflow().random.set_seed(seed)


@contextlib.contextmanager
def _configured(metric: Metric, values: Mapping[str, Any]) -> Iterator[None]:
    """Gin's configuration for one metric; gin keeps one a process, which is empty afterwards."""
    gin.clear_config()
    try:
        gin.parse_config((GIN_FOLDER / f"{metric.computation}.gin").read_text())
        for name, value in values.items():
            gin.bind_parameter(name, value)
        yield
    finally:
        gin.clear_config()
