import io
import itertools
import math
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from study.report import figures
from study.report.results import read, scores_by_step

# Simulated without red, green or blue cones: Machado, Oliveira & Fernandes (2009), severity 1.
SIGHTS = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
PAPER = {"light": "#ffffff", "dark": "#15171b"}  # as in evaluator/page.css
COLOURS = {"light": figures.LIGHT, "dark": figures.DARK}


def linear(colour: str) -> np.ndarray:
    encoded = np.array(to_rgb(colour))
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB."""
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    ratio = np.array(to_xyz) @ light / [0.95047, 1, 1.08883]
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    luminance = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (linear(one), linear(other))]
    return (max(luminance) + 0.05) / (min(luminance) + 0.05)


def test_a_users_matplotlibrc_changes_no_chart(drawn):
    results = read(drawn.write(methods=("vae",), seeds=(0,), metrics=("mig",)))
    panel = figures.progress(scores_by_step(results), "mig", figures.looks(results))
    drawn_by_default = figures.svg(panel, "a"), figures.png([panel])
    # LaTeX may be missing, too.
    with mpl.rc_context({"text.usetex": True, "axes.facecolor": "red", "font.family": "serif"}):
        assert (figures.svg(panel, "a"), figures.png([panel])) == drawn_by_default


@pytest.mark.parametrize("theme", PAPER)
@pytest.mark.parametrize("sight", SIGHTS)
def test_each_two_methods_can_be_told_apart_by_colour(theme, sight):
    seen = [
        lab(np.clip(np.array(SIGHTS[sight]) @ linear(colour), 0, 1))
        for colour in COLOURS[theme].methods
    ]
    # A difference of 2 can just be seen; the palette of Okabe and Ito keeps 16.
    assert min(math.dist(one, other) for one, other in itertools.combinations(seen, 2)) > 20


@pytest.mark.parametrize("theme", PAPER)
def test_lines_stand_out_from_the_page(theme):
    colours = COLOURS[theme]
    for colour in (*colours.methods, colours.alike, colours.unlike):
        assert contrast(colour, PAPER[theme]) > 3


@pytest.mark.parametrize("theme", PAPER)
def test_numbers_on_the_strongest_cell_can_be_read(theme):
    colours = COLOURS[theme]
    for cell in (colours.alike, colours.unlike):
        share = figures.CELL_OPACITY
        mixed = share * np.array(to_rgb(cell)) + (1 - share) * np.array(to_rgb(PAPER[theme]))
        assert contrast(colours.ink, mixed) > 4.5


# Looks.


def test_a_method_has_a_colour_and_its_variants_dashes(drawn):
    methods, variants = ("beta_vae", "vae"), ("", "narrow")
    shown = figures.looks(read(drawn.write(methods=methods, seeds=(0,), variants=variants)))
    plain, narrow = shown["β-VAE"], shown["β-VAE (narrow)"]
    assert (plain.colour, plain.marker) == (narrow.colour, narrow.marker) == (2, "^")
    assert plain.dashes == ()
    assert narrow.dashes
    assert shown["VAE"].colour == 6


def test_methods_beyond_the_palette_are_told_apart_by_dashes(drawn):
    shown = figures.looks(read(drawn.write(methods=("vae", "mine", "yours"), seeds=(0,))))
    assert len({look.dashes for look in shown.values()}) == 3


# Charts.


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg)


@pytest.fixture
def by_step(drawn):
    results = read(drawn.write(methods=("beta_vae", "vae"), seeds=(0, 1, 2), metrics=("mig",)))
    return scores_by_step(results), figures.looks(results)


def test_a_method_is_labelled_at_the_end_of_its_line(by_step):
    labels = texts(figures.svg(figures.progress(*by_step[:1], "mig", by_step[1]), "a"))
    assert {"β-VAE", "VAE", "step"} <= set(labels)


def test_the_ends_are_told_to_those_who_cannot_see_them(by_step):
    frame, shown = by_step
    final = frame[(frame["label"] == "VAE") & (frame["step"] == 1000)]["mig"].mean()
    assert f"VAE {final:.3f}" in figures.progress(frame, "mig", shown).summary


def test_the_page_decides_every_colour(by_step):
    svg = figures.svg(figures.progress(*by_step[:1], "mig", by_step[1]), "a")
    assert not re.search(r"#[0-9a-fA-F]{6}", svg)
    assert "var(--method-2)" in svg
    assert "var(--method-6)" in svg
    assert "currentColor" in svg


def test_ids_begin_with_the_charts_identity(by_step):
    svg = figures.svg(figures.progress(*by_step[:1], "mig", by_step[1]), "chart-7")
    assert set(re.findall(r'\bid="([^"]{8})', svg)) == {"chart-7-"}


def test_the_same_chart_is_the_same_bytes(by_step):
    panel = figures.progress(*by_step[:1], "mig", by_step[1])
    assert figures.svg(panel, "a") == figures.svg(panel, "a")
    assert figures.png([panel, panel]) == figures.png([panel, panel])


def test_a_file_has_the_panels_side_by_side_and_no_more_than_three_in_a_row(by_step):
    panel = figures.progress(*by_step[:1], "mig", by_step[1])
    sizes = [
        Image.open(io.BytesIO(figures.png([panel] * count, by_step[1]))).size for count in (1, 3, 4)
    ]
    assert sizes[1][0] == 3 * sizes[0][0]
    assert sizes[2][0] == sizes[1][0]
    assert sizes[2][1] > 1.5 * sizes[1][1]


@pytest.mark.parametrize("steps", [(), (0,)], ids=["the end only", "step 0 only"])
def test_runs_with_few_snapshots_can_be_drawn(drawn, steps):
    drawn.write_run("beta_vae", 0, {"mig": 0.2}, snapshots=steps)
    drawn.write_run("vae", 0, {"mig": math.nan}, snapshots=steps)
    drawn.write_plan(["beta_vae", "vae"])
    results = read(drawn.folder)
    panel = figures.progress(scores_by_step(results), "mig", figures.looks(results))
    assert "VAE" in texts(figures.svg(panel, "a"))[-1]


def test_ranks_have_a_line_for_each_method_and_a_column_for_each_metric(drawn):
    shown = figures.looks(read(drawn.write(methods=("beta_vae", "vae"), seeds=(0,))))
    table = pd.DataFrame({"mig": [1, 2], "irs": [2, 1]}, index=["β-VAE", "VAE"], dtype=float)
    panel = figures.ranks(table, shown, "This study")
    assert {"β-VAE", "VAE", "MIG", "IRS", "1", "2"} <= set(texts(figures.svg(panel, "a")))
    assert panel.summary == "This study. First by MIG: β-VAE; by IRS: VAE."


def test_ranks_with_a_gap_can_be_drawn(drawn):
    shown = figures.looks(read(drawn.write(methods=("beta_vae", "vae"), seeds=(0,))))
    table = pd.DataFrame({"mig": [1, math.nan], "irs": [math.nan] * 2}, index=["β-VAE", "VAE"])
    assert figures.png([figures.ranks(table, shown, "This study")])


def test_a_cell_is_as_strong_as_its_value():
    cells = pd.DataFrame([[math.nan, -0.5], [1.0, math.nan]], ["mig", "irs"], ["mig", "irs"])
    svg = figures.svg(figures.matrix(cells, "t", "s", lambda value: f"{value:.2f}", True), "a")
    opacities = dict(re.findall(r"fill: var\(--(\w+)\); opacity: ([\d.]+)", svg))
    assert opacities == {"unlike": "0.25", "alike": "0.5"}
    assert {"-0.50", "1.00"} <= set(texts(svg))


def test_small_numbers_are_written_as_multiples_of_a_power_of_ten(drawn):
    shown = figures.looks(read(drawn.write(methods=("vae",), seeds=(0,))))
    rows = [{"label": "VAE", "mig": 0.1, "reconstruction_error": error} for error in (2e-3, 4e-3)]
    panel = figures.scatter(pd.DataFrame(rows), "mig", "reconstruction_error", shown)
    assert "reconstruction error (10⁻³)" in texts(figures.svg(panel, "a"))


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_labels_are_spread_without_changing_their_order(count):
    places = np.random.default_rng(count).uniform(0.4, 0.6, count).tolist()
    moved = figures._spread(places, 0.075)
    assert np.argsort(moved, kind="stable").tolist() == np.argsort(places, kind="stable").tolist()
    gap = min(0.075, 1 / max(count - 1, 1))
    assert (np.diff(np.sort(moved)) >= gap - 1e-9).all()
    assert min(moved) >= -1e-9 and max(moved) <= 1 + 1e-9


def test_labels_with_room_stay_where_they_are():
    assert figures._spread([0.9, 0.1, 0.5], 0.1) == pytest.approx([0.9, 0.1, 0.5])
