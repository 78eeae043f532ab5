"""Table 1: means and intervals over seeds, the normalised sum, and the paper's values."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from scipy import stats

from evaluator.intervals import t_interval
from evaluator.paper import METRIC_TITLES
from study.report.published import NORMALISED_SUM, table_1
from study.report.wording import MINUS, NOTHING, decimals, metric_title, signed

# What means something to LaTeX, or is no letter of its default font.
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "β": r"$\beta$",
    "±": r"$\pm$",
    MINUS: "$-$",
    NOTHING: "--",
}


def normalised_sums(values: pd.DataFrame, maxima: pd.Series | None = None) -> pd.Series:
    """Divides each metric by its column's maximum and sums the quotients (paper, Table 1).

    Args:
        values: A row for each method or run, a column for each metric.
        maxima: What to divide by; the columns' own maxima if left out. A metric whose maximum is
            not positive can't be normalised and is left out of the sum.

    Returns:
        One sum a row; NaN for a row that lacks a metric, or if no metric can be normalised.
    """
    divisors = values.max() if maxima is None else maxima
    divisors = divisors[divisors > 0]
    if divisors.empty:
        return pd.Series(math.nan, index=values.index)
    return (values[divisors.index] / divisors).sum(axis=1, skipna=False)


def run_sums(scores: pd.DataFrame) -> pd.Series:
    """The normalised sum of each run, divided by the maxima of the methods' means.

    Args:
        scores: As `summarise`'s.

    Returns:
        One sum a run. Their means over a method's runs are the normalised sums of the means.
    """
    metrics = [name for name in METRIC_TITLES if name in scores]
    means = scores.groupby("label", sort=False)[metrics].mean()
    return normalised_sums(scores[metrics], means.max())


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Computes Table 1 from one row a run.

    The normalised sum is that of the means, as the paper's is that of its single runs. It is also
    the mean of the runs' own normalised sums where each run is divided by the same numbers, the
    maxima of the columns' means: its interval is the t interval of these. The interval takes the
    maxima as given.

    Args:
        scores: Columns `label`, `method` and one for each metric of the paper that was scored.

    Returns:
        One row for each method and column of the table, methods in the order of `scores`: `label`,
        `method`, `metric`, `mean`, `half_width` of the 95% interval (NaN under two runs), `runs`
        that the mean is taken over, whether it is the `best` of several, and `paper` and
        `difference` (this study minus the paper; NaN for a method that the paper has not, and
        for sums over fewer metrics, without one of the methods, or with variants of one).
    """
    metrics = [name for name in METRIC_TITLES if name in scores]
    means = scores.groupby("label", sort=False)[metrics].mean()
    sums = normalised_sums(means)
    runs = scores.assign(**{NORMALISED_SUM: run_sums(scores)})
    published = table_1()
    is_papers_sum = (
        len(metrics) == len(METRIC_TITLES)
        and set(published.index) <= set(scores["method"])
        and scores["label"].nunique() == scores["method"].nunique()
    )
    rows = []
    for label, own in runs.groupby("label", sort=False):
        method = own["method"].iloc[0]
        for metric in [*metrics, NORMALISED_SUM]:
            values = own[metric].dropna().tolist()
            mean = sums[label] if metric == NORMALISED_SUM else means.loc[label, metric]
            half_width = t_interval(values).half_width if len(values) > 1 else math.nan
            paper = published[metric].get(method, math.nan)
            if metric == NORMALISED_SUM and not is_papers_sum:
                paper = math.nan
            rows.append((label, method, metric, mean, half_width, len(values), paper, mean - paper))
    columns = ["label", "method", "metric", "mean", "half_width", "runs", "paper", "difference"]
    summary = pd.DataFrame(rows, columns=columns)
    by_metric = summary.groupby("metric")["mean"]
    best = (summary["mean"] == by_metric.transform("max")) & (by_metric.transform("count") > 1)
    summary.insert(6, "best", best)
    return summary


def ranks(summary: pd.DataFrame) -> pd.DataFrame:
    """Ranks the methods in each column: 1 is best, ties share their mean rank.

    Returns:
        A row for each method, a column for each of the table's; NaN where a method has no mean.

    Example:
        >>> rows = [("vae", "mig", 0.1), ("beta_vae", "mig", 0.2)]
        >>> ranks(pd.DataFrame(rows, columns=["label", "metric", "mean"]))["mig"].to_dict()
        {'vae': 2.0, 'beta_vae': 1.0}
    """
    means = summary.pivot(index="label", columns="metric", values="mean")
    order = means.loc[summary["label"].unique(), summary["metric"].unique()]
    return order.rank(ascending=False)


def order_against_paper(summary: pd.DataFrame) -> pd.DataFrame:
    """Compares the order of the methods in each column with the paper's.

    Args:
        summary: What `summarise` returned.

    Returns:
        For each column of the table: `metric`, `methods` compared, `kendall` (tau-b; NaN for
        fewer than two methods or a constant column) and `p`, that of independent orders.
    """
    rows = []
    for metric, column in summary.groupby("metric", sort=False):
        both = column.dropna(subset=["mean", "paper"])
        known = len(both) > 1 and both["mean"].nunique() > 1
        test = stats.kendalltau(both["mean"], both["paper"]) if known else None
        kendall, p = (test.statistic, test.pvalue) if test else (math.nan, math.nan)
        rows.append((metric, len(both), kendall, p))
    return pd.DataFrame(rows, columns=["metric", "methods", "kendall", "p"])


