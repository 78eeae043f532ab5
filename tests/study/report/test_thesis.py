import math

import pandas as pd
import pytest

from evaluator.paper import METHOD_TITLES, METRIC_TITLES
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


FOR, AGAINST = "supports the thesis", "speaks against the thesis"


@pytest.mark.parametrize(
    ("intervals", "words"),
    [
        ([(0.8, 0.6, 0.9), (0.7, 0.5, 0.9), (0.6, 0.2, 0.9)], f"2 of 3 pairs .* {AGAINST}"),
        ([(0.8, 0.6, 0.9), (0.1, -0.2, 0.4), (-0.5, -0.9, -0.1)], f"2 of 3 pairs .* {FOR}"),
        ([(0.8, 0.6, 0.9), (0.1, -0.2, 0.4)], "is open: 1 of 2 pairs .* agree closely, 1 .* not"),
        (
            [(0.1, -0.2, 0.4), (0.4, -1.0, 1.0), (0.4, -1.0, 1.0)],
            "is open: 0 of 3 pairs .* 1 clear",
        ),
        ([(0.4, -1.0, 1.0)], "is open: 0 of 1 pair "),
        ([(0.4, math.nan, math.nan)], "is open: 0 of 1 pair "),
    ],
)
def test_pairs_that_clearly_agree_are_held_against_those_that_do_not(intervals, words):
    finding = thesis.on_correlations(correlations(*intervals))
    assert pd.Series([finding.meaning]).str.contains(words).all()


def test_the_extremes_are_named():
    detail = thesis.on_correlations(correlations((0.8, 0.6, 0.9), (-0.5, -0.9, -0.1))).detail
    assert "is \N{MINUS SIGN}0.50 for MIG and IRS, the lowest, and 0.80" in detail
    assert "the interval of 1 lies above that, of 1 below, 1 of them below 0; 0 are open" in detail


@pytest.mark.parametrize(
    ("means", "half_width", "words"),
    [
        ({"vae": (0.2, 0.6), "beta_vae": (0.1, 0.5)}, 0.01, "All 2 metrics put VAE first: against"),
        ({"vae": (0.2, 0.5), "beta_vae": (0.1, 0.6)}, 0.01, "put 2 different methods first: for"),
        ({"vae": (0.2, 0.5), "beta_vae": (0.1, 0.6)}, 0.01, "every lead is clear of the second"),
        ({"vae": (0.2, 0.5), "beta_vae": (0.1, 0.9)}, 0.06, "1 of 2 may be noise"),
        ({"vae": (0.2, 0.5), "beta_vae": (0.1, 0.6)}, math.nan, "as far as single runs"),
    ],
)
def test_first_places_are_counted_and_whether_they_are_clear(means, half_width, words):
    assert words in thesis.on_ranks(summary(half_width, **means)).meaning


def test_the_papers_own_first_places_are_four():
    finding = thesis.on_ranks(summary(vae=(0.2, 0.5), beta_vae=(0.1, 0.6)))
    assert "In the paper's Table 1, 4 methods are first" in finding.detail
    assert "VAE by MIG; β-VAE by IRS" in finding.detail


@pytest.mark.parametrize(
    ("single", "own", "words"),
    [
        (0.5, 0.2, f"disagree more on the same runs (50%) .* (20%), .* {FOR}"),
        (0.2, 0.25, "disagree about as often .* no support for the thesis"),
        (0.1, 0.4, "disagree less .* noise in the training rather than for the thesis"),
    ],
)
def test_disagreement_is_held_against_that_of_one_metric_with_itself(single, own, words):
    meaning = thesis.on_orders(orders(0.3, single), seeds(own)).meaning
    pattern = words.replace("(", r"\(").replace(")", r"\)")
    assert pd.Series([meaning]).str.contains(pattern).all()


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
    assert not finding.meaning


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ((0.09, 0.02), "By IRS, the methods are .* differ less than noise .* supports the thesis"),
        ((0.03, -0.01), "By MIG and IRS, the methods"),
        ((0.09, 0.06), "By every metric, the methods .* no support for the thesis"),
    ],
)
def test_the_methods_effect_is_held_against_what_is_left_within_a_seed(methods, words):
    rows = [
        {
            **{"metric": metric, "method": method, "seed": 9.0, "rest": 0.05},
            **{"share": 0.01, "p": 0.01 if method > 0.05 else 0.3},
        }
        for metric, method in zip(("mig", "irs"), methods, strict=True)
    ]
    finding = thesis.on_components(pd.DataFrame(rows))
    assert pd.Series([finding.meaning]).str.contains(words).all()
    apart = sum(method > 0.05 for method in methods)
    assert f"apart (p < 0.05) by {apart} of 2 metrics" in finding.detail


@pytest.mark.parametrize(
    ("latents", "words"),
    [
        ({"vae": [4, 4], "beta_vae": [9, 8]}, "β-VAE, .* (8.5 on average), comes last"),
        ({"vae": [9, 8], "beta_vae": [4, 4]}, "VAE, .* comes 1 of 3 .* is not repeated"),
    ],
)
def test_the_method_with_most_latents_in_use_is_looked_up_in_the_sums(latents, words):
    table = summary(vae=(0.3, 0.6), info_vae=(0.2, 0.5), beta_vae=(0.1, 0.4))
    finding = thesis.on_model(pd.DataFrame(), in_use(**latents), table)
    pattern = words.replace("(", r"\(").replace(")", r"\)")
    assert pd.Series([finding.meaning]).str.contains(pattern).all()


def test_several_methods_with_most_latents_in_use_say_nothing():
    table = summary(vae=(0.3, 0.6), info_vae=(0.2, 0.5), beta_vae=(0.1, 0.4))
    finding = thesis.on_model(pd.DataFrame(), in_use(vae=[9], info_vae=[9], beta_vae=[4]), table)
    assert "2 of 3 methods share the most latents in use (9 on average)" in finding.detail
    assert not finding.meaning


def test_as_many_latents_everywhere_say_nothing():
    table = summary(vae=(0.3, 0.6), beta_vae=(0.1, 0.4))
    finding = thesis.on_model(pd.DataFrame(), in_use(vae=[4], beta_vae=[4]), table)
    assert "All methods use the same number of latents (4)." in finding.detail
    assert not finding.meaning


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
        assert not finding.meaning


def test_the_papers_table_alone_supports_its_thesis():
    """The paper's values, as single runs, through the rule for the best method."""
    paper = table_1().drop(columns=NORMALISED_SUM).rename_axis("method").reset_index()
    runs = paper.assign(label=paper["method"].map(METHOD_TITLES), seed=0)
    finding = thesis.on_ranks(table.summarise(runs))
    assert finding.meaning.startswith("5 metrics put 4 different methods first: for the thesis")
