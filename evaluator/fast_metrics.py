"""The challenge's five metrics from a table of codes.

Each is a function of the table, a seed and the settings of `gin/evaluation/`, and returns
disentanglement_lib's own dictionary. Given the same codes, MIG, IRS and the FactorVAE metric equal
its numbers to the last bit.
"""

from collections.abc import Callable, Mapping

from evaluator.codes import Codes

Values = dict[str, float | int]
# Called as compute(codes, seed, **settings), with the part after the dot of each of `Metric.settings`.
Compute = Callable[..., Values]


def dci(codes: Codes, seed: int, *, num_train: int, num_test: int, batch_size: int) -> Values:
    """DCI disentanglement, completeness and informativeness (Eastwood and Williams, 2018)."""
    raise NotImplementedError


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
    """The FactorVAE metric (Kim and Mnih, 2018)."""
    raise NotImplementedError


def sap_score(
    codes: Codes,
    seed: int,
    *,
    num_train: int,
    num_test: int,
    batch_size: int,
    continuous_factors: bool,
) -> Values:
    """The SAP score (Kumar et al., 2018)."""
    raise NotImplementedError


def mig(codes: Codes, seed: int, *, num_train: int, batch_size: int, num_bins: int) -> Values:
    """The mutual information gap (Chen et al., 2018)."""
    raise NotImplementedError


def irs(
    codes: Codes,
    seed: int,
    *,
    num_train: int,
    batch_size: int,
    diff_quantile: float,
    num_bins: int,
) -> Values:
    """The interventional robustness score (Suter et al., 2019)."""
    raise NotImplementedError


# By the name of the metric in `evaluator.metrics.METRICS`.
FAST: Mapping[str, Compute] = {
    "dci": dci,
    "factor_vae_metric": factor_vae_metric,
    "sap_score": sap_score,
    "mig": mig,
    "irs": irs,
}