def notes(summary: pd.DataFrame) -> list[str]:
    """What a reader of the table must know, in plain sentences."""
    metrics = [metric for metric in summary["metric"].unique() if metric != NORMALISED_SUM]
    counts = sorted(summary["runs"].unique())
    lines = []
    if counts[-1] < 2:
        lines.append("One run each: there are no intervals, and no telling noise from difference.")
    else:
        lines.append(
            "Mean and 95% t interval of the mean over runs that differ in the seed; "
            "the best mean of a column in bold."
        )
        if len(counts) > 1:
            lines.append(f"The means are over {counts[0]} to {counts[-1]} runs.")
    lines.append(
        "Normalised sum: each mean divided by the largest mean of its column, summed. "
        "It depends on which methods are in the table. Its interval takes these maxima as given."
    )
    if len(metrics) < len(METRIC_TITLES):
        lines.append(
            f"Only {len(metrics)} of the paper's {len(METRIC_TITLES)} metrics were scored."
        )
    for metric in metrics:
        means = summary.loc[summary["metric"] == metric, "mean"]
        if means.isna().all():
            lines.append(f"{metric_title(metric)} is not known for any method.")
        elif means.max() <= 0:
            lines.append(
                f"{metric_title(metric)} is left out of the sum: its largest mean is not positive."
            )
        elif means.isna().any():
            lines.append(f"{metric_title(metric)} is not known for every method.")
    return lines


def with_interval(mean: float, half_width: float) -> str:
    """Such as `0.132 ± 0.004`, and a dash for NaN."""
    if math.isnan(half_width):
        return decimals(mean)
    return f"{decimals(mean)} ± {half_width:.3f}"


def beside(paper: float, difference: float) -> str:
    """The paper's value and the difference from it, such as `0.392 (+0.123)`."""
    if math.isnan(difference):
        return decimals(paper)
    return f"{decimals(paper)} ({signed(difference)})"


def markdown(summary: pd.DataFrame, lines: Sequence[str]) -> str:
    """The table, the paper's beside it, and the notes below, in GitHub's Markdown."""
    header = ["Method", *map(metric_title, summary["metric"].unique())]
    rule = ["---", *["---:"] * (len(header) - 1)]
    own = _grid(summary, lambda cell: _bold(with_interval(cell.mean, cell.half_width), cell.best))
    parts = [_markdown_rows([header, rule, *own])]
    if summary["paper"].notna().any():
        paper = _grid(_of_the_paper(summary), lambda cell: beside(cell.paper, cell.difference))
        parts += [
            "The paper's Table 1, and in brackets this study's difference from it:",
            _markdown_rows([header, rule, *paper]),
        ]
    parts.append("\n".join(f"- {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def latex(summary: pd.DataFrame, caption: str) -> str:
    """The table for LaTeX with the package booktabs, the paper's rows below."""
    header = ["Method", *map(metric_title, summary["metric"].unique())]
    columns = len(header)

    def rows(grid: list[list[str]]) -> list[str]:
        return ["    " + " & ".join(row) + r" \\" for row in grid]

    own = _grid(summary, _latex_interval, _latex_text)
    body = [*rows([[_latex_text(title) for title in header]]), r"    \midrule", *rows(own)]
    if summary["paper"].notna().any():
        paper = _grid(
            _of_the_paper(summary),
            lambda cell: _latex_text(beside(cell.paper, cell.difference)),
            _latex_text,
        )
        heading = (
            rf"\multicolumn{{{columns}}}{{l}}{{\emph{{The paper (and the difference from it)}}}}"
        )
        body += [r"    \midrule", f"    {heading} \\\\", *rows(paper)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex_text(caption)}}}",
            r"  \label{tab:study}",
            rf"  \begin{{tabular}}{{l{'r' * (columns - 1)}}}",
            r"    \toprule",
            *body,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _grid(
    summary: pd.DataFrame, write: Callable[[Any], str], title: Callable[[str], str] = str
) -> list[list[str]]:
    """For each method its label and a text for each column of the table."""
    return [
        [title(label), *(write(cell) for cell in cells.itertuples())]
        for label, cells in summary.groupby("label", sort=False)
    ]


def _of_the_paper(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the methods that the paper has."""
    return summary[summary["paper"].notna().groupby(summary["label"]).transform("any")]


def _bold(text: str, best: bool) -> str:
    return f"**{text}**" if best else text


def _markdown_rows(rows: list[list[str]]) -> str:
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows
    )


def _latex_interval(cell: Any) -> str:
    mean = _latex_text(decimals(cell.mean))
    text = rf"\textbf{{{mean}}}" if cell.best else mean
    return text if math.isnan(cell.half_width) else rf"{text} $\pm$ {cell.half_width:.3f}"


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
