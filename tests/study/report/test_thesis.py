import math
import re

import pandas as pd
import pytest

from evaluator.paper import METHOD_TITLES, METRIC_TITLES
from evaluator.report.baselines import Band
from study.report import table, thesis
from study.report.published import NORMALISED_SUM, table_1

METRICS = list(METRIC_TITLES)


def correlations(*intervals: tuple[float, float, float]) -> pd.DataFrame:
    """Kendall's tau of pairs of metrics, with the ends of its interval."""
    rows = [
        {"first": "mig", "second": "irs", "kendall": tau, "kendall_low": low, "kendall_high": high}
        for tau, low, high in intervals
    ]
    return pd.DataFrame(rows)


def orders(differently: float, single: float, pairs: int = 15) -> pd.DataFrame:
    row = {"first": "mig", "second": "irs", "pairs": pairs, "differently": differently}
    return pd.DataFrame([row | {"single_pairs": 45, "single_differently": single}])


def seeds(differently: float) -> pd.DataFrame:
    return pd.DataFrame([{"metric": "mig", "pairs": 45, "differently": differently}])


def summary(half_width: float = math.nan, **means: tuple[float, float]) -> pd.DataFrame:
    """The means of MIG and IRS by method, with intervals of one half width."""
    rows = [
        {"label": METHOD_TITLES[method], "method": method, "seed": 0, "mig": mig, "irs": irs}
        for method, (mig, irs) in means.items()
    ]
    return table.summarise(pd.DataFrame(rows)).assign(half_width=half_width)


def in_use(**latents: list[int | None]) -> pd.DataFrame:
    rows = [
        {"label": METHOD_TITLES[method], "latents_in_use": count}
        for method, counts in latents.items()
        for count in counts
    ]
    return pd.DataFrame(rows).astype({"latents_in_use": "Int64"})


def untrained(**highest: float) -> dict[str, Band]:
    return {metric: Band(0.0, high, 4) for metric, high in highest.items()}


