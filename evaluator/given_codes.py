"""Codes that are given as a table: scored without a model and without an image."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluator import scores
from evaluator.codes import Codes
from evaluator.engines import Fast, Score, check_installed
from evaluator.evaluation import Evaluation, checked_seeds
from evaluator.given_arrays import Factors, read_codes, read_factors
from evaluator.metrics import Metric, Result, check_bindings, choose
from evaluator.rows import Sampled, rows_of
from submission.datasets import Dataset
from submission.errors import UserError

_UNPROVEN = "the codes were given, no model was run"


def score_codes(
    codes: Any,
    factors: Any,
    *,
    metrics: Sequence[str] = (),
    seed: int = 0,
    repeats: int = 1,
    preset: str = "challenge",
    gin: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> Evaluation:
    """Scores codes of which the factors are known.

    Rows that cover a grid once, every combination of the factors' values in one row, in any order,
    are scored as the challenge did: bit for bit as a model that gives these codes, if the values
    rise as the data set's do. All others are scored by the sampled protocol (`evaluator.rows`),
    whose scores are not the challenge's; `Evaluation.protocol` and a warning tell.

    Args:
        codes: Finite numbers [n, latents]: an array, a tensor, a table of pandas.
        factors: [n, factors], the same rows; numbers or strings. Numbers with fewer than 10 rows to
            a value are continuous and binned, where the rows cover no grid; a warning tells.
        metrics: Names from `evaluator.metrics.ALL_METRICS`; none means the challenge's five.
        seed: Of every generator; the challenge's is 0.
        repeats: How many seeds, from `seed` on; from two on there are `intervals`.
        preset: Sample sizes: `challenge`, `paper` (the same) or `quick`.
        gin: Settings that win over the preset's, such as `dci.num_train = 100`.
        names: Of the factors, for messages; by default the columns' of a table of pandas.

    Returns:
        The evaluation, as `evaluator.score` gives it.

    Raises:
        UserError: Arrays that aren't tables of the same length, codes that aren't finite, missing
            factors, too few rows, or a mistake in the other arguments.

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.unravel_index(np.arange(64), (4, 4, 4)), axis=1)
        >>> evaluation = score_codes(factors + 0.0, factors, metrics=["mig"])
        >>> round(evaluation.scores["mig"], 2), evaluation.protocol
        (1.0, 'challenge')
    """
    chosen = choose(metrics)
    check_bindings(gin, chosen)
    seeds = checked_seeds(seed, repeats, preset=preset)
    check_installed("fast", chosen)
    known = read_factors(factors, names)
    evaluation, compute = begin_codes(
        read_codes(codes), known, seeds=seeds, preset=preset, bindings=gin
    )
    for metric in chosen:
        evaluation.add(metric, compute)
    return evaluation


def begin_codes(
    codes: np.ndarray,
    factors: Factors,
    *,
    seeds: range,
    preset: str,
    bindings: Sequence[str] = (),
    name: str = "codes",
) -> tuple[Evaluation, Score]:
    """Chooses the protocol.

    Args:
        codes: Of `read_codes`.
        factors: Of `read_factors`.
        seeds: Of the draws.
        preset: One of `metrics.PRESETS`.
        bindings: Checked bindings.
        name: What messages call the codes.

    Returns:
        An evaluation that has no results yet, and what its `add` scores with.

    Raises:
        UserError: There are as many codes as factors, or too few for the sampled protocol.
    """
    rows = len(codes)
    if rows != len(factors.numbers):
        raise UserError(
            f"there are codes of {rows:,} rows, but factors of {len(factors.numbers):,}: row i of "
            "both must be of the same image"
        )
    grid = factors.row_of_state
    warnings = list(factors.warnings)
    description: dict[str, Any] = {
        "name": "given codes",
        # Nobody reads their pixels.
        "images": np.broadcast_to(np.uint8(0), (rows, 1, 1, 1)),
        "known_fingerprint": _sha256(factors.values),
    }
    dataset: Dataset
    score: Score
    if grid is not None:
        dataset = Dataset(
            **description,
            factor_names=factors.names,
            factor_sizes=factors.sizes,
            scored_factors=tuple(range(len(factors.names))),
            image_of_state=grid,
        )
        table = Codes.of_table(dataset, codes, name)
        score = Fast(table)
    else:
        dataset, factors, warnings = rows_of(factors, **description)
        table = Codes.of_table(dataset, codes, name)
        score = Sampled(dataset, codes, factors.values, name)
    origin = scores.origin(
        dataset,
        table.representation,
        seed=seeds[0],
        engine="fast",
        preset=preset,
        unproven=_UNPROVEN,
    )
    origin |= {
        "representation_sha256": _sha256(codes),
        "protocol": "challenge" if grid is not None else "sampled",
        "factor_names": list(factors.names),
    }
    evaluation = Evaluation(
        dataset, seeds, origin=origin, warnings=tuple(warnings), bindings=tuple(bindings)
    )
    return evaluation, score


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


def _sha256(array: np.ndarray) -> str:
    """Of an array's type, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
