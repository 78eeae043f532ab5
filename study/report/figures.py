"""The report's charts (paper, Figures 7 and 8, and what tells whether metrics agree)."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from PIL import Image

from evaluator.paper import METHOD_TITLES
from evaluator.report.baselines import Band
from evaluator.report.inline_images import inline_svg, own_style
from study.report.results import Results
from study.report.wording import NOTHING, decimals, metric_title

PIXELS_PER_INCH = 160
"""Of the files."""

CELL_OPACITY = 0.5
"""Of a matrix's strongest cell: the page's ink stays readable on it."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""One for each of `METHOD_TITLES`."""

_FONT_SIZE = 10.0
_SMALL = 8.5
_PANELS_IN_A_ROW = 3
# A label's height as a share of a panel's.
_LABEL_GAP = 0.075
_BAND_OPACITY = 0.12
_DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Colours:
    """What charts are drawn with.

    Attributes:
        ink: Text and axes.
        grid: Lines behind the data.
        alike: Cells and bars of what agrees.
        unlike: Cells of what does not.
        methods: One for each of `METHOD_TITLES`; methods beyond these share the last.
    """

    ink: str
    grid: str
    alike: str
    unlike: str
    methods: tuple[str, ...]


# Each method's is told from all others by eyes without red, green or blue cones, and by three
# times the contrast with the background (tests/study/report/test_figures.py measures both).
LIGHT = Colours(
    ink="#1b1d21",
    grid="#e4e7eb",
    alike="#1f5fa8",
    unlike="#b04a00",
    methods=("#0b1cb5", "#dd6c00", "#00a86b", "#c06fae", "#6d3109", "#5a7cf0", "#1b1d21"),
)
DARK = Colours(
    ink="#e4e6ea",
    grid="#2d3138",
    alike="#7db4f0",
    unlike="#f0a562",
    methods=("#505df4", "#eb9b1f", "#1fa06a", "#b570a0", "#b74f07", "#9ecaff", "#e4e6ea"),
)

# Stand in for what the page's style sheet decides.
_STAND_INS = Colours(
    ink="#010101",
    grid="#010102",
    alike="#010103",
    unlike="#010104",
    methods=tuple(f"#0102{number:02x}" for number in range(len(METHOD_TITLES))),
)
_STYLES = {
    _STAND_INS.ink: "currentColor",
    _STAND_INS.grid: "var(--grid)",
    _STAND_INS.alike: "var(--alike)",
    _STAND_INS.unlike: "var(--unlike)",
} | {colour: f"var(--method-{number})" for number, colour in enumerate(_STAND_INS.methods)}


@dataclass(frozen=True)
class Look:
    """How a method is drawn, the same in every chart.

    Attributes:
        colour: Its place in `Colours.methods`.
        dashes: Of its lines; tells its variants apart.
        marker: Of its points.
    """

    colour: int
    dashes: tuple[float, ...]
    marker: str


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: What it shows.
        summary: The same for those who can't see it, one sentence.
        draw: Draws it.
        size: Width and height in inches.
        metric: The one metric that it is of; empty for several.
    """

    title: str
    summary: str
    draw: Callable[[Axes, Colours], None]
    size: tuple[float, float] = (4.6, 2.9)
    metric: str = ""


def looks(results: Results) -> dict[str, Look]:
    """Colour by method, dashes by its variant."""
    methods = list(METHOD_TITLES)
    others = [method for method in results.methods if method not in methods]
    variants = {
        method: list(dict.fromkeys(run.variant for run in results.runs if run.method == method))
        for method in results.methods
    }
    found = {}
    for run in results.runs:
        known = run.method in methods
        colour = methods.index(run.method) if known else len(methods) - 1
        # Methods that the palette doesn't know share a colour.
        dash = variants[run.method].index(run.variant) + (
            0 if known else 1 + others.index(run.method)
        )
        dashes = _DASHES[dash % len(_DASHES)]
        found[run.label] = Look(colour, dashes, MARKERS[colour])
    return found


def svg(panel: Panel, identity: str) -> Markup:
    """A chart for the page, which decides its colours; `identity` tells it from all others."""
    with _style():
        figure = Figure(figsize=panel.size, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
        panel.draw(axes, _STAND_INS)
        return inline_svg(figure, identity, _STYLES)


def png(panels: Sequence[Panel], legend: Mapping[str, Look] | None = None) -> bytes:
    """Charts side by side as a file, each with its title."""
    columns = min(len(panels), _PANELS_IN_A_ROW)
    rows = -(-len(panels) // columns)
    width, height = panels[0].size
    with _style():
        figure = Figure(
            figsize=(columns * width, rows * (height + 0.3) + (0.4 if legend else 0)),
            layout="constrained",
        )
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            panel.draw(axes, LIGHT)
            axes.set_title(panel.title, loc="left", fontsize=_FONT_SIZE, color=LIGHT.ink)
        for axes in grid[len(panels) :]:
            axes.remove()
        if legend:
            handles = [_handle(label, look) for label, look in legend.items()]
            figure.legend(
                handles=handles, loc="outside lower center", ncols=len(handles), frameon=False
            )
        return png_bytes(figure)


def png_bytes(figure: Figure) -> bytes:
    """A figure as PNG in 256 colours, which takes a third of the bytes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", dpi=(figure.dpi,) * 2)
    return file.getvalue()


