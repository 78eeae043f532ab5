"""Every metric by its name: the challenge's five, and the field's further ones."""

from collections.abc import Mapping, Sequence

from evaluator.metrics.beta_vae import BETA_VAE
from evaluator.metrics.dci import COMPLETENESS, DCI, INFORMATIVENESS
from evaluator.metrics.factor_vae import FACTOR_VAE
from evaluator.metrics.irs import IRS
from evaluator.metrics.metric import Metric
from evaluator.metrics.mig import MIG
from evaluator.metrics.modularity_explicitness import EXPLICITNESS, MODULARITY
from evaluator.metrics.sap import SAP
from submission.errors import UserError, nearest

METRICS: Mapping[str, Metric] = {one.name: one for one in (DCI, FACTOR_VAE, SAP, MIG, IRS)}
"""The challenge's, in the order of the paper's Table 1."""

FURTHER_METRICS: Mapping[str, Metric] = {
    one.name: one for one in (COMPLETENESS, INFORMATIVENESS, BETA_VAE, MODULARITY, EXPLICITNESS)
}
"""Scored only where they are asked for, and no part of the sum."""

ALL_METRICS: Mapping[str, Metric] = {**METRICS, **FURTHER_METRICS}


def choose(names: Sequence[str]) -> list[Metric]:
    """Looks metrics up by name.

    Args:
        names: Names from `ALL_METRICS`; none means the challenge's.

    Returns:
        The metrics, in the order of `ALL_METRICS`, each once.

    Raises:
        UserError: An unknown name; the line gives the nearest one.
    """
    if isinstance(names, str):
        raise UserError(f"metrics is {names!r}, and must be a list of names: [{names!r}]")
    for name in names:
        if name not in ALL_METRICS:
            raise UserError(f"unknown metric {name!r}: {nearest(name, ALL_METRICS)}")
    return [metric for name, metric in ALL_METRICS.items() if name in (names or METRICS)]