def changes(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """What variants change: a label, the metric, the difference and its interval."""
    return pd.DataFrame(rows, columns=["label", "quantity", "difference", "half_width"])


def test_variants_that_change_a_score_beyond_the_seeds_are_named():
    found = thesis.on_variants(
        changes(
            ("β-VAE (wide)", "mig", 0.3, 0.1),
            ("β-VAE (wide)", "irs", -0.3, 0.1),
            ("β-VAE (wide)", "dci", 0.1, 0.2),
            ("VAE (wide)", "mig", 0.1, math.nan),
        )
    )
    assert found.statement == ("By more than the seeds do, β-VAE (wide) raises MIG and lowers IRS.")
    assert "Of 3 differences of means, the 95% interval of 2 leaves out 0" in found.detail
    assert "chance would make about 0.2" in found.detail
    assert not found.bearing


def test_variants_within_the_seeds_change_nothing():
    found = thesis.on_variants(changes(("β-VAE (wide)", "mig", 0.1, 0.2)))
    assert found.statement == "No variant changes a score by more than the seeds do."


def test_single_runs_of_variants_tell_nothing():
    found = thesis.on_variants(changes(("β-VAE (wide)", "mig", 0.1, math.nan)))
    assert not found.statement
    assert "Two runs or more" in found.detail


@pytest.mark.parametrize(
    ("highest", "words"),
    [
        (
            {"mig": 0.15, "irs": 0.55},
            "2 of the 4 means in Table 1 are above .*: β-VAE by MIG and IRS",
        ),
        ({"mig": 0.25, "irs": 0.45}, "2 of the 4 means .*: VAE by IRS; β-VAE by IRS"),
        ({"mig": 0.25}, "None of the 2 means in Table 1 is above"),
        ({"irs": 0.4}, "All of the 2 means in Table 1 are above"),
    ],
)
def test_means_above_what_models_without_training_score_are_named(highest, words):
    table = summary(vae=(0.1, 0.5), beta_vae=(0.2, 0.6))
    assert re.match(words, thesis.on_worth(table, untrained(**highest)).statement)


@pytest.mark.parametrize(("half_width", "clear"), [(0.04, "1 does"), (0.06, "0 do")])
def test_a_mean_is_clearly_above_with_its_whole_interval(half_width, clear):
    table = summary(half_width, vae=(0.1, 0.5), beta_vae=(0.2, 0.6))
    detail = thesis.on_worth(table, untrained(mig=0.15)).detail
    assert f"Of the 1 that does, {clear} so with the whole interval." in detail


def test_the_papers_order_is_told_by_metric():
    rows = [("mig", 0.87, 0.02), ("irs", 0.2, 0.7), ("dci", 0.6, 0.2), (NORMALISED_SUM, 1.0, 0.0)]
    order = pd.DataFrame(rows, columns=["metric", "kendall", "p"]).assign(methods=6)
    finding = thesis.on_papers_order(order)
    assert finding.statement == (
        "By MIG the methods come in the paper's order, or nearly so; by IRS and DCI that isn't "
        "clear."
    )
    assert "is 0.87 by MIG, 0.20 by IRS and 0.60 by DCI" in finding.detail
    assert thesis.on_papers_order(order[1:3]).statement.startswith("By no metric")
    few = thesis.on_papers_order(order.assign(methods=4))
    assert not few.statement and "Of fewer than 5 methods it may be chance." in few.detail


FOR, AGAINST, OPEN = thesis.SUPPORTS, thesis.OPPOSES, thesis.OPEN


@pytest.mark.parametrize(
    ("intervals", "words", "bearing"),
    [
        (
            [(0.8, 0.6, 0.9), (0.7, 0.5, 0.9), (0.6, 0.2, 0.9)],
            "of 3, 2 clearly agree and 0 clearly differ",
            AGAINST,
        ),
        (
            [(0.8, 0.6, 0.9), (0.1, -0.2, 0.4), (-0.5, -0.9, -0.1)],
            "of 3, 2 clearly differ and 1 clearly agree",
            FOR,
        ),
        ([(0.8, 0.6, 0.9), (0.1, -0.2, 0.4)], "1 clearly differ and 1 clearly agree so far", OPEN),
        (
            [(0.1, -0.2, 0.4), (0.4, -1.0, 1.0), (0.4, -1.0, 1.0)],
            "of 3 pairs of metrics, 1 clearly differ and 0 clearly agree so far",
            OPEN,
        ),
        ([(0.4, -1.0, 1.0)], "of 1 pair of metrics, 0 clearly differ", OPEN),
        ([(0.4, math.nan, math.nan)], "of 1 pair of metrics, 0 clearly differ", OPEN),
    ],
)
def test_pairs_that_clearly_agree_are_held_against_those_that_do_not(intervals, words, bearing):
    finding = thesis.on_correlations(correlations(*intervals))
    assert words in finding.statement
    assert finding.bearing == bearing


def test_the_extremes_are_named():
    detail = thesis.on_correlations(correlations((0.8, 0.6, 0.9), (-0.5, -0.9, -0.1))).detail
    assert "is \N{MINUS SIGN}0.50 for MIG and IRS, the lowest, and 0.80" in detail
    assert "the interval of 1 lies above that, of 1 below, 1 of them below 0; 0 are open" in detail


@pytest.mark.parametrize(
    ("means", "half_width", "words", "bearing"),
    [
        ({"vae": (0.2, 0.6), "beta_vae": (0.1, 0.5)}, 0.01, "All 2 metrics put VAE", AGAINST),
        ({"vae": (0.2, 0.6), "beta_vae": (0.1, 0.5)}, 0.06, "Each lead may be noise", OPEN),
        ({"vae": (0.2, 0.5), "beta_vae": (0.1, 0.6)}, 0.01, "VAE by MIG; β-VAE by IRS", FOR),
        ({"vae": (0.2, 0.5), "beta_vae": (0.1, 0.6)}, 0.01, "Each lead is clear", FOR),
        ({"vae": (0.2, 0.5), "beta_vae": (0.1, 0.9)}, 0.06, "interval by IRS only", OPEN),
        ({"vae": (0.2, 0.5), "beta_vae": (0.1, 0.6)}, math.nan, "Single runs don't tell", OPEN),
    ],
)
def test_first_places_are_counted_and_whether_they_are_clear(means, half_width, words, bearing):
    finding = thesis.on_ranks(summary(half_width, **means))
    assert words in finding.statement
    assert finding.bearing == bearing


def test_the_papers_own_first_places_are_four():
    finding = thesis.on_ranks(summary(vae=(0.2, 0.5), beta_vae=(0.1, 0.6)))
    assert "In the paper's Table 1, 4 methods are first" in finding.detail


@pytest.mark.parametrize(
    ("single", "own", "words", "bearing"),
    [
        (0.5, 0.2, "different things, beyond noise: .* in 50% .* of two seeds in 20%", FOR),
        (0.2, 0.25, "Noise alone may make the metrics differ", OPEN),
        (0.1, 0.4, "Training is noisier than the metrics are different", AGAINST),
    ],
)
def test_disagreement_is_held_against_that_of_one_metric_with_itself(single, own, words, bearing):
    finding = thesis.on_orders(orders(0.3, single), seeds(own))
    assert re.search(words, finding.statement)
    assert finding.bearing == bearing


def test_the_papers_own_disagreement_is_told():
    # Ten pairs of metrics with fifteen of methods each, less four times the one that MIG ties.
    values = table_1()
    differ = total = 0
    for first in range(5):
        for second in range(first):
            for one in range(6):
                for other in range(one):
                    product = (values.iloc[one, first] - values.iloc[other, first]) * (
                        values.iloc[one, second] - values.iloc[other, second]
                    )
                    total += abs(product) > 1e-12
                    differ += product < -1e-12
    assert total == 146
    detail = thesis.on_orders(orders(0.3, 0.3), seeds(0.3)).detail
    assert f"in the paper's Table 1 it is {differ / total:.0%}" in detail


def test_one_seed_leaves_the_disagreement_without_a_verdict():
    finding = thesis.on_orders(orders(0.3, 0.3), seeds(math.nan))
    assert "One seed alone" in finding.detail
    assert not finding.statement


@pytest.mark.parametrize(
    ("highs", "ps", "words", "bearing"),
    [
        ((0.9, 0.3), (0.01, 0.6), "By IRS, methods differ less .*; by MIG, methods differ by", FOR),
        ((0.3, 0.4), (0.6, 0.6), "By MIG and IRS, methods differ less .* can't rank them.$", FOR),
        ((0.9, 0.8), (0.01, 0.04), "By MIG and IRS, methods differ by more than noise.$", AGAINST),
        ((0.9, 0.8), (0.01, 0.3), "By MIG, methods .*; by IRS, it takes more runs to tell", OPEN),
    ],
)
def test_the_methods_effect_is_held_against_noise(highs, ps, words, bearing):
    rows = [
        {"metric": metric, "share": 0.2, "high": high, "p": p}
        for metric, high, p in zip(("mig", "irs"), highs, ps, strict=True)
    ]
    finding = thesis.on_components(pd.DataFrame(rows))
    assert re.match(words, finding.statement)
    assert finding.bearing == bearing
    apart = sum(p < 0.05 for p in ps)
    assert f"apart (p < 0.05) by {apart} of 2 metrics" in finding.detail


def test_two_methods_by_two_seeds_leave_it_open():
    few = pd.DataFrame([{"metric": "mig", "pairs": 5, "differently": 0.2}])
    assert thesis.on_orders(orders(0.3, 0.6), few).bearing == OPEN
    two = summary(vae=(0.3, 0.6), beta_vae=(0.1, 0.4))
    assert thesis.on_model(pd.DataFrame(), in_use(vae=[4], beta_vae=[9]), two).bearing == OPEN


@pytest.mark.parametrize(
    ("latents", "words", "bearing"),
    [
        ({"vae": [4, 4], "beta_vae": [9, 8]}, "β-VAE has .* (8.5 on average) and comes last", FOR),
        ({"vae": [9, 8], "beta_vae": [4, 4]}, "VAE has the most .* and comes first by", AGAINST),
    ],
)
def test_the_method_with_most_latents_in_use_is_looked_up_in_the_sums(latents, words, bearing):
    table = summary(0.05, vae=(0.3, 0.6), info_vae=(0.2, 0.5), beta_vae=(0.1, 0.4))
    finding = thesis.on_model(pd.DataFrame(), in_use(**latents), table)
    assert re.match(words.replace("(", r"\(").replace(")", r"\)"), finding.statement)
    assert finding.bearing == bearing


@pytest.mark.parametrize("half_width", [math.nan, 1.0])
def test_a_place_within_the_intervals_of_others_leaves_it_open(half_width):
    table = summary(half_width, vae=(0.3, 0.6), info_vae=(0.2, 0.5), beta_vae=(0.1, 0.4))
    finding = thesis.on_model(pd.DataFrame(), in_use(vae=[4], beta_vae=[9], info_vae=[4]), table)
    assert finding.bearing == OPEN
    assert finding.statement.endswith("The intervals leave its place open.")


def test_several_methods_with_most_latents_in_use_say_nothing():
    table = summary(vae=(0.3, 0.6), info_vae=(0.2, 0.5), beta_vae=(0.1, 0.4))
    finding = thesis.on_model(pd.DataFrame(), in_use(vae=[9], info_vae=[9], beta_vae=[4]), table)
    assert "2 of 3 methods share the most latents in use (9 on average)" in finding.detail
    assert not finding.statement


def test_as_many_latents_everywhere_say_nothing():
    table = summary(vae=(0.3, 0.6), beta_vae=(0.1, 0.4))
    finding = thesis.on_model(pd.DataFrame(), in_use(vae=[4], beta_vae=[4]), table)
    assert "All methods use the same number of latents (4)." in finding.detail
    assert not finding.statement


def test_clear_relations_to_the_model_are_named():
    against = correlations((0.6, 0.2, 0.9), (-0.7, -0.9, -0.2), (0.1, -0.5, 0.6)).assign(
        first=["mig", "irs", "dci"],
        second=["latents_in_use", "reconstruction_error", "latents_in_use"],
    )
    table = summary(vae=(0.3, 0.6), beta_vae=(0.1, 0.4))
    detail = thesis.on_model(against, in_use(vae=[None], beta_vae=[None]), table).detail
    assert "MIG rises with the latents in use (τ 0.60)" in detail
    assert "IRS falls with the reconstruction error" in detail
    assert "DCI" not in detail


def test_nothing_to_go_by_is_told_and_has_no_meaning():
    nothing = pd.DataFrame()
    for finding in (
        thesis.on_worth(nothing, untrained(mig=0.1)),
        thesis.on_worth(summary(vae=(0.3, 0.6)), {}),
        thesis.on_papers_order(nothing),
        thesis.on_correlations(nothing),
        thesis.on_correlations(correlations((math.nan,) * 3)),
        thesis.on_ranks(nothing),
        thesis.on_ranks(summary(vae=(0.3, 0.6))),
        thesis.on_ranks(summary(vae=(0.3, 0.6), beta_vae=(0.3, 0.5))),
        thesis.on_orders(nothing, nothing),
        thesis.on_orders(orders(math.nan, math.nan, pairs=0), seeds(math.nan)),
        thesis.on_components(nothing),
        thesis.on_model(nothing, in_use(vae=[None]), nothing),
    ):
        assert finding.detail.endswith(".")
        assert not finding.statement


def test_the_papers_single_runs_name_four_best_methods_and_leave_open_which_leads_are_noise():
    paper = table_1().drop(columns=NORMALISED_SUM).rename_axis("method").reset_index()
    runs = paper.assign(label=paper["method"].map(METHOD_TITLES), seed=0)
    finding = thesis.on_ranks(table.summarise(runs))
    assert finding.statement.startswith("5 metrics put 4 methods first")
    assert finding.bearing == OPEN