def _style() -> AbstractContextManager[None]:
    return own_style(font_size=_FONT_SIZE, axes_linewidth=0.8, figure_dpi=PIXELS_PER_INCH)


def _handle(label: str, look: Look) -> Line2D:
    line = Line2D([], [], color=LIGHT.methods[look.colour], marker=look.marker, label=label)
    line.set_dashes(look.dashes) if look.dashes else line.set_linestyle("-")
    return line


# --- Against the step ---------------------------------------------------------------------------


def progress(
    by_step: pd.DataFrame, metric: str, shown: Mapping[str, Look], untrained: Band | None = None
) -> Panel:
    """A metric against the step: a line for each method, the mean over seeds, in their range.

    Args:
        by_step: The scores.
        metric: The metric.
        shown: Each method's look.
        untrained: What a score is worth nothing in, which is shaded grey; None where unknown.
    """
    curves = {}
    for label, rows in by_step.dropna(subset=[metric]).groupby("label", sort=False):
        curves[label] = rows.groupby("step")[metric].agg(["mean", "min", "max"])

    def draw(axes: Axes, colours: Colours) -> None:
        if untrained is not None:
            axes.axhspan(
                untrained.low, untrained.high, color=colours.ink, alpha=_BAND_OPACITY, linewidth=0
            )
        for label, curve in curves.items():
            look = shown[label]
            colour = colours.methods[look.colour]
            axes.fill_between(
                curve.index, curve["min"], curve["max"], color=colour, alpha=_BAND_OPACITY, lw=0
            )
            line(axes, curve.index, curve["mean"], look, colour, marked=len(curve) == 1)
        last = by_step["step"].max()
        axes.set_xlim(0, max(last, 1))
        axes.margins(y=0.06)
        axes.set_xlabel("step", color=colours.ink)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", color=colours.grid, linewidth=0.8)
        plain(axes, colours)
        label_ends(
            axes,
            {label: (curve.index[-1], curve["mean"].iloc[-1]) for label, curve in curves.items()},
            shown,
            colours,
        )

    ends = [f"{label} {decimals(curve['mean'].iloc[-1])}" for label, curve in curves.items()]
    worth = f" Without training: {untrained}." if untrained else ""
    return Panel(
        metric_title(metric),
        f"{metric_title(metric)} against the training step. At the end: {', '.join(ends)}.{worth}",
        draw,
        size=(4.6, max(2.9, 0.7 + 0.16 * len(curves))),
        metric=metric,
    )


# --- Ranks --------------------------------------------------------------------------------------


def ranks(table: pd.DataFrame, shown: Mapping[str, Look], title: str) -> Panel:
    """A line for each method through its rank by each column.

    Args:
        table: Ranks, 1 is best: a row for each method, a column for each metric.
        shown: Each method's look.
        title: Whose ranks they are.
    """

    def draw(axes: Axes, colours: Colours) -> None:
        places = np.arange(len(table.columns))
        for label, row in table.iterrows():
            look = shown[str(label)]
            line(axes, places, row.to_numpy(float), look, colours.methods[look.colour], marked=True)
        axes.set_xlim(-0.15, len(places) - 0.85)
        axes.set_ylim(len(table) + 0.4, 0.6)
        axes.set_xticks(places, [metric_title(name).replace(" ", "\n") for name in table.columns])
        axes.xaxis.tick_top()
        axes.set_yticks(np.arange(1, len(table) + 1))
        axes.grid(axis="x", color=colours.grid, linewidth=0.8)
        plain(axes, colours)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="x", length=0, labelsize=_SMALL)
        ends = {
            str(label): (known.index[-1], known.iloc[-1])
            for label, row in table.set_axis(places, axis=1).iterrows()
            if len(known := row.dropna())
        }
        label_ends(axes, ends, shown, colours)

    firsts = [
        f"{metric_title(name)}: {', '.join(table.index[table[name] == table[name].min()])}"
        for name in table.columns
    ]
    return Panel(
        title,
        f"{title}. First by {'; by '.join(firsts)}.",
        draw,
        size=(4.9, 0.9 + 0.36 * len(table)),
    )


