"""The runs side by side: for a terminal, as CSV, Markdown and LaTeX."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.table import Table

from evaluator.compare.ranking import normalised_sums, standings
from evaluator.compare.runs import Run
from evaluator.intervals import t_interval
from evaluator.metrics import METRICS

NOTHING = "\N{EN DASH}"
SUM = "plain sum"
NORMALISED = "normalised sum (paper's)"
MEAN_RANK = "mean rank (challenge's)"


@dataclass(frozen=True)
class Row:
    """A run in the table.

    Attributes:
        run: The run.
        scores: Of the metrics, those of the first seed.
        half_widths: Of the 95 % intervals of their means over the seeds; NaN without repeats.
        means: Over the seeds; the scores themselves without repeats.
        sum: Of the scores.
        normalised: The paper's sum.
        mean_rank: The challenge's; NaN where another entry of the participant counts.
    """

    run: Run
    scores: tuple[float, ...]
    half_widths: tuple[float, ...]
    means: tuple[float, ...]
    sum: float
    normalised: float
    mean_rank: float


@dataclass(frozen=True)
class Comparison:
    """The table.

    Attributes:
        metrics: The challenge's that all runs were scored with.
        rows: By the challenge's rank, then those that don't count, in the order given.
    """

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def protocol(self) -> str:
        """By which all runs were scored."""
        return self.rows[0].run.protocol

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the three numbers that are made of all metrics: what each is."""
        if len(self.metrics) < len(METRICS):
            of = f"of {len(self.metrics)} metrics"
        elif self.protocol != "challenge":
            of = f"of {self.protocol} scores"
        else:
            return SUM, NORMALISED, MEAN_RANK
        return tuple(f"{name.split(' (')[0]} {of}" for name in (SUM, NORMALISED, MEAN_RANK))


def compare(runs: Sequence[Run], metrics: Sequence[str]) -> Comparison:
    """Makes the table.

    Args:
        runs: What is compared.
        metrics: What all were scored with.
    """
    scores = np.array([[run.scores.scores[name] for name in metrics] for run in runs])
    ranks = dict(standings(scores, [run.participant for run in runs]))
    order = [*ranks, *(entry for entry in range(len(runs)) if entry not in ranks)]
    normalised = normalised_sums(scores)
    rows = []
    for entry in order:
        by_seed = [runs[entry].by_seed(name) for name in metrics]
        rows.append(
            Row(
                run=runs[entry],
                scores=tuple(scores[entry].tolist()),
                half_widths=tuple(
                    t_interval(one).half_width if len(one) > 1 else math.nan for one in by_seed
                ),
                means=tuple(float(np.mean(one)) for one in by_seed),
                sum=float(scores[entry].sum()),
                normalised=float(normalised[entry]),
                mean_rank=ranks.get(entry, math.nan),
            )
        )
    return Comparison(tuple(metrics), tuple(rows))


def for_terminal(comparison: Comparison, title: str) -> Table:
    """The table for a terminal: a row for each run, however many there are."""
    drawn = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    drawn.add_column("run", overflow="fold", min_width=12)
    # As narrow as nine columns on 80 characters have to be; their whole names stand below.
    titles = [METRICS[name].title.replace("FactorVAE", "Factor VAE") for name in comparison.metrics]
    for name in ("mean rank", "norm. sum", "plain sum", *titles):
        drawn.add_column(name, justify="right", width=len("± 0.000"))
    for row in comparison.rows:
        # The mean over the seeds, which is near the score, stands in the other forms.
        run, *scores = map(_score_and_half_width, cells(row))
        count = len(comparison.metrics)
        drawn.add_row(run, *reversed(scores[count:]), *scores[:count])
    return drawn


def _score_and_half_width(text: str) -> str:
    score, _, interval = text.partition(" (")
    return f"{score}\n± {interval[:-1].split(' ± ')[1]}" if " ± " in interval else text


def as_csv(comparison: Comparison) -> str:
    """A row for each run, its numbers in full."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    of_metrics = [
        column
        for name in comparison.metrics
        for column in (name, f"{name}_mean", f"{name}_half_width")
    ]
    of_all = ["sum", "normalised_sum", "mean_rank"]
    writer.writerow(["run", "participant", *of_metrics, *of_all, "protocol", "unproven"])
    for row in comparison.rows:
        numbers = [
            number
            for three in zip(row.scores, row.means, row.half_widths, strict=True)
            for number in three
        ]
        numbers += [row.sum, row.normalised, row.mean_rank]
        writer.writerow(
            [
                row.run.name,
                row.run.participant,
                *("" if math.isnan(number) else repr(number) for number in numbers),
                row.run.protocol,
                row.run.unproven,
            ]
        )
    return file.getvalue()


def as_markdown(comparison: Comparison) -> str:
    """A table of GitHub's Markdown."""
    lines = [("run", *comparison.metrics, *comparison.columns)]
    rows = [*lines, *map(cells, comparison.rows)]
    drawn = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    rule = "| --- |" + " ---: |" * (len(rows[0]) - 1)
    return "\n".join([drawn[0], rule, *drawn[1:]]) + "\n"


def as_latex(comparison: Comparison) -> str:
    """A tabular of the package booktabs."""
    header = ("run", *(METRICS[name].title for name in comparison.metrics), *comparison.columns)
    rows = [" & ".join(map(_escaped, cells(row))) + r" \\" for row in comparison.rows]
    return "\n".join(
        [
            r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}",
            r"\toprule",
            " & ".join(map(_escaped, header)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def cells(row: Row) -> tuple[str, ...]:
    """A row as texts."""
    scores = [
        number(score) if math.isnan(half) else f"{number(score)} ({number(mean)} ± {half:.3f})"
        for score, mean, half in zip(row.scores, row.means, row.half_widths, strict=True)
    ]
    rank = NOTHING if math.isnan(row.mean_rank) else f"{row.mean_rank:.2f}"
    name = f"{row.run.name} (unproven)" if row.run.unproven else row.run.name
    return name, *scores, number(row.sum), number(row.normalised), rank


def number(value: float) -> str:
    """Three decimals, and never -0.000."""
    return f"{round(value, 3) + 0:.3f}"


def _escaped(text: str) -> str:
    for character, escape in (
        ("\\", r"\textbackslash "),
        *((one, f"\\{one}") for one in "&%$#_{}"),
        ("±", r"$\pm$"),
        (NOTHING, "--"),
        ("β", r"$\beta$"),
        ("~", r"\textasciitilde "),
        ("^", r"\textasciicircum "),
    ):
        text = text.replace(character, escape)
    return text
