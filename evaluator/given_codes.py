"""Codes that are given as a table: scored without a model and without an image."""

from collections.abc import Sequence

import numpy as np

from evaluator.codes import Codes
from evaluator.engines import Fast
from evaluator.metrics import Metric, Result
from submission.datasets import Dataset


def score_table(
    dataset: Dataset,
    table: np.ndarray,
    metrics: Sequence[Metric],
    *,
    seed: int = 0,
    preset: str = "challenge",
    bindings: Sequence[str] = (),
) -> dict[str, Result]:
    """Scores codes of every image of a data set, as a model that gives them would score.

    Args:
        dataset: A data set that draws no part of the image at random; its pixels are never read.
        table: Finite numbers [images, latents]; row i is the code of row i of `dataset.images`,
            which is that of the state i unless there is a `dataset.image_of_state`.
        metrics: Of `metrics.choose`; those of one computation cost no more than one.
        seed: Of the draws.
        preset: One of `metrics.PRESETS`.
        bindings: Checked settings, such as `dci.num_train = 100`.

    Returns:
        The results by the metric's name, in the order of `metrics`.

    Raises:
        UserError: See `metrics.reference.run`.
    """
    score = Fast(Codes.of_table(dataset, table))
    results: dict[str, Result] = {}
    computed: dict[str, Result] = {}
    for metric in metrics:
        if metric.computation in computed:
            results[metric.name] = computed[metric.computation].read_as(metric)
        else:
            result = score(metric, seed, preset, bindings)
            results[metric.name] = computed[metric.computation] = result
    return results