# --- Variants -----------------------------------------------------------------------------------


def variants(
    scores: pd.DataFrame,
    metric: str,
    first: str,
    shown: Mapping[str, Look],
    untrained: Band | None = None,
) -> Panel:
    """A metric's runs, a line for each variant of a method, and the mean over them.

    Args:
        scores: One row a run.
        metric: The metric.
        first: The variant that the others are held against; its points are open.
        shown: Each method's look.
        untrained: What a score is worth nothing in, which is shaded grey; None where unknown.
    """
    known = scores.dropna(subset=[metric])
    groups = list(known.groupby("label", sort=False))
    methods = [rows["method"].iloc[0] for _, rows in groups]
    starts = [place and method != methods[place - 1] for place, method in enumerate(methods)]
    heights = np.arange(len(groups)) + 0.5 * np.cumsum(starts)

    def draw(axes: Axes, colours: Colours) -> None:
        if untrained is not None:
            axes.axvspan(
                untrained.low, untrained.high, color=colours.ink, alpha=_BAND_OPACITY, linewidth=0
            )
        for height, (label, rows) in zip(heights, groups, strict=True):
            look = shown[label]
            colour = colours.methods[look.colour]
            axes.plot(
                rows[metric],
                np.full(len(rows), height),
                look.marker,
                color=colour,
                markerfacecolor="none" if rows["variant"].iloc[0] == first else colour,
                markersize=5,
            )
            axes.plot([rows[metric].mean()] * 2, [height - 0.4, height + 0.4], color=colour)
        axes.set_ylim(heights[-1] + 0.7, -0.7)
        axes.set_yticks(heights, [label for label, _ in groups], fontsize=_SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", color=colours.grid, linewidth=0.8)
        plain(axes, colours)

    means = [f"{label} {decimals(rows[metric].mean())}" for label, rows in groups]
    worth = f" Without training: {untrained}." if untrained else ""
    return Panel(
        metric_title(metric),
        f"{metric_title(metric)} by variant. The means: {', '.join(means)}.{worth}",
        draw,
        size=(4.6, 0.5 + 0.21 * (heights[-1] + 1.4)),
        metric=metric,
    )


# --- Matrices -----------------------------------------------------------------------------------


def matrix(
    cells: pd.DataFrame, title: str, summary: str, write: Callable[[float], str], signed: bool
) -> Panel:
    """A square of values, each cell's colour as strong as its value.

    Args:
        cells: A row and a column for each metric; NaN stays empty.
        title: What it shows.
        summary: For those who can't see it.
        write: Writes a value.
        signed: Whether positive values are agreement and negative ones are not; else all values
            are shares of disagreement.
    """

    def draw(axes: Axes, colours: Colours) -> None:
        for row, values in enumerate(cells.to_numpy(float)):
            for column, value in enumerate(values):
                if row == column and np.isnan(value):
                    continue
                colour = colours.alike if signed and value > 0 else colours.unlike
                opacity = 0.0 if np.isnan(value) else CELL_OPACITY * min(abs(value), 1)
                corner = (column - 0.48, row - 0.48)
                axes.add_patch(Rectangle(corner, 0.96, 0.96, color=colour, alpha=opacity, lw=0))
                axes.text(
                    column,
                    row,
                    NOTHING if np.isnan(value) else write(value),
                    ha="center",
                    va="center",
                    color=colours.ink,
                    fontsize=_SMALL + 0.5,
                )
        titles = [metric_title(name).replace(" ", "\n") for name in cells.columns]
        places = np.arange(len(titles))
        axes.set_xlim(-0.5, len(titles) - 0.5)
        axes.set_ylim(len(titles) - 0.5, -0.5)
        axes.set_xticks(places, titles)
        axes.set_yticks(places, titles)
        axes.xaxis.tick_top()
        plain(axes, colours)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0, labelsize=_SMALL)

    return Panel(title, summary, draw, size=(4.6, 0.6 + 0.46 * len(cells)))


# --- Shares of variance -------------------------------------------------------------------------


