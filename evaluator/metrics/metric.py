"""What a metric is and what it gives; each metric's own file makes its `Metric` of these."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np

from submission.values import Interval

Values = dict[str, float | int]
# Called as compute(codes, seed, **settings); each of `Metric.settings` without its configurable.
# It gives numbers, and the matrices [latents, factors] that they are made of.
Compute = Callable[..., Mapping[str, float | int | np.ndarray]]
Images = Callable[..., np.ndarray]

# With fewer, a score is noise: a share of ten draws already has a deviation of up to 0.16.
Samples = Annotated[int, Interval(ge=10, le=10_000_000)]
Batch = Annotated[int, Interval(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Metric:
    """One of disentanglement_lib's metrics.

    Attributes:
        name: The challenge's name for it.
        title: The paper's name for it, as tables and plots show it.
        module: Its module in `disentanglement_lib.evaluation.metrics`.
        function: Its function there.
        configurable: Its name in gin.
        score: The key of its result that the challenge reads.
        settings: What gin may bind, as `configurable.parameter`, and the value's type and range.
        compute: Gives disentanglement_lib's dictionary from a table of codes, fast; None where
            only disentanglement_lib's own function computes it.
        least_latents: How many latents disentanglement_lib's function is defined for.
        part_of: The computation that gives this score beside others, where it has another name;
            it names the gin file.
        drops_constants: Whether disentanglement_lib means to leave constant latents out, but keeps
            those whose variance rounding leaves above zero.
        images: Which images it looks at, called as images(dataset, seed, **settings): int64 [n],
            rows of the data set's images, all that `compute` looks up; None means every image.
    """

    name: str
    title: str
    module: str
    function: str
    configurable: str
    score: str
    settings: Mapping[str, Any]
    compute: Compute | None = None
    least_latents: int = 1
    part_of: str | None = None
    drops_constants: bool = False
    images: Images | None = None

    @property
    def computation(self) -> str:
        """What gives the score; two metrics with the same one cost no more than one."""
        return self.part_of or self.name


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
        matrices: What each latent tells of each factor, [latents, factors], by what it is measured
            by; empty where the metric has no such matrix.
    """

    metric: Metric
    score: float
    values: Values
    seconds: float
    gin_config: str
    warnings: dict[str, int] = field(default_factory=dict)
    matrices: dict[str, np.ndarray] = field(default_factory=dict)

    def read_as(self, metric: Metric) -> "Result":
        """The score of another metric of the same computation, which took no further time."""
        score = float(self.values[metric.score])
        return replace(self, metric=metric, score=score, seconds=0.0, warnings={})


@contextlib.contextmanager
def counted_warnings() -> Iterator[dict[str, int]]:
    """Counts what is warned about instead of printing it; complete at the end of the block."""
    seen: dict[str, int] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)
        yield seen
    seen.update(Counter(f"{item.category.__name__}: {item.message}" for item in caught))
