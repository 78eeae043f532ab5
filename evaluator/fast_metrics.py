"""The challenge's five metrics from a table of codes.

Each is a function of the table, a seed and the settings of `gin/evaluation/`, and returns
disentanglement_lib's own dictionary. Given the same codes, MIG, IRS and the FactorVAE metric equal
its numbers to the last bit: the same numpy operations run on arrays of the same layout and type.
DCI's trees and SAP's machines come from `evaluator.boosting` and `evaluator.linear_svc`.

Where disentanglement_lib has no number, or one that only overflow explains, a warning says what is
computed instead:

* With one latent there is no second best: a constant latent is put beside it.
* Squares that overflow (codes of 1e30 in float32) are taken of codes divided by a power of two,
  which cancels out of every score.
* IRS leaves out latents that are constant, not only those whose variance isn't rounded to more
  than zero, where that takes the score out of [0, 1].
"""

import math
import warnings
from collections.abc import Callable, Mapping

import numpy as np

from evaluator import boosting, linear_svc
from evaluator.codes import Codes
from evaluator.draws import draw, draw_votes

Values = dict[str, float | int]
# Called as compute(codes, seed, **settings); each of `Metric.settings` without its configurable.
Compute = Callable[..., Values]

# disentanglement_lib keeps the logarithm of an importance of 0 finite with this.
_SMALLEST_IMPORTANCE = 1e-11
# Votes whose codes are looked up at a time, to bound the memory.
_VOTES = 256


def dci(codes: Codes, seed: int, *, num_train: int, num_test: int, batch_size: int) -> Values:
    """DCI disentanglement, completeness and informativeness (Eastwood and Williams, 2018).

    Args:
        codes: The codes by image.
        seed: Of the draws, and of the choice between splits that gain the same.
        num_train: Samples that the trees are fitted to.
        num_test: Samples that informativeness is measured on.
        batch_size: Draws at a time.

    Returns:
        `informativeness_train`, `informativeness_test`, `disentanglement`, `completeness`.
    """
    random_state = np.random.RandomState(seed)
    train = draw(codes.dataset, num_train, batch_size, random_state)
    test = draw(codes.dataset, num_test, batch_size, random_state)
    train_codes, test_codes = _two_latents(codes[train.indices], codes[test.indices])
    importance, train_accuracy, test_accuracy = boosting.importance_matrix(
        train_codes, train.factors, test_codes, test.factors, seed
    )
    if importance.shape[1] == 1:
        warnings.warn("with one factor every latent is disentangled: DCI is 1", stacklevel=2)
    return {
        "informativeness_train": train_accuracy,
        "informativeness_test": test_accuracy,
        "disentanglement": _concentration(importance),
        "completeness": _concentration(importance.T),
    }


