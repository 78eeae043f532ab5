"""The challenge's five metrics and further ones: settings, and disentanglement_lib's scores.

Sample sizes come from `gin/evaluation/<metric>.gin` (the challenge's), then from the preset's file,
then from bindings of the command line; each metric runs with a gin configuration of its own, since
MIG and IRS bind the same names.
"""

import ast
import contextlib
import random
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import gin
import numpy as np

from evaluator.compat import load_metric_module, load_tensorflow
from evaluator.ground_truth import GroundTruth
from evaluator.representations import Encode, Representation
from submission.errors import UserError, nearest
from submission.values import Interval, Share, describe, fits

GIN_FOLDER = Path(__file__).resolve().parent.parent / "gin" / "evaluation"

# `challenge` and `paper` are the sizes in each metric's own file.
PRESETS = ("quick", "challenge", "paper")

# What `evaluator.engines` offers.
ENGINES = ("fast", "reference")


@dataclass(frozen=True)
class Metric:
    """One of disentanglement_lib's metrics.

    Attributes:
        name: The challenge's name for it.
        module: Its module in `disentanglement_lib.evaluation.metrics`.
        function: Its function there.
        configurable: Its name in gin.
        score: The key of its result that the challenge reads.
        settings: What gin may bind, as `configurable.parameter`, and the value's type and range.
        least_latents: How many latents it is defined for.
        part_of: The computation that gives this score beside others, where it has another name;
            it names the gin file.
    """

    name: str
    module: str
    function: str
    configurable: str
    score: str
    settings: Mapping[str, Any]
    least_latents: int = 1
    part_of: str | None = None

    @property
    def computation(self) -> str:
        """What gives the score; two metrics with the same one cost no more than one."""
        return self.part_of or self.name


# With fewer, a score is noise: a share of ten draws already has a deviation of up to 0.16.
_Samples = Annotated[int, Interval(ge=10, le=10_000_000)]
_Batch = Annotated[int, Interval(ge=1, le=1_000_000)]
# Of one image there is no variance, and of one bin no information.
_SharedBatch = Annotated[int, Interval(ge=2, le=1_000_000)]
_DISCRETIZER: Mapping[str, Any] = {
    "discretizer.num_bins": Annotated[int, Interval(ge=2, le=1_000_000)]
}

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="dci",
            module="dci",
            function="compute_dci",
            configurable="dci",
            score="disentanglement",
            settings={
                "dci.num_train": _Samples,
                "dci.num_test": _Samples,
                "dci.batch_size": _Batch,
            },
        ),
        Metric(
            name="factor_vae_metric",
            module="factor_vae",
            function="compute_factor_vae",
            configurable="factor_vae_score",
            score="eval_accuracy",
            settings={
                "factor_vae_score.num_variance_estimate": _Samples,
                "factor_vae_score.num_train": _Samples,
                "factor_vae_score.num_eval": _Samples,
                "factor_vae_score.batch_size": _SharedBatch,
                "prune_dims.threshold": Annotated[float, Interval(ge=0, le=1e9)],
            },
        ),
        Metric(
            name="sap_score",
            module="sap_score",
            function="compute_sap",
            configurable="sap_score",
            score="SAP_score",
            settings={
                "sap_score.num_train": _Samples,
                "sap_score.num_test": _Samples,
                "sap_score.batch_size": _Batch,
                "sap_score.continuous_factors": bool,
            },
            least_latents=2,
        ),
        Metric(
            name="mig",
            module="mig",
            function="compute_mig",
            configurable="mig",
            score="discrete_mig",
            settings={"mig.num_train": _Samples, "mig.batch_size": _Batch, **_DISCRETIZER},
            least_latents=2,
        ),
        Metric(
            name="irs",
            module="irs",
            function="compute_irs",
            configurable="irs",
            score="IRS",
            settings={
                "irs.num_train": _Samples,
                "irs.batch_size": _Batch,
                "irs.diff_quantile": Share,
                **_DISCRETIZER,
            },
        ),
    )
}


# Scored only where they are asked for, and no part of the sum.
FURTHER_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        replace(METRICS["dci"], name="dci_completeness", score="completeness", part_of="dci"),
        replace(
            METRICS["dci"],
            name="dci_informativeness",
            score="informativeness_test",
            part_of="dci",
        ),
        Metric(
            name="beta_vae",
            module="beta_vae",
            function="compute_beta_vae_sklearn",
            configurable="beta_vae_sklearn",
            score="eval_accuracy",
            settings={
                "beta_vae_sklearn.batch_size": _Batch,
                "beta_vae_sklearn.num_train": _Samples,
                "beta_vae_sklearn.num_eval": _Samples,
            },
        ),
        *(
            Metric(
                name=name,
                module="modularity_explicitness",
                function="compute_modularity_explicitness",
                configurable="modularity_explicitness",
                score=score,
                settings={
                    "modularity_explicitness.num_train": _Samples,
                    "modularity_explicitness.num_test": _Samples,
                    "modularity_explicitness.batch_size": _Batch,
                    **_DISCRETIZER,
                },
                part_of="modularity_explicitness",
            )
            for name, score in (
                ("modularity", "modularity_score"),
                ("explicitness", "explicitness_score_test"),
            )
        ),
    )
}

