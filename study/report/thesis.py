"""What the numbers say about the paper's thesis, that the metrics are inadequate.

Each function reads tables of `study.report.agreement` and `study.report.table` and puts them in
plain words, by rules that stand here and do not know what any study found.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from evaluator.paper import METRIC_TITLES
from evaluator.report.baselines import Band
from study.report import agreement
from study.report.published import NORMALISED_SUM, table_1
from study.report.variants import beyond_seeds
from study.report.wording import counted, decimals, listed, metric_title, percent

CLOSE = 0.5
"""Kendall's tau from which two metrics agree closely: three of four pairs in the same order."""

SIGNIFICANCE = 0.05
"""Of the test that methods do not differ."""

EQUAL = 0.1
"""Two shares of differently ordered pairs count as equal when they are nearer than this."""

SUPPORTS, OPPOSES, OPEN = (
    "supports the thesis",
    "speaks against the thesis",
    "leaves the thesis open",
)

LEAST_CASES = 30
"""Fewer pairs of methods by pairs of seeds than this tell nothing of the noise in their order."""

_QUANTITIES = {
    "latents_in_use": "the latents in use",
    "reconstruction_error": "the reconstruction error",
}


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes:
        detail: The numbers in words, or why there are none.
        statement: What they say, in a plain sentence; empty where they say nothing.
        bearing: `SUPPORTS`, `OPPOSES` or `OPEN`; empty where the thesis isn't asked.
    """

    detail: str
    statement: str = ""
    bearing: str = ""


def on_worth(summary: pd.DataFrame, untrained: Mapping[str, Band]) -> Finding:
    """Which methods score more than representations that nobody has trained?

    Args:
        summary: Table 1.
        untrained: What those score, by metric; metrics that it lacks are left out.
    """
    known = _known(summary, "mean")
    known = known[known["metric"].isin(list(untrained))] if len(known) else known
    if known.empty:
        return Finding("What representations without training score isn't known here.")
    highest = known["metric"].map({metric: band.high for metric, band in untrained.items()})
    above = known[known["mean"] > highest]
    clear = known[known["mean"] - known["half_width"] > highest]
    means = f"the {counted(len(known), 'mean')} in Table 1"
    detail = (
        "A mean stands above when it is higher than the highest score of constants, noise, "
        "untrained encoders, random projections and principal components of the pixels."
    )
    if above.empty:
        return Finding(detail, f"None of {means} is above what models without training score.")
    if known["half_width"].notna().any():
        detail += (
            f" Of the {len(above)} that {'does' if len(above) == 1 else 'do'}, {len(clear)} "
            f"{'does' if len(clear) == 1 else 'do'} so with the whole interval."
        )
    if len(above) == len(known):
        return Finding(detail, f"All of {means} are above what models without training score.")
    by_method = [
        f"{label} by {listed(_titles(own['metric']))}"
        for label, own in above.groupby("label", sort=False)
    ]
    return Finding(
        detail,
        f"{len(above)} of {means} {'is' if len(above) == 1 else 'are'} above what models without "
        f"training score: {'; '.join(by_method)}.",
    )


def on_variants(differences: pd.DataFrame) -> Finding:
    """Which variants change a score by more than the seeds do?

    Args:
        differences: Of scores, as `study.report.variants.differences` gives them.
    """
    known = _known(differences, "half_width")
    if known.empty:
        return Finding(
            "Two runs or more of a variant, and of the study's first, tell difference from noise."
        )
    clear = known[beyond_seeds(known)]
    total = len(known)
    detail = (
        f"Of {counted(total, 'difference')} of means, the 95% interval of {len(clear)} leaves out "
        f"0; where no variant changed anything, chance would make about {0.05 * total:.1f}."
    )
    if clear.empty:
        return Finding(detail, "No variant changes a score by more than the seeds do.")
    told = []
    for label, changed in clear.groupby("label", sort=False):
        raised = changed["difference"] > 0
        parts = [
            f"{word} {listed(_titles(own['quantity']))}"
            for word, own in (("raises", changed[raised]), ("lowers", changed[~raised]))
            if len(own)
        ]
        told.append(f"{label} {' and '.join(parts)}")
    return Finding(detail, f"By more than the seeds do, {'; '.join(told)}.")


def on_papers_order(orders: pd.DataFrame) -> Finding:
    """Do the methods come in the order of the paper's Table 1?

    Args:
        orders: What `study.report.table.order_against_paper` gives.
    """
    known = _known(orders, "kendall")
    known = known[known["metric"] != NORMALISED_SUM] if len(known) else known
    if known.empty:
        return Finding("There are no two methods whose order could be held against the paper's.")
    told = [
        f"{decimals(row.kendall, 2)} by {metric_title(row.metric)}" for row in known.itertuples()
    ]
    detail = (
        f"Kendall's τ of this study's order and the paper's is {listed(told)}; 1 is the same order."
    )
    if known["methods"].max() < agreement.LEAST_RUNS:
        return Finding(f"{detail} Of fewer than {agreement.LEAST_RUNS} methods it may be chance.")
    near = (known["kendall"] >= CLOSE) & (known["p"] < SIGNIFICANCE)
    same, other = (_titles(known.loc[rows, "metric"]) for rows in (near, ~near))
    if not same:
        return Finding(detail, "By no metric do the methods clearly come in the paper's order.")
    statement = f"By {listed(same)} the methods come in the paper's order, or nearly so"
    if other:
        statement += f"; by {listed(other)} that isn't clear"
    return Finding(detail, f"{statement}.")


def on_correlations(correlations: pd.DataFrame) -> Finding:
    """Do the metrics rank the runs alike?"""
    known = _known(correlations, "kendall")
    if known.empty:
        return Finding(
            "No two metrics can be correlated: that takes three runs, and scores that differ."
        )
    total = len(known)
    close = int((known["kendall_low"] >= CLOSE).sum())
    apart = int((known["kendall_high"] < CLOSE).sum())
    opposed = int((known["kendall_high"] < 0).sum())
    lowest = known.loc[known["kendall"].idxmin()]
    highest = known.loc[known["kendall"].idxmax()]
    detail = f"Kendall's τ is {_tau(lowest)} for {_pair(lowest)}"
    if total > 1:
        detail += f", the lowest, and {_tau(highest)} for {_pair(highest)}, the highest"
    detail += (
        f". Agreement counts as close from τ = {CLOSE} on, where three of four pairs of runs stand "
        f"in the same order. Of {counted(total, 'pair')} of metrics, the interval of {close} lies "
        f"above that, of {apart} below, {opposed} of them below 0; {total - close - apart} "
        f"{'is' if total - close - apart == 1 else 'are'} open."
    )
    if total - close - apart > total / 2 or close == apart:
        return Finding(
            detail,
            "It takes more runs to tell whether the metrics rank them alike: of "
            f"{counted(total, 'pair')} of metrics, {apart} clearly differ and {close} clearly "
            "agree so far.",
            OPEN,
        )
    if apart > close:
        return Finding(
            detail,
            "More pairs of metrics rank the runs differently than alike: of "
            f"{total}, {apart} clearly differ and {close} clearly agree.",
            SUPPORTS,
        )
    return Finding(
        detail,
        f"More pairs of metrics rank the runs alike than differently: of {total}, {close} clearly "
        f"agree and {apart} clearly differ.",
        OPPOSES,
    )


def on_ranks(summary: pd.DataFrame) -> Finding:
    """Do the metrics name the same best method?"""
    leads = {}
    for metric, column in summary.groupby("metric", sort=False) if len(summary) else ():
        ordered = column.dropna(subset=["mean"]).sort_values("mean", ascending=False, kind="stable")
        if metric == NORMALISED_SUM or len(ordered) < 2:
            continue
        # A metric that ties the first two names no best method.
        if ordered["mean"].iloc[0] > ordered["mean"].iloc[1]:
            leads[metric] = (ordered.iloc[0], ordered.iloc[1])
    if len(leads) < 2:
        return Finding("There are no two metrics that each name a best of two methods or more.")
    praised: dict[str, list[str]] = {}
    for metric, (first, _) in leads.items():
        praised.setdefault(first["label"], []).append(metric_title(metric))
    in_paper = table_1().drop(columns=NORMALISED_SUM).idxmax().nunique()
    detail = f"In the paper's Table 1, {in_paper} methods are first by one metric or another."
    clear = {
        metric: first["label"]
        for metric, (first, second) in leads.items()
        # NaN, of single runs, is no interval and makes no lead clear.
        if first["mean"] - first["half_width"] >= second["mean"] + second["half_width"]
    }
    if all(math.isnan(one["half_width"]) for pair in leads.values() for one in pair):
        how_sure = "Single runs don't tell which leads are more than noise"
    elif len(clear) == len(leads):
        how_sure = "Each lead is clear of the second's interval"
    elif clear:
        how_sure = f"The lead is clear of the second's interval by {listed(_titles(clear))} only"
    else:
        how_sure = "Each lead may be noise, as its interval overlaps the second's"
    if len(praised) == 1:
        bearing = OPPOSES if len(clear) == len(leads) else OPEN
        who = f"All {counted(len(leads), 'metric')} put {next(iter(praised))} first"
    else:
        bearing = SUPPORTS if len(set(clear.values())) > 1 else OPEN
        firsts = "; ".join(f"{label} by {listed(metrics)}" for label, metrics in praised.items())
        who = f"{counted(len(leads), 'metric')} put {len(praised)} methods first: {firsts}"
    return Finding(detail, f"{who}. {how_sure}.", bearing)


def on_orders(orders: pd.DataFrame, seeds: pd.DataFrame) -> Finding:
    """Is the disagreement of two metrics more than that of one metric with itself?"""
    by_means = _pooled(orders, "pairs", "differently")
    single = _pooled(orders, "single_pairs", "single_differently")
    own = _pooled(seeds, "pairs", "differently")
    if math.isnan(by_means):
        return Finding("There are no two methods and two metrics whose orders could be compared.")
    paper = table_1().rename_axis("label").reset_index().assign(seed=0)
    in_paper = _pooled(
        agreement.order_disagreement(paper, list(METRIC_TITLES)), "pairs", "differently"
    )
    detail = (
        f"By the means over seeds, two metrics order a pair of methods differently in "
        f"{percent(by_means)} of all cases. Chance would be 50%; in the paper's Table 1 it is "
        f"{percent(in_paper)}."
    )
    if math.isnan(own) or math.isnan(single):
        return Finding(detail + " One seed alone does not tell how much of this is noise.")
    detail += (
        f" By single runs of the same seed it is {percent(single)}, and one metric orders a pair "
        f"differently on the runs of another seed in {percent(own)}."
    )
    shares = (
        f"two metrics order the same runs differently in {percent(single)} of cases, and one "
        f"metric the runs of two seeds in {percent(own)}"
    )
    if seeds["pairs"].sum() < LEAST_CASES:
        return Finding(
            detail, f"It takes more methods or seeds to tell noise from difference: {shares}.", OPEN
        )
    if single > own + EQUAL:
        return Finding(
            detail, f"The metrics measure different things, beyond noise: {shares}.", SUPPORTS
        )
    if single < own - EQUAL:
        return Finding(
            detail, f"Training is noisier than the metrics are different: {shares}.", OPPOSES
        )
    return Finding(detail, f"Noise alone may make the metrics differ: {shares}.", OPEN)


def on_components(components: pd.DataFrame) -> Finding:
    """Do the metrics tell methods apart, or seeds?"""
    known = _known(components, "share")
    if known.empty:
        return Finding(
            "Noise can't be told from the method's effect: that takes two methods, two seeds of "
            "one of them, and scores that differ."
        )
    shares = [f"{percent(row.share)} by {metric_title(row.metric)}" for row in known.itertuples()]
    apart = known["p"] < SIGNIFICANCE
    detail = (
        f"The method's share of the variance is {listed(shares)}; the rest is noise: what the seed "
        "changes in all methods alike, by its pre-training, and what it changes in one. "
        f"The F test tells methods apart (p < {SIGNIFICANCE}) by {int(apart.sum())} of "
        f"{counted(len(known), 'metric')}."
    )
    below = known["high"] < 0.5
    noisy, telling, other = (
        _titles(known.loc[rows, "metric"]) for rows in (below, ~below & apart, ~below & ~apart)
    )
    parts = []
    if noisy:
        parts.append(
            f"by {listed(noisy)}, methods differ less than two runs of one method do, so single "
            "runs, as the paper's, can't rank them"
        )
    if telling:
        parts.append(f"by {listed(telling)}, methods differ by more than noise")
    if other:
        parts.append(f"by {listed(other)}, it takes more runs to tell methods from noise")
    statement = "; ".join(parts)
    bearing = SUPPORTS if noisy else OPEN if other else OPPOSES
    return Finding(detail, f"{statement[0].upper()}{statement[1:]}.", bearing)


def on_model(against: pd.DataFrame, scores: pd.DataFrame, summary: pd.DataFrame) -> Finding:
    """Do the metrics go with the latents in use, and with the reconstruction?

    The paper's own evidence is DIP-VAE-II: most latents in use, lowest normalised sum.
    """
    known = _known(against, "kendall")
    clear = known[(known["kendall_low"] > 0) | (known["kendall_high"] < 0)] if len(known) else known
    if known.empty:
        detail = (
            "No metric can be held against latents in use or reconstruction error: that takes "
            "three runs, and values that differ."
        )
    elif clear.empty:
        detail = "No metric clearly goes with the latents in use or with the reconstruction error."
    else:
        told = [
            f"{metric_title(row.first)} {'rises' if row.kendall > 0 else 'falls'} with "
            f"{_QUANTITIES[row.second]} (τ {decimals(row.kendall, 2)})"
            for row in clear.itertuples()
        ]
        detail = f"Clear, with an interval that leaves out 0: {listed(told)}."
    if summary.empty:
        return Finding(detail)
    rows = summary[summary["metric"] == NORMALISED_SUM].set_index("label").dropna(subset=["mean"])
    sums = rows["mean"]
    in_use = scores.groupby("label", sort=False)["latents_in_use"].mean().dropna().astype(float)
    in_use = in_use[in_use.index.isin(sums.index)]
    if len(in_use) < 2:
        return Finding(detail)
    if in_use.nunique() == 1:
        return Finding(f"{detail} All methods use the same number of latents ({in_use.iloc[0]:g}).")
    most = [str(label) for label in in_use.index[in_use == in_use.max()]]
    if len(most) > 1:
        return Finding(
            f"{detail} {len(most)} of {len(in_use)} methods share the most latents in use "
            f"({in_use.max():.3g} on average), so the paper's observation can't be looked for."
        )
    place = sums.rank(ascending=False, method="min").astype(int)[most[0]]
    named = {1: "first", len(sums): "last"}.get(place, f"{place} of {len(sums)}")
    statement = (
        f"{most[0]} has the most latents in use ({in_use.max():.3g} on average) and comes {named} "
        "by the normalised sum; in the paper, DIP-VAE-II had the most and came last."
    )
    low, high = sums - rows["half_width"], sums + rows["half_width"]
    others = sums.index != most[0]
    # NaN, of single runs, makes no place clear.
    if len(sums) > 2 and (high[most[0]] < low[others]).all():
        return Finding(detail, statement, SUPPORTS)
    if len(sums) > 2 and (low[most[0]] > high[others]).any():
        return Finding(detail, statement, OPPOSES)
    return Finding(detail, f"{statement} The intervals leave its place open.", OPEN)


def _known(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame.dropna(subset=[column]) if len(frame) else frame


def _pooled(frame: pd.DataFrame, count: str, share: str) -> float:
    """The share over all that was counted; NaN where nothing was."""
    known = _known(frame, share)
    if known.empty:
        return math.nan
    return float((known[count] * known[share]).sum() / known[count].sum())


def _pair(row: pd.Series) -> str:
    return listed([metric_title(row["first"]), metric_title(row["second"])])


def _tau(row: pd.Series) -> str:
    return decimals(row["kendall"], 2)


def _titles(metrics: Iterable[str]) -> list[str]:
    return [metric_title(name) for name in metrics]
