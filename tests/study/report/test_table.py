import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluator.paper import METHOD_TITLES, METRIC_TITLES
from study.report import table
from study.report.published import NORMALISED_SUM, table_1
from study.report.wording import MINUS, NOTHING

METRICS = list(METRIC_TITLES)


def runs(**values: list[float]) -> pd.DataFrame:
    """The MIG and IRS of runs, two numbers each, by method."""
    rows = [
        {"label": METHOD_TITLES[method], "method": method, "seed": seed, "mig": mig, "irs": irs}
        for method, pairs in values.items()
        for seed, (mig, irs) in enumerate(pairs)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def paper() -> pd.DataFrame:
    """The paper's values as the runs of a study."""
    scores = table_1()[METRICS].rename_axis("method").reset_index()
    return scores.assign(label=scores["method"].map(METHOD_TITLES), seed=0)


@pytest.fixture
def two() -> pd.DataFrame:
    return runs(
        beta_vae=[(0.10, 0.50), (0.14, 0.54), (0.12, 0.46)],
        info_vae=[(0.20, 0.40), (0.22, 0.42), (0.30, 0.35)],
    )


def cell(summary: pd.DataFrame, label: str, metric: str) -> pd.Series:
    (row,) = summary[(summary["label"] == label) & (summary["metric"] == metric)].iloc
    return row


# The normalised sum.


def test_the_papers_values_give_its_normalised_sums_within_rounding(paper):
    """Each printed value stands for all that round to it; so do the maxima that divide it."""
    sums = table.normalised_sums(paper.set_index("method")[METRICS])
    half = 0.0005
    maxima = paper[METRICS].max()
    for method, values in paper.set_index("method")[METRICS].iterrows():
        low = sum((values - half) / (maxima + half))
        # A maximum divided by itself is 1, however it was rounded.
        high = sum(np.minimum((values + half) / (maxima - half), 1))
        printed = table_1().loc[method, NORMALISED_SUM]
        assert low - half <= printed <= high + half
        assert sums[method] == pytest.approx(printed, abs=0.007)


def test_the_paper_is_repeated_row_by_row(paper):
    summary = table.summarise(paper)
    assert summary["label"].unique().tolist() == list(METHOD_TITLES.values())[:6]
    own = summary[summary["metric"] != NORMALISED_SUM]
    assert (own["difference"] == 0).all()
    bold = {(row.label, row.metric) for row in summary[summary["best"]].itertuples()}
    assert bold == {
        ("β-TCVAE", "dci"),
        ("DIP-VAE-I", "factor_vae_metric"),
        ("Factor-VAE", "sap_score"),
        ("β-VAE", "mig"),
        ("β-TCVAE", "irs"),
        ("β-TCVAE", NORMALISED_SUM),
    }


def test_a_sum_worked_by_hand():
    values = pd.DataFrame({"mig": [0.1, 0.4], "irs": [0.6, 0.3]}, index=["a", "b"])
    assert table.normalised_sums(values).to_dict() == pytest.approx({"a": 1.25, "b": 1.5})


@pytest.mark.parametrize("mig", [[0.0, 0.0], [-0.1, 0.0]])
def test_a_metric_without_a_positive_value_is_left_out_of_the_sum_and_told(mig):
    scores = runs(beta_vae=[(mig[0], 0.5)], info_vae=[(mig[1], 0.25)])
    summary = table.summarise(scores)
    assert cell(summary, "β-VAE", NORMALISED_SUM)["mean"] == 1.0
    assert cell(summary, "Info-VAE", NORMALISED_SUM)["mean"] == 0.5
    assert "MIG is left out of the sum" in " ".join(table.notes(summary))


def test_no_metric_to_normalise_gives_no_sum():
    assert table.normalised_sums(pd.DataFrame({"mig": [0.0, -1.0]})).isna().all()


def test_the_sum_of_the_means_is_the_mean_of_the_runs_sums(two):
    summary = table.summarise(two)
    by_run = table.run_sums(two).groupby(two["label"]).mean()
    for label in ("β-VAE", "Info-VAE"):
        assert cell(summary, label, NORMALISED_SUM)["mean"] == pytest.approx(by_run[label])
    # 0.12 / 0.24 + 0.5 / 0.5
    assert by_run["β-VAE"] == pytest.approx(1.5)


def test_the_sums_interval_is_that_of_the_runs_divided_by_the_same_maxima(two):
    sums = np.array([0.10 / 0.24 + 1.0, 0.14 / 0.24 + 1.08, 0.12 / 0.24 + 0.92])
    low, high = stats.t.interval(0.95, 2, sums.mean(), stats.sem(sums))
    row = cell(table.summarise(two), "β-VAE", NORMALISED_SUM)
    assert row["mean"] - row["half_width"] == pytest.approx(low)
    assert row["mean"] + row["half_width"] == pytest.approx(high)


# Means, intervals, bold.


def test_the_interval_is_students(two):
    low, high = stats.t.interval(0.95, 2, 0.12, stats.sem([0.10, 0.14, 0.12]))
    row = cell(table.summarise(two), "β-VAE", "mig")
    assert (row["mean"], row["runs"]) == (pytest.approx(0.12), 3)
    assert row["mean"] - row["half_width"] == pytest.approx(low)
    assert row["mean"] + row["half_width"] == pytest.approx(high)


def test_one_run_has_no_interval(paper):
    summary = table.summarise(paper)
    assert summary["half_width"].isna().all()
    assert "One run each: there are no intervals" in table.notes(summary)[0]
    assert "±" not in table.markdown(summary, [])


def test_equal_means_are_both_the_best():
    summary = table.summarise(runs(beta_vae=[(0.1, 0.5)], info_vae=[(0.1, 0.4)]))
    assert summary[summary["metric"] == "mig"]["best"].tolist() == [True, True]


def test_one_method_alone_is_not_the_best():
    assert not table.summarise(runs(beta_vae=[(0.1, 0.5)]))["best"].any()


def test_a_missing_score_is_left_out_of_its_mean_and_told():
    scores = runs(beta_vae=[(0.1, 0.5), (math.nan, 0.4)], info_vae=[(math.nan, 0.4)] * 2)
    summary = table.summarise(scores)
    assert cell(summary, "β-VAE", "mig")[["mean", "runs"]].tolist() == [0.1, 1]
    assert math.isnan(cell(summary, "Info-VAE", "mig")["mean"])
    assert math.isnan(cell(summary, "Info-VAE", NORMALISED_SUM)["mean"])
    assert "MIG is not known for every method." in table.notes(summary)
    assert f"| Info-VAE | {NOTHING} | 0.400 ± 0.000 | {NOTHING} |" in table.markdown(summary, [])


def test_a_metric_without_any_score_is_told():
    summary = table.summarise(runs(beta_vae=[(math.nan, 0.5)], info_vae=[(math.nan, 0.25)]))
    assert "MIG is not known for any method." in table.notes(summary)
    assert cell(summary, "Info-VAE", NORMALISED_SUM)["mean"] == 0.5


def test_a_part_of_the_metrics_is_told(two):
    assert "Only 2 of the paper's 5 metrics were scored." in table.notes(table.summarise(two))


# Beside the paper.


def test_the_difference_is_this_study_minus_the_paper(two):
    row = cell(table.summarise(two), "β-VAE", "mig")
    assert (row["paper"], row["difference"]) == (0.212, pytest.approx(0.12 - 0.212))


def test_the_sum_of_fewer_metrics_is_not_held_against_the_papers(two):
    assert math.isnan(cell(table.summarise(two), "β-VAE", NORMALISED_SUM)["paper"])


def test_the_sum_of_fewer_methods_is_not_held_against_the_papers(paper):
    summary = table.summarise(paper[paper["method"] != "dip_vae_ii"])
    assert math.isnan(cell(summary, "β-VAE", NORMALISED_SUM)["difference"])
    assert not math.isnan(cell(summary, "β-VAE", "mig")["difference"])


def test_a_method_that_the_paper_has_not_is_shown_without_its_values():
    summary = table.summarise(runs(vae=[(0.1, 0.5)], beta_vae=[(0.2, 0.4)]))
    assert math.isnan(cell(summary, "VAE", "mig")["paper"])
    assert table.markdown(summary, []).count("| VAE |") == 1


@pytest.mark.parametrize(("order", "kendall"), [(1, 1.0), (-1, -1.0)])
def test_the_order_is_compared_with_the_papers(paper, order, kendall):
    scores = paper.assign(**{name: order * paper[name] + 1 for name in METRICS})
    compared = table.order_against_paper(table.summarise(scores)).set_index("metric")
    assert compared.loc["dci", ["methods", "kendall"]].tolist() == pytest.approx([6, kendall])
    # The two most extreme of 6! orders, which are all alike.
    assert compared.loc["dci", "p"] == pytest.approx(2 / 720)


def test_an_order_without_two_methods_of_the_papers_is_not_compared():
    summary = table.summarise(runs(vae=[(0.1, 0.5)], beta_vae=[(0.2, 0.4)]))
    assert table.order_against_paper(summary)["kendall"].isna().all()


def test_ranks_start_at_the_best_and_ties_share_theirs(paper):
    ranks = table.ranks(table.summarise(paper))
    assert ranks["dci"].tolist() == [1, 2, 5, 4, 3, 6]
    assert ranks["mig"].tolist() == [3.5, 3.5, 1, 2, 5, 6]
    assert ranks[NORMALISED_SUM].tolist() == [1, 2, 3, 4, 5, 6]


# As text.


def test_markdown_holds_the_numbers_with_the_best_in_bold(two):
    text = table.markdown(table.summarise(two), ["A note."])
    assert "| β-VAE | 0.120 ± 0.050 | **0.500 ± 0.099** | 1.500 ± 0.351 |" in text
    assert f"| β-VAE | 0.212 ({MINUS}0.092) | 0.517 ({MINUS}0.017) | {NOTHING} |" in text
    assert text.endswith("- A note.\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}


def test_latex_is_a_booktabs_table_with_as_many_cells_in_each_row(two):
    text = table.latex(table.summarise(two), "On mpi3d_mini: 95% & more β.")
    assert r"\caption{On mpi3d\_mini: 95\% \& more $\beta$.}" in text
    assert r"$\beta$-VAE & 0.120 $\pm$ 0.050 & \textbf{0.500} $\pm$ 0.099" in text
    assert r"0.212 ($-$0.092)" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text
    assert r"\begin{tabular}{lrrr}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    cells = {len(re.findall(r"(?<!\\)&", row)) for row in rows if "multicolumn" not in row}
    assert cells == {3}
    assert text.isascii()
    assert text.count("{") == text.count("}")