def shares(components: pd.DataFrame) -> Panel:
    """The method's share of each metric's variance, with its interval."""
    known = components.dropna(subset=["share"])

    def draw(axes: Axes, colours: Colours) -> None:
        places = np.arange(len(known))
        axes.hlines(places, known["low"], known["high"], color=colours.alike, linewidth=2)
        axes.plot(known["share"], places, "o", color=colours.alike, markersize=6)
        axes.axvline(0.5, color=colours.ink, linewidth=0.8, dashes=(3, 3))
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.set_yticks(places, [metric_title(name) for name in known["metric"]])
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("of the variance is between methods", color=colours.ink)
        axes.grid(axis="x", color=colours.grid, linewidth=0.8)
        plain(axes, colours)

    listed = [f"{metric_title(row.metric)} {row.share:.0%}" for row in known.itertuples()]
    return Panel(
        "Share of the variance that is between methods",
        f"The method's share of the variance: {', '.join(listed)}.",
        draw,
        size=(4.6, 0.9 + 0.3 * len(known)),
    )


# --- Against the model --------------------------------------------------------------------------


def scatter(scores: pd.DataFrame, metric: str, against: str, shown: Mapping[str, Look]) -> Panel:
    """A point for each run: a metric against latents in use or the reconstruction error."""
    known = scores.dropna(subset=[metric, against]).astype({against: float})
    # Small numbers are written as multiples of a power of ten.
    largest = known[against].abs().max()
    exponent = math.floor(math.log10(largest)) if 0 < largest < 0.01 else 0
    unit = f" (10{str(exponent).translate(_RAISED)})" if exponent else ""

    def draw(axes: Axes, colours: Colours) -> None:
        for label, rows in known.groupby("label", sort=False):
            look = shown[label]
            axes.scatter(
                rows[against] / 10.0**exponent,
                rows[metric],
                s=26,
                marker=look.marker,
                edgecolors=colours.methods[look.colour],
                # A method's further variants are open.
                facecolors="none" if look.dashes else colours.methods[look.colour],
                linewidth=1 if look.dashes else 0,
            )
        axes.margins(0.08)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=against == "latents_in_use"))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlabel(metric_title(against).lower() + unit, color=colours.ink)
        axes.grid(color=colours.grid, linewidth=0.8)
        plain(axes, colours)

    summary = f"{metric_title(metric)} against {metric_title(against).lower()}, {len(known)} runs."
    return Panel(metric_title(metric), summary, draw, size=(3.8, 2.6), metric=metric)


# --- What they share ----------------------------------------------------------------------------


def line(axes: Axes, x: Any, y: Any, look: Look, colour: str, marked: bool) -> None:
    """Draws a line, with the look's markers on its points where it is `marked`."""
    (line,) = axes.plot(
        x,
        y,
        color=colour,
        linewidth=1.8,
        marker=look.marker if marked else "",
        markersize=6.5,
        clip_on=False,
    )
    if look.dashes:
        line.set_dashes(look.dashes)


def label_ends(
    axes: Axes,
    ends: Mapping[str, tuple[float, float]],
    shown: Mapping[str, Look],
    colours: Colours,
) -> None:
    """Writes each line's label to the right of the axes, tied to the line's end."""
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    places = {label: to_axes.transform(end) for label, end in ends.items()}
    spread = _spread([float(place[1]) for place in places.values()], _LABEL_GAP)
    for (label, (x, y)), height in zip(places.items(), spread, strict=True):
        look = shown[label]
        axes.plot(
            [x, max(x, 1) + 0.04, max(x, 1) + 0.06],
            [y, height, height],
            color=colours.methods[look.colour],
            linewidth=1,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(
            1.08,
            height,
            label,
            color=colours.ink,
            fontsize=_SMALL,
            va="center_baseline",
            transform=axes.transAxes,
        )


def _spread(places: Sequence[float], gap: float) -> list[float]:
    """Moves places in [0, 1] as far apart as `gap`, keeping their order."""
    order = np.argsort(places, kind="stable")
    gap = min(gap, 1 / max(len(places) - 1, 1))
    moved = np.clip(np.asarray(places, float)[order], 0, 1)
    for index in range(1, len(moved)):
        moved[index] = max(moved[index], moved[index - 1] + gap)
    if len(moved):
        moved[-1] = min(moved[-1], 1.0)
    for index in range(len(moved) - 2, -1, -1):
        moved[index] = min(moved[index], moved[index + 1] - gap)
    spread = np.empty_like(moved)
    spread[order] = moved
    return spread.tolist()


def plain(axes: Axes, colours: Colours) -> None:
    """Takes away all but the axis at the bottom, and draws it in ink."""
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(colours.ink)
    axes.tick_params(colors=colours.ink, length=3)
    axes.tick_params(axis="y", length=0)
