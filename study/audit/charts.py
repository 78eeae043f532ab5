"""The audit's pictures: scores along a dial, what a family does, and the baselines."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from study.audit.verdicts import Curve
from study.report.figures import MARKERS, Colours, Look, Panel, label_ends, line, plain
from study.report.wording import decimals

_BAND_OPACITY = 0.15
_MOST_ROWS = 24


def looks(titles: Sequence[str]) -> dict[str, Look]:
    """A colour and a marker each; from the eighth on they come again."""
    places = {title: place % len(MARKERS) for place, title in enumerate(titles)}
    return {title: Look(place, (), MARKERS[place]) for title, place in places.items()}


def dial(curves: Sequence[Curve], titles: Mapping[str, str], title: str) -> Panel:
    """Scores against a family's dial: a line for each metric, in the 95 % interval over seeds."""
    family = curves[0].family
    shown = looks([titles[curve.metric] for curve in curves])
    rows = {}
    for curve in curves:
        order = np.argsort(curve.dials)
        rows[titles[curve.metric]] = (
            np.array(curve.dials)[order],
            curve.means[order],
            np.nan_to_num(curve.half_widths[order]),
        )

    def draw(axes: Axes, colours: Colours) -> None:
        for name, (values, means, half_widths) in rows.items():
            colour = colours.methods[shown[name].colour]
            axes.fill_between(
                values,
                means - half_widths,
                means + half_widths,
                color=colour,
                alpha=_BAND_OPACITY,
                lw=0,
            )
            line(axes, values, means, shown[name], colour, marked=True)
        _finish(axes, colours, family.dial, family.log)
        ends = {name: (values[-1], means[-1]) for name, (values, means, _) in rows.items()}
        label_ends(axes, ends, shown, colours)

    ends = [
        f"{name} {decimals(means[0], 2)} to {decimals(means[-1], 2)}"
        for name, (_, means, _) in rows.items()
    ]
    summary = f"{family.title}, against {family.dial}: {', '.join(ends)}."
    return Panel(title, summary, draw, size=(4.6, 2.7))


def baseline(scores: pd.DataFrame, titles: Mapping[str, str], title: str) -> Panel:
    """One metric's scores of the baselines against the number of latents.

    Args:
        scores: Columns `group`, `dial`, `score`, of one metric.
        titles: Of the groups, in order.
        title: The metric's.
    """
    shown = looks(list(titles.values()))
    curves = {}
    for group, name in titles.items():
        own = scores[scores["group"] == group].dropna(subset=["score"])
        if len(own):
            curves[name] = own.groupby("dial")["score"].agg(["mean", "min", "max"])

    def draw(axes: Axes, colours: Colours) -> None:
        for name, curve in curves.items():
            colour = colours.methods[shown[name].colour]
            axes.fill_between(
                curve.index, curve["min"], curve["max"], color=colour, alpha=_BAND_OPACITY, lw=0
            )
            line(axes, curve.index, curve["mean"], shown[name], colour, marked=True)
        _finish(axes, colours, "latents", log=True)
        axes.set_xticks(sorted(scores["dial"].unique()))
        ends = {name: (curve.index[-1], curve["mean"].iloc[-1]) for name, curve in curves.items()}
        label_ends(axes, ends, shown, colours)

    ends = [f"{name} {decimals(curve['mean'].iloc[-1], 2)}" for name, curve in curves.items()]
    most = scores["dial"].max()
    return Panel(title, f"{title} with {most:g} latents: {', '.join(ends)}.", draw, (4.6, 2.7))


def information(matrix: np.ndarray, factors: Sequence[str], title: str, summary: str) -> Panel:
    """What each latent tells of each factor.

    Args:
        matrix: [latents, factors] in [0, 1]; the first latents are shown.
        factors: Names.
        title: What it shows.
        summary: For those who can't see it.
    """
    cells = matrix[:_MOST_ROWS]

    def draw(axes: Axes, colours: Colours) -> None:
        for row, column in np.ndindex(*cells.shape):
            opacity = float(cells[row, column])
            if opacity > 0.01:
                axes.add_patch(
                    Rectangle(
                        (column - 0.46, row - 0.42),
                        0.92,
                        0.84,
                        color=colours.alike,
                        alpha=opacity,
                        lw=0,
                    )
                )
        axes.set_xlim(-0.5, cells.shape[1] - 0.5)
        axes.set_ylim(len(cells) - 0.5, -0.5)
        axes.set_xticks(range(len(factors)), factors, rotation=40, ha="right")
        step = 1 if len(cells) <= 8 else 4
        axes.set_yticks(
            range(0, len(cells), step), [f"z{row}" for row in range(0, len(cells), step)]
        )
        plain(axes, colours)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0, labelsize=8)

    return Panel(title, summary, draw, size=(3.1, 2.9))


def _finish(axes: Axes, colours: Colours, label: str, log: bool) -> None:
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", which="minor", length=0)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(label, color=colours.ink)
    axes.grid(axis="y", color=colours.grid, linewidth=0.8)
    plain(axes, colours)
