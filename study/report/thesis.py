"""What the numbers say about the paper's thesis, that the metrics are inadequate.

Each function reads tables of `study.report.agreement` and `study.report.table` and puts them in
plain words, by rules that stand here and do not know what any study found.
"""

import math
from dataclasses import dataclass

import pandas as pd

from evaluator.paper import METRIC_TITLES
from study.report import agreement
from study.report.published import NORMALISED_SUM, table_1
from study.report.wording import counted, decimals, listed, metric_title, percent

CLOSE = 0.5
"""Kendall's tau from which two metrics agree closely: three of four pairs in the same order."""

SIGNIFICANCE = 0.05
"""Of the test that methods do not differ."""

EQUAL = 0.1
"""Two shares of differently ordered pairs count as equal when they are nearer than this."""

_QUANTITIES = {
    "latents_in_use": "the latents in use",
    "reconstruction_error": "the reconstruction error",
}


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes:
        detail: The numbers in words, or why there are none.
        meaning: What they say about the thesis, one sentence; empty where they say nothing.
    """

    detail: str
    meaning: str = ""


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
        meaning = (
            "Whether the metrics rank the runs alike is open: "
            f"{close} of {counted(total, 'pair')} clearly agree closely, {apart} clearly do not."
        )
    elif apart > close:
        meaning = (
            f"{apart} of {counted(total, 'pair')} of metrics clearly do not rank the runs closely "
            f"alike and {close} clearly do, which supports the thesis."
        )
    else:
        meaning = (
            f"{close} of {counted(total, 'pair')} of metrics clearly rank the runs closely alike "
            f"and {apart} clearly do not, which speaks against the thesis."
        )
    return Finding(detail, meaning)


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
    total = counted(len(leads), "metric")
    praised: dict[str, list[str]] = {}
    for metric, (first, _) in leads.items():
        praised.setdefault(first["label"], []).append(metric_title(metric))
    firsts = [f"{label} by {listed(metrics)}" for label, metrics in praised.items()]
    in_paper = table_1().drop(columns=NORMALISED_SUM).idxmax().nunique()
    detail = (
        f"First by the means: {'; '.join(firsts)}. In the paper's Table 1, {in_paper} methods are "
        "first by one metric or another."
    )
    halves = [(first["half_width"], second["half_width"]) for first, second in leads.values()]
    if not any(math.isnan(half) for pair in halves for half in pair):
        unclear = sum(
            bool(first["mean"] - first["half_width"] < second["mean"] + second["half_width"])
            for first, second in leads.values()
        )
        detail += f" The intervals of the first and the second overlap by {unclear} of {total}."
        if unclear:
            reach = f"as far as the leads are real: {unclear} of {len(leads)} may be noise"
        else:
            reach = "and every lead is clear of the second"
    else:
        reach = "as far as single runs can be trusted"
    if len(praised) == 1:
        meaning = f"All {total} put {next(iter(praised))} first: against the thesis, {reach}."
    else:
        meaning = f"{total} put {len(praised)} different methods first: for the thesis, {reach}."
    return Finding(detail, meaning)


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
    if single > own + EQUAL:
        meaning = (
            f"Two metrics disagree more on the same runs ({percent(single)}) than one metric does "
            f"with itself on other seeds ({percent(own)}), so it is likely more than "
            "noise: that supports the thesis."
        )
    elif single < own - EQUAL:
        meaning = (
            f"Two metrics disagree less on the same runs ({percent(single)}) than one metric does "
            f"with itself on other seeds ({percent(own)}): that speaks for noise in the training "
            "rather than for the thesis."
        )
    else:
        meaning = (
            f"Two metrics disagree about as often on the same runs ({percent(single)}) as one "
            f"metric does with itself on other seeds ({percent(own)}), so noise alone may be the "
            "reason: no support for the thesis."
        )
    return Finding(detail, meaning)


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
    # What a seed does to all methods alike does not change their order within it.
    noisy = [metric_title(name) for name in known.loc[known["method"] < known["rest"], "metric"]]
    if noisy:
        meaning = (
            f"By {listed(noisy)}, the methods are estimated to differ less than noise alone makes "
            "two runs from the same weights differ: single runs, as the paper's, can't rank "
            "methods so, which supports the thesis."
        )
    else:
        meaning = (
            "By every metric, the methods are estimated to differ more than noise alone makes two "
            "runs from the same weights differ: each measures something that repeats, so noise is "
            "no support for the thesis."
        )
    return Finding(detail, meaning)


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
    sums = summary[summary["metric"] == NORMALISED_SUM].set_index("label")["mean"].dropna()
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
    who = f"{most[0]}, with the most latents in use ({in_use.max():.3g} on average),"
    if place == len(sums):
        meaning = (
            f"{who} comes last by the normalised sum, as DIP-VAE-II did in the paper: its "
            "observation is repeated, which supports the thesis."
        )
    else:
        meaning = (
            f"{who} comes {place} of {len(sums)} by the normalised sum, and DIP-VAE-II came last "
            "in the paper: its observation is not repeated."
        )
    return Finding(detail, meaning)


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