def _concentration(importance: np.ndarray) -> float:
    """One less each row's entropy, in units of the greatest, weighted by the row's importance."""
    shares = importance + _SMALLEST_IMPORTANCE
    shares = shares / shares.sum(axis=1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(axis=1)
    columns = importance.shape[1]
    per_row = 1 - entropy / math.log(columns) if columns > 1 else np.ones(len(importance))
    if importance.sum() == 0:
        importance = np.ones_like(importance)
    return float(np.sum(per_row * (importance.sum(axis=1) / importance.sum())))


def factor_vae_metric(
    codes: Codes,
    seed: int,
    *,
    num_variance_estimate: int,
    num_train: int,
    num_eval: int,
    batch_size: int,
    threshold: float,
) -> Values:
    """The FactorVAE metric (Kim and Mnih, 2018, Section 4).

    Args:
        codes: The codes by image.
        seed: Of the draws.
        num_variance_estimate: Samples for each latent's variance.
        num_train: Votes that say which factor a latent stands for.
        num_eval: Votes that are checked against that.
        batch_size: Images a vote.
        threshold: Latents with a smaller standard deviation don't vote.

    Returns:
        `train_accuracy`, `eval_accuracy`, and `num_active_dims`, in which disentanglement_lib
        counts all latents (or none, where none votes).
    """
    random_state = np.random.RandomState(seed)
    factors = codes.dataset.sample_factors(num_variance_estimate, random_state)
    sample = codes[codes.dataset.image_indices(factors, random_state)]
    with np.errstate(over="ignore", invalid="ignore"):
        variances = np.var(sample, axis=0, ddof=1)
        deviations = np.sqrt(variances)
    exponents = None
    if not np.isfinite(variances).all():
        warnings.warn(
            f"the variance of codes up to {np.abs(sample).max():.2g} overflows {sample.dtype}: "
            "computed from codes divided by a power of two",
            stacklevel=2,
        )
        exponents = _exponents(sample)
        variances = np.var(_divided(sample, exponents), axis=0, ddof=1)
        with np.errstate(over="ignore"):
            deviations = np.ldexp(np.sqrt(variances), exponents)
    active = deviations >= threshold
    if not active.any():
        return {"train_accuracy": 0.0, "eval_accuracy": 0.0, "num_active_dims": 0}

    def count_votes(votes: int) -> np.ndarray:
        fixed, indices = draw_votes(codes.dataset, votes, batch_size, random_state)
        codes.fill(indices)
        counts = np.zeros((codes.dataset.num_factors, len(active)), dtype=np.int64)
        for start in range(0, votes, _VOTES):
            block = codes[indices[start : start + _VOTES]]
            if exponents is not None:
                block = _divided(block, exponents)
            # One by one: numpy sums a stack of votes in another order than a single one.
            for factor, batch in zip(fixed[start : start + _VOTES], block, strict=True):
                ratios = np.var(batch, axis=0, ddof=1)[active] / variances[active]
                counts[factor, np.argmin(ratios)] += 1
        return counts

    train = count_votes(num_train)
    factor_of_latent = np.argmax(train, axis=0)
    evaluation = count_votes(num_eval)
    latents = np.arange(len(active))
    return {
        "train_accuracy": float(train[factor_of_latent, latents].sum() / num_train),
        "eval_accuracy": float(evaluation[factor_of_latent, latents].sum() / num_eval),
        "num_active_dims": len(active),
    }


def sap_score(
    codes: Codes,
    seed: int,
    *,
    num_train: int,
    num_test: int,
    batch_size: int,
    continuous_factors: bool,
) -> Values:
    """The SAP score (Kumar et al., 2018, Section 3).

    Args:
        codes: The codes by image.
        seed: Of the draws.
        num_train: Samples that the machines are fitted to.
        num_test: Samples that their accuracy is measured on.
        batch_size: Draws at a time.
        continuous_factors: Whether the squared correlation is the score of a latent and a factor,
            instead of the accuracy.

    Returns:
        `SAP_score`.
    """
    random_state = np.random.RandomState(seed)
    train = draw(codes.dataset, num_train, batch_size, random_state)
    test = draw(codes.dataset, num_test, batch_size, random_state)
    train_codes, test_codes = _two_latents(codes[train.indices], codes[test.indices])
    if continuous_factors:
        matrix = _squared_correlations(train_codes, train.factors)
    else:
        matrix = linear_svc.score_matrix(train_codes, train.factors, test_codes, test.factors)
    best = np.sort(matrix, axis=0)
    return {"SAP_score": float(np.mean(best[-1] - best[-2]))}


def _squared_correlations(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """[latents, factors]; 0 for a latent that hardly varies, as in disentanglement_lib."""
    matrix = np.zeros((codes.shape[1], factors.shape[1]))
    for latent, code in enumerate(codes.T):
        for f, factor in enumerate(factors.T):
            covariance = np.cov(code, factor, ddof=1)
            if covariance[0, 0] > 1e-12:
                squared = covariance[0, 1] ** 2
                matrix[latent, f] = squared * 1.0 / (covariance[0, 0] * covariance[1, 1])
    return matrix


def mig(codes: Codes, seed: int, *, num_train: int, batch_size: int, num_bins: int) -> Values:
    """The mutual information gap (Chen et al., 2018, Section 4.1), of binned codes.

    Args:
        codes: The codes by image.
        seed: Of the draws.
        num_train: Samples.
        batch_size: Draws at a time.
        num_bins: Equal bins between a latent's smallest and largest code.

    Returns:
        `discrete_mig`.
    """
    sample = draw(codes.dataset, num_train, batch_size, np.random.RandomState(seed))
    (latents,) = _two_latents(codes[sample.indices])
    bins = [_positions(_binned(latent, num_bins)) for latent in latents.T]
    values = [_positions(factor) for factor in sample.factors.T]
    information = np.array([[_mutual_information(v, b) for v in values] for b in bins])
    entropy = np.array([_mutual_information(v, v) for v in values])
    ordered = np.sort(information, axis=0)[::-1]
    return {"discrete_mig": float(np.mean(np.divide(ordered[0] - ordered[1], entropy)))}


def _binned(values: np.ndarray, num_bins: int) -> np.ndarray:
    """Numbers of the bins of a histogram, [n] in the type of `values`."""
    try:
        edges = np.histogram(values, num_bins)[1]
    except ValueError:
        # float16 and huge codes: no room for the bins between neighbouring numbers.
        warnings.warn(
            f"{num_bins} bins don't fit the range of {values.dtype} codes: binned as float64",
            stacklevel=3,
        )
        values = values.astype(np.float64) / np.abs(values).max().astype(np.float64)
        edges = np.histogram(values, num_bins)[1]
    return np.digitize(values, edges[:-1]).astype(values.dtype)


def _positions(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers distinct values from 0, by rising value; and how many there are."""
    distinct, positions = np.unique(values, return_inverse=True)
    return positions, len(distinct)


def _mutual_information(true: tuple[np.ndarray, int], other: tuple[np.ndarray, int]) -> float:
    """In nats; scikit-learn's `mutual_info_score`, of the same operations in the same order."""
    (rows, height), (columns, width) = true, other
    if height == 1 or width == 1:
        return 0.0
    table = np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)
    row, column = np.nonzero(table)
    count, total = table[row, column], table.sum()
    share = count / total
    expected = table.sum(axis=1)[row] * table.sum(axis=0)[column]
    log_expected = -np.log(expected) + math.log(total) + math.log(total)
    terms = share * (np.log(count) - math.log(total)) + share * log_expected
    terms = np.where(np.abs(terms) < np.finfo(np.float64).eps, 0.0, terms)
    return float(np.clip(terms.sum(), 0.0, None))


def irs(
    codes: Codes,
    seed: int,
    *,
    num_train: int,
    batch_size: int,
    diff_quantile: float,
    num_bins: int,
) -> Values:
    """The interventional robustness score (Suter et al., 2019, Section 4).

    Args:
        codes: The codes by image.
        seed: Of the draws.
        num_train: Samples.
        batch_size: Draws at a time.
        diff_quantile: Which quantile of the deviations counts as the largest.
        num_bins: Bins of the factors' values.

    Returns:
        `IRS`, and `num_active_dims`, in which disentanglement_lib adds up the codes that vary.
    """
    sample = draw(codes.dataset, num_train, batch_size, np.random.RandomState(seed))
    drawn = codes[sample.indices]
    with np.errstate(over="ignore"):
        means = np.mean(np.abs(drawn), axis=0)
    if not np.isfinite(means).all():
        warnings.warn(
            f"the mean of codes up to {np.abs(drawn).max():.2g} overflows {drawn.dtype}: "
            "computed from codes divided by a power of two",
            stacklevel=2,
        )
        drawn = _divided(drawn, _exponents(drawn).max())
    factors = [_binned(factor, num_bins) for factor in sample.factors.T]
    # Constant latents divide zero by zero here; what comes of it is looked at below.
    with np.errstate(all="ignore"):
        score, active = _irs(drawn, factors, diff_quantile)
    constant = drawn.min(axis=0) == drawn.max(axis=0)
    if constant.any() and not 0 <= score <= 1:
        warnings.warn(
            f"{constant.sum()} latents are constant, and rounding makes disentanglement_lib's IRS "
            f"{score:.4g}: computed without them",
            stacklevel=2,
        )
        drawn = np.where(constant, drawn.dtype.type(0), drawn)
        score, active = _irs(drawn, factors, diff_quantile)
    return {"IRS": score, "num_active_dims": active}


def _irs(
    codes: np.ndarray, factors: list[np.ndarray], diff_quantile: float
) -> tuple[float, float | int]:
    """The score and the sum of the codes that vary.

    Args:
        codes: [n, latents].
        factors: Binned values [n] of each factor.
        diff_quantile: Which quantile of the deviations counts.
    """
    # The selection of rows of the transposed codes leaves them in the layout that the reference
    # sums them in.
    varying = codes.T[codes.T.var(axis=1) > 0, :]
    if not varying.any():
        return 0.0, _sum(varying)
    latents = varying.T
    largest = np.max(np.abs(latents - latents.mean(axis=0)), axis=0)
    deviations = np.zeros((latents.shape[1], len(factors)))
    for column, factor in enumerate(factors):
        values = np.unique(factor)
        for value in values:
            group = latents[factor == value, :]
            distances = np.abs(group - np.mean(group, axis=0))
            deviations[:, column] += np.percentile(distances, q=diff_quantile * 100, axis=0)
        deviations[:, column] /= len(values)
    robustness = (1.0 - deviations / largest[:, np.newaxis]).max(axis=1)
    if np.sum(largest) > 0.0:
        score = np.average(robustness, weights=largest)
    else:
        score = np.mean(robustness)
    return float(score), _sum(varying)


def _sum(codes: np.ndarray) -> float | int:
    """In the type of the codes, as disentanglement_lib; in float64 where that overflows."""
    with np.errstate(over="ignore"):
        total = np.sum(codes)
    return total.item() if np.isfinite(total) else np.sum(codes, dtype=np.float64).item()


def _two_latents(*samples: np.ndarray) -> tuple[np.ndarray, ...]:
    """Codes [n, latents], with a constant latent added where there is one only."""
    if samples[0].shape[1] > 1:
        return samples
    warnings.warn(
        "one latent has no second best, so disentanglement_lib fails: scored with a constant one "
        "beside it",
        stacklevel=3,
    )
    return tuple(np.concatenate([one, np.zeros_like(one)], axis=1) for one in samples)


def _exponents(codes: np.ndarray) -> np.ndarray:
    """For each latent the power of two that brings its codes into [-1, 1], int [latents]."""
    return np.frexp(np.abs(codes.astype(np.float64)).max(axis=0))[1]


def _divided(codes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Codes [..., latents] in float64, each latent divided by its power of two."""
    return np.ldexp(codes.astype(np.float64), -exponents)


# By the name of the metric in `evaluator.metrics.METRICS`.
FAST: Mapping[str, Compute] = {
    "dci": dci,
    "factor_vae_metric": factor_vae_metric,
    "sap_score": sap_score,
    "mig": mig,
    "irs": irs,
}