ALL_METRICS: Mapping[str, Metric] = {**METRICS, **FURTHER_METRICS}


@dataclass(frozen=True)
class Result:
    """What a metric gave.

    Attributes:
        metric: Which one.
        score: The number that the challenge reads.
        values: Everything that disentanglement_lib returned, as plain numbers.
        seconds: Wall-clock time.
        gin_config: The operative configuration.
        warnings: What the libraries warned about, and how often.
    """

    metric: Metric
    score: float
    values: dict[str, float | int]
    seconds: float
    gin_config: str
    warnings: dict[str, int] = field(default_factory=dict)

    def read_as(self, metric: Metric) -> "Result":
        """The score of another metric of the same computation, which took no further time."""
        score = float(self.values[metric.score])
        return replace(self, metric=metric, score=score, seconds=0.0, warnings={})


def choose(names: Sequence[str]) -> list[Metric]:
    """Looks metrics up by name.

    Args:
        names: Names from `ALL_METRICS`; none means the challenge's.

    Returns:
        The metrics, in the order of `ALL_METRICS`, each once.

    Raises:
        UserError: An unknown name; the line gives the nearest one.
    """
    for name in names:
        if name not in ALL_METRICS:
            raise UserError(f"unknown metric {name!r}: {nearest(name, ALL_METRICS)}")
    return [metric for name, metric in ALL_METRICS.items() if name in (names or METRICS)]


def check_bindings(bindings: Iterable[str], metrics: Sequence[Metric]) -> None:
    """Checks gin bindings without importing what they configure.

    Args:
        bindings: Such as `dci.num_train = 100`.
        metrics: The metrics that will run.

    Raises:
        UserError: A binding that can't be read, binds an unknown name (the line gives the nearest
            one) or a value that can't be right, or concerns none of the metrics.
    """
    types = {name: kind for one in ALL_METRICS.values() for name, kind in one.settings.items()}
    for binding in bindings:
        name, value = _split(binding)
        if name not in types:
            raise UserError(f"--gin {binding!r}: unknown setting {name}: {nearest(name, types)}")
        if not any(name in metric.settings for metric in metrics):
            raise UserError(f"--gin {binding!r}: --metrics selects no metric that reads {name}")
        try:
            parsed = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            parsed = None
        if not fits(parsed, types[name]):
            raise UserError(f"--gin {binding!r}: {name} must be {describe(types[name])}")


def settings(metric: Metric, preset: str, bindings: Sequence[str] = ()) -> dict[str, Any]:
    """The values that files and bindings give a metric, without importing what they configure.

    Args:
        metric: The metric.
        preset: One of `PRESETS`.
        bindings: Checked bindings, which win over the files.

    Returns:
        `configurable.parameter` to value, one for each of `metric.settings`.
    """
    texts = [(GIN_FOLDER / f"{metric.computation}.gin").read_text()]
    if preset == "quick":
        texts.append((GIN_FOLDER / "quick.gin").read_text())
    values = {}
    for statement in gin.config_parser.ConfigParser("\n".join([*texts, *bindings]), _Names()):
        values[f"{statement.selector}.{statement.arg_name}"] = statement.value
    return {name: values[name] for name in metric.settings}


class _Names(gin.config_parser.ParserDelegate):
    """Reads a reference to a function as its name."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> str:
        return f"@{scoped_configurable_name}"

    def macro(self, macro_name: str) -> str:
        return f"%{macro_name}"


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
        if metric.name == "irs" and spread.constant.any() and not 0 <= raw["IRS"] <= 1:
            warnings.warn(
                f"{spread.constant.sum()} latents are constant, and rounding makes "
                f"disentanglement_lib's IRS {raw['IRS']:.4g}: computed without them",
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


@contextlib.contextmanager
def counted_warnings() -> Iterator[dict[str, int]]:
    """Counts what is warned about instead of printing it; complete at the end of the block."""
    seen: dict[str, int] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)
        yield seen
    seen.update(Counter(f"{item.category.__name__}: {item.message}" for item in caught))


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
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
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


def _split(binding: str) -> tuple[str, str]:
    name, equals, value = binding.partition("=")
    if not equals:
        raise UserError(f"--gin {binding!r}: write it as 'name.parameter = value'")
    return name.strip(), value.strip()
