import json
import math
import os
import re
import shutil
import subprocess
import sys
from html import escape, unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from evaluator.report import baselines
from study.report import dials, table
from study.report.page import write_report
from study.report.results import final_scores, read
from study.report.wording import MINUS, NOTHING
from submission import datasets
from submission.errors import UserError
from tests.browser import browse, needs_chromium

TITLES = ("β-TCVAE", "Factor-VAE", "β-VAE", "Info-VAE", "DIP-VAE-I", "DIP-VAE-II")
TABLES = {
    *("report.html", "table1.md", "table1.tex", "table1.csv", "scores.csv", "scores_by_step.csv"),
    *("agreement.csv", "seed_disagreement.csv", "variance_components.csv"),
    *("agreement_with_model.csv", "latents.csv"),
}
FIGURES = {
    *("figure1_info_vae", "figure2_beta_tcvae", "figure3_beta_vae", "figure4_factor_vae"),
    *("figure5_dip_vae_i", "figure6_dip_vae_ii", "figure7", "figure8", "correlations"),
    *("ranks", "orders", "variance", "latents_in_use"),
}
NO_VALUE = r"\b(nan|None|NaN)\b"


class Page(HTMLParser):
    """The page's elements, and the text that a reader sees."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._hidden = 0
        self.source = path.read_text()
        self.feed(self.source)
        text = " ".join(" ".join(self.words).split())
        self.text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._hidden += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)

    def every(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(folder: Path) -> Page:
    return Page(write_report(folder))


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a report."""
    paths = [path for path in (folder / "report").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder / "report")): path.read_bytes() for path in paths}


@pytest.fixture(autouse=True)
def no_data_sets(monkeypatch, tmp_path):
    """Only the whole study has one: nothing else needs to render."""
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path / "no data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, drawn_study, exported, mini_root):
    """Six methods by three seeds with models and their data set; one run is not done."""
    study = drawn_study(tmp_path_factory.mktemp("whole") / "study")
    fingerprint = datasets.load("mpi3d_mini", mini_root).fingerprint()
    study.write(models=exported, dataset="mpi3d_mini", dataset_fingerprint=fingerprint)
    (study.run("info_vae", 2) / "scores.json").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISENTANGLEMENT_LIB_DATA", str(mini_root))
        write_report(study.folder)
    return study.folder


@pytest.fixture(scope="module")
def page(whole):
    return Page(whole / "report/report.html")


# What the page tells.


def test_table_1_has_mean_interval_and_the_papers_value_of_each_method(whole, page):
    summary = table.summarise(final_scores(read(whole)))
    row = summary[(summary["label"] == "β-VAE") & (summary["metric"] == "mig")].iloc[0]
    shown = f"{row['mean']:.3f} ± {row['half_width']:.3f} 0.212 ({row['difference']:+.3f})"
    assert shown.replace("-", MINUS) in page.text
    assert [word for word in page.words if word in TITLES][:6] == list(TITLES)


def test_what_is_comparable_is_said_beside_the_table(page):
    assert "Not comparable: the level of any score" in page.text
    assert "Data set mpi3d_mini, 28,800 images mpi3d_toy, 460,800 images" in page.text


def test_what_limits_the_numbers_stands_above_them(page):
    notice = "1 of 18 runs is missing, and left out: 1 not scored."
    assert page.text.index("Before you read the numbers") < page.text.index(notice)
    assert page.text.index(notice) < page.text.index("Table 1")
    assert "scores on it are not scores on MPI3D" in page.text
    assert "What is missing Run Seed Why Info-VAE 2 not scored" in page.text


def test_each_traversal_is_the_papers_figure_of_its_method(page):
    headings = re.findall(r"Figure (\d): (\S+)", page.text)
    assert headings == [
        ("1", "Info-VAE"),
        ("2", "β-TCVAE"),
        ("3", "β-VAE"),
        ("4", "Factor-VAE"),
        ("5", "DIP-VAE-I"),
        ("6", "DIP-VAE-II"),
    ]
    pictured = [image["alt"].split(":")[0] for image in page.every("img")]
    seeds = {f"{title}, seed {seed}" for title in TITLES for seed in (0, 1, 2)}
    assert set(pictured) == seeds - {"Info-VAE, seed 2"}
    # The later a method stands in the plan, the more of its four latents are in use.
    assert pictured.count("β-VAE, seed 0") == 1
    assert pictured.count("Factor-VAE, seed 1") == 3
    assert "is 0.01 or less (Burda et al. 2016), or when its KL" in page.text


def test_latents_in_use_are_counted_for_every_seed(page):
    assert "Method Seed 0 Seed 1 Seed 2 Mean β-TCVAE 2 2 2 2.0" in page.text
    assert f"Info-VAE 4 4 {NOTHING} 4.0" in page.text


def test_figures_7_and_8_show_the_papers_metrics(page):
    labels = [box["aria-label"] for box in page.every("div") if box.get("role") == "img"]
    shown = [label.split(" against the training step")[0] for label in labels if "step" in label]
    assert shown == ["DCI", "FactorVAE", "IRS", "MIG", "SAP"]


def test_each_question_has_an_answer_and_the_answers_stand_above_all(page):
    answers = [attributes["href"] for attributes in page.every("a")]
    found = ["worth", "papers-order", "correlations", "ranks", "orders", "noise"]
    assert answers[:6] == [f"#{one}" for one in found]
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {answer[1:] for answer in answers[:6]} <= ids
    assert page.text.index("In short") < page.text.index("Table 1")
    assert re.search(r"The answers below: \d for it, \d against it, \d open", page.text)


def test_what_variants_change_has_a_section_a_file_and_a_figure(drawn):
    methods = ("beta_vae", "vae")
    drawn.write(methods=methods, seeds=(0, 1, 2), variants=("", "narrow"), metrics=("mig", "irs"))
    page = report(drawn.folder)
    frame = pd.read_csv(drawn.folder / "report/variants.csv")
    assert frame["label"].unique().tolist() == ["β-VAE (narrow)", "VAE (narrow)"]
    one = frame[(frame["label"] == "VAE (narrow)") & (frame["quantity"] == "irs")].iloc[0]
    told = f"{one['difference']:+.3f} ± {one['half_width']:.3f}".replace("-", MINUS)
    assert told in page.text[page.text.index("What the variants change") :]
    for row in frame.dropna().itertuples():
        if row.quantity in ("mig", "irs"):
            told = f"{row.difference:+.3f} ± {row.half_width:.3f}".replace("-", MINUS)
            is_beyond = abs(row.difference) > row.half_width
            assert f"<span{' class=best' * is_beyond}>{told}" in page.source.replace('"', "")
    assert "#variants" in [attributes["href"] for attributes in page.every("a")]
    labels = [box["aria-label"] for box in page.every("div") if box.get("role") == "img"]
    assert sum("by variant. The means: β-VAE 0." in label for label in labels) == 2
    assert not dead_links(page, drawn.folder / "report")
    assert not re.search(NO_VALUE, page.text)
    assert (drawn.folder / "report/figures/variants.png").is_file()


def test_variants_are_no_methods_where_methods_are_asked_for(drawn):
    methods, variants = ("beta_vae", "info_vae"), ("", "narrow", "wide")
    drawn.write(methods=methods, seeds=(0, 1, 2), variants=variants)
    page = report(drawn.folder)
    assert "2 methods on mpi3d_toy" in page.text
    assert "Methods 2 Variants 3" in page.text
    assert "the runs of one variant, without further settings" in page.text
    assert "Of fewer than 5 methods it may be chance" in page.text
    assert pd.read_csv(drawn.folder / "report/agreement.csv")["runs"].unique().tolist() == [6]
    assert pd.read_csv(drawn.folder / "report/variance_components.csv")["methods"].max() == 2


def test_a_study_that_has_no_variants_any_more_keeps_nothing_of_them(drawn):
    drawn.write(methods=("vae",), seeds=(0, 1), variants=("", "narrow"), metrics=("mig",))
    report(drawn.folder)
    drawn.write(methods=("vae",), seeds=(0, 1), metrics=("mig",))
    assert "What the variants change" not in report(drawn.folder).text
    assert not {"variants.csv", "figures/variants.png"} & set(content(drawn.folder))


def test_every_number_is_in_a_file_too(whole):
    assert set(content(whole)) == TABLES | {f"figures/{name}.png" for name in FIGURES}


def test_scores_have_one_row_a_run_with_all_digits(whole):
    frame = pd.read_csv(whole / "report/scores.csv")
    assert len(frame) == 17
    run = frame.iloc[0]
    scores = json.loads((whole / "runs" / run["run"] / "scores.json").read_text())["scores"]
    assert run["mig"] == scores["mig"]
    means = pd.read_csv(whole / "report/table1.csv").query("metric == 'normalised_sum'")
    by_run = frame.groupby("label")["normalised_sum"].mean()
    assert by_run[means["label"]].tolist() == pytest.approx(means["mean"].tolist())
    by_step = pd.read_csv(whole / "report/scores_by_step.csv")
    assert by_step.groupby("run")["step"].apply(list).tolist() == [[0, 500, 1000]] * 17


def test_pairs_of_metrics_are_in_one_file(whole):
    frame = pd.read_csv(whole / "report/agreement.csv")
    assert len(frame) == 10
    assert {"kendall", "spearman_high", "differently", "single_differently"} <= set(frame)


# That it is the same each time, whole, safe and readable.


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes_whatever_the_place_and_time(
    whole, mini_root, tmp_path, monkeypatch
):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(mini_root))
    other = tmp_path / "another name"
    shutil.copytree(whole, other, ignore=shutil.ignore_patterns("report"))
    for path in other.rglob("*"):
        os.utime(path, (0, 0))
    write_report(other)
    assert content(other) == content(whole)


def test_the_page_asks_for_nothing_outside_itself(page):
    for _, attributes in page.elements:
        for name in ("src", "srcset", "poster", "action", "data"):
            assert re.match(r"data:|#", attributes.get(name, "#"))
    assert not re.search(r"url\((?!#)|@import|https?://", page.source)
    assert "default-src 'none'" in page.source
    assert len(page.every("script")) == page.source.count("script-src 'sha256-") == 1


def dead_links(page: Page, folder: Path) -> list[str]:
    """Links that lead to no file beside the page and to no place on it."""
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = [attributes["href"] for attributes in page.every("a")]
    return [
        link
        for link in links
        if link.removeprefix("#") not in ids and not (folder / link.partition("#")[0]).is_file()
    ]


def test_every_table_of_numbers_is_linked_and_no_link_is_dead(whole, page):
    links = {attributes["href"] for attributes in page.every("a")}
    assert {name for name in TABLES if name.endswith(".csv")} <= links
    assert {f"#run-{number}" for number in range(17)} <= links
    assert not dead_links(page, whole / "report")


def test_a_metrics_name_leads_to_what_it_measures(page):
    names = ("dci", "factor_vae_metric", "sap_score", "mig", "irs")
    folded = [one.get("id") for one in page.every("details") if one.get("class") == "measures"]
    assert folded == [f"measures-{name}" for name in names]
    links = [attributes["href"] for attributes in page.every("a")]
    # In Table 1 and above its curve.
    assert all(links.count(f"#measures-{name}") >= 2 for name in names)
    assert "IRS rewards modularity and robustness; ignores compactness" in page.text
    assert "Latents copied falls: 1.00 at 0, 0.00 at 3 (copies of each latent)" in page.text


def test_an_audit_beside_the_page_is_the_one_that_it_shows_and_links_to(drawn):
    drawn.write(methods=("vae",), seeds=(0,), metrics=("mig",))
    audit = drawn.folder / "report/audit"
    audit.mkdir(parents=True)
    content = json.loads((dials.FOLDER / "mpi3d_mini.json").read_text()) | {"dataset": "squares"}
    (audit / "dials.json").write_text(json.dumps(content))
    page = report(drawn.folder)
    assert "the factors of squares themselves" in page.text
    assert "python -m study audit measures it" in page.text
    assert not dead_links(page, drawn.folder / "report")
    (audit / "audit.html").write_text("")
    links = [attributes["href"] for attributes in report(drawn.folder).every("a")]
    assert {"audit/audit.html", "audit/audit.html#copied"} <= set(links)


def test_the_page_is_small(whole):
    assert (whole / "report/report.html").stat().st_size < 3e6


def test_every_picture_has_a_description_and_every_id_is_unique(page):
    assert all(image.get("alt") for image in page.every("img"))
    boxes = [box for box in page.every("div") if box.get("role") in ("img", "region")]
    assert len(boxes) > 20
    assert all(box["aria-label"] for box in boxes)
    # What a dial's picture shows stands below it.
    charts = [one for one in page.every("svg") if one["viewbox"] != "0 0 120 48"]
    assert len(charts) == sum(box["role"] == "img" for box in boxes)
    assert all(drawing.get("aria-hidden") == "true" for drawing in page.every("svg"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        assert attributes.get("aria-labelledby", ids[0]) in ids


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_hostile_names_are_escaped(drawn):
    hostile = "\"'><script>alert(1)</script>{{ 7*7 }}&<b>"
    drawn.write(methods=("vae",), seeds=(0,), metrics=("mig", hostile), warnings=[hostile])
    plan = json.loads((drawn.folder / "study.json").read_text())
    plan["study"]["settings"] = [hostile]
    plan["git_revision"] = hostile
    drawn.write_json(drawn.folder / "study.json", plan)
    page = report(drawn.folder)
    assert len(page.every("script")) == 1
    assert "<script>alert" not in page.source
    assert "{{ 7*7 }}" in page.text
    assert page.text.count("<script>alert(1)</script>") > 3


# In a browser.

WIDTHS = (375, 768, 1440)


@needs_chromium
def test_the_page_fits_phones_and_wide_screens(whole, tmp_path):
    # A frame has the width it is given, however narrow; a headless window may not. What stands in
    # a box that scrolls may be wider than the page, but the box itself may not.
    source = escape((whole / "report/report.html").read_text())
    frames = "".join(
        f'<iframe width="{width}" height="800" style="border: 0" srcdoc="{source}"></iframe>'
        for width in WIDTHS
    )
    measure = """
      onload = () => document.title = [...document.querySelectorAll("iframe")].map(frame => {
        const page = frame.contentDocument.documentElement;
        const outside = [...page.querySelectorAll("body *")].filter(
          part => !part.parentElement.closest(".scroll"));
        const right = outside.map(part => part.getBoundingClientRect().right);
        const images = [...page.querySelectorAll("img")].every(image => image.naturalWidth > 0);
        return [page.clientWidth, page.scrollWidth, Math.max(...right), Number(images)].join();
      }).join(" ");"""
    wrapper = tmp_path / "frames.html"
    wrapper.write_text(f"<meta charset=utf-8><script>{measure}</script>{frames}")
    dom = browse(wrapper, tmp_path / "profile", "--dump-dom", seconds=600).stdout
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title is not None
    measured = [[float(number) for number in one.split(",")] for one in title[1].split()]
    for (client, scroll, right, images), width in zip(measured, WIDTHS, strict=True):
        assert width - 20 <= client <= width
        assert scroll <= client
        assert right <= width
        assert images


CLICKS = """
  const page = document.querySelector("iframe").contentDocument;
  const shown = () => [...page.querySelectorAll("#every-run tbody tr")]
    .filter(row => row.offsetHeight).map(row => `${row.dataset.method} ${row.dataset.seed}`);
  const heading = name => [...page.querySelectorAll("#every-run button")]
    .find(button => button.textContent === name);
  const tick = (selector, place) => page.querySelectorAll(selector)[place].click();
  heading("MIG").click();
  const highest = shown();
  heading("MIG").click();
  const lowest = shown();
  tick("form.tools input[name=method]", 1);
  tick("form.tools input[name=seed]", 2);
  const filtered = shown();
  tick(".pick input", 0);
  const alone = page.querySelector("#compared").textContent;
  tick(".pick input", 1);
  const compared = page.querySelector("#compared");
  const cells = [...compared.querySelectorAll("tbody tr")].map(
    row => [...row.cells].map(cell => cell.textContent));
  document.title = JSON.stringify({
    highest, lowest, filtered, alone, cells,
    status: page.querySelector("form.tools [role=status]").textContent,
    sorted: heading("MIG").parentElement.getAttribute("aria-sort"),
    pictures: compared.querySelectorAll("img").length,
    command: compared.querySelector("code").textContent,
  });
"""


@needs_chromium
def test_runs_are_sorted_filtered_and_compared_by_a_click(whole, tmp_path):
    source = escape((whole / "report/report.html").read_text())
    script = f"onload = () => {{ {CLICKS} }}"
    wrapper = tmp_path / "frame.html"
    wrapper.write_text(
        f"<meta charset=utf-8><script>{script}</script>"
        f'<iframe width="1440" height="800" srcdoc="{source}"></iframe>'
    )
    dom = browse(wrapper, tmp_path / "profile", "--dump-dom", seconds=600).stdout
    found = json.loads(unescape(re.search(r"<title>(.*?)</title>", dom)[1]))
    scores = pd.read_csv(whole / "report/scores.csv")
    order = scores.sort_values("mig", ascending=False, kind="stable")
    names = [f"{row.label} {row.seed}" for row in order.itertuples()]
    assert (found["highest"], found["lowest"]) == (names, names[::-1])
    assert found["sorted"] == "ascending"
    assert found["filtered"] == ["Factor-VAE 2"]
    # The first row in view is that of the lowest MIG, and the next one's is the next.
    assert found["alone"] == ""
    assert found["status"] == "1 of 17 runs shown; 2 side by side below the table"
    last, second = (order.iloc[place] for place in (-1, -2))
    pair = sorted((last, second), key=lambda run: list(scores["run"]).index(run["run"]))
    mig = next(cells for cells in found["cells"] if cells[0] == "MIG")
    difference = f"{pair[0]['mig'] - pair[1]['mig']:+.3f}".replace("-", MINUS)
    assert mig[1:4] == [*(f"{run['mig']:.3f}" for run in pair), difference]
    assert mig[4].startswith("± 0.0")
    assert found["pictures"] == sum(run["latents_in_use"] for run in pair)
    assert f"runs/{pair[0]['run']} runs/{pair[1]['run']}" in found["command"]


@needs_chromium
def test_the_page_logs_no_error_in_the_browser(whole, tmp_path):
    log = browse(
        whole / "report/report.html",
        tmp_path / "profile",
        "--dump-dom",
        "--enable-logging=stderr",
        seconds=600,
    ).stderr
    assert "CONSOLE" not in log


# What is missing.


def test_a_study_without_a_finished_run_is_one_line_and_keeps_an_earlier_report(drawn):
    drawn.write_plan(["beta_vae", "vae"], [0, 1])
    earlier = drawn.folder / "report/report.html"
    earlier.parent.mkdir()
    earlier.write_text("earlier")
    with pytest.raises(UserError, match="4 of 4 runs are missing, and left out: 4 not started"):
        write_report(drawn.folder)
    assert content(drawn.folder) == {"report.html": b"earlier"}


def test_an_empty_report_ends_with_exit_code_2(drawn):
    drawn.write_plan([], [])
    line = [sys.executable, "-m", "study", "report", str(drawn.folder)]
    root = Path(__file__).resolve().parents[3]
    result = subprocess.run(line, cwd=root, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("score", [1e308, -1e308, 3e38])
def test_scores_at_the_end_of_floating_point_leave_a_page(drawn, score):
    for seed in (0, 1):
        drawn.write_run("vae", seed, {"mig": score, "irs": 0.5})
        drawn.write_run("beta_vae", seed, {"mig": 0.1, "irs": 0.4})
    drawn.write_plan(["vae", "beta_vae"], [0, 1])
    assert not re.search(NO_VALUE, report(drawn.folder).text)


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no"):
        write_report(tmp_path)


def test_ones_own_data_is_named_and_not_by_its_path(drawn):
    folder = drawn.write(methods=("vae",), seeds=(0,), metrics=("mig",), dataset="squares")
    plan = json.loads((folder / "study.json").read_text())
    plan["study"]["dataset"] = "/home/somebody/squares.npz"
    drawn.write_json(folder / "study.json", plan)
    assert report(folder).text.startswith("1 method on squares, 1 metric, and whether they agree")


def test_figures_of_an_earlier_report_are_removed(drawn):
    drawn.write(methods=("vae",), seeds=(0,), metrics=("mig",))
    old = drawn.folder / "report/figures/figure1_info_vae.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")
    write_report(drawn.folder)
    assert not old.exists()


def test_table_1_and_the_curves_show_what_a_score_is_worth_nothing_in(drawn, tmp_path, monkeypatch):
    drawn.write(methods=("vae", "beta_vae"), seeds=(0,))
    measured = {"metrics": {"mig": {"5": [0.01, 0.05]}}}
    (tmp_path / "mpi3d_toy.json").write_text(json.dumps(measured))
    monkeypatch.setattr(baselines, "FOLDER", tmp_path)
    page = report(drawn.folder)
    row = ["Without training", *[NOTHING] * 3, "0.01 to 0.05", NOTHING, NOTHING]
    assert " ".join(row) in page.text
    assert "The grey band is what representations without training score" in page.text


def test_one_run_alone_gets_a_page_without_intervals_or_verdicts(drawn):
    page = report(drawn.write(methods=("vae",), seeds=(0,)))
    assert "One run each: there are no intervals" in page.text
    assert "There is one seed only" in page.text
    assert "too little here to judge the thesis" in page.text
    assert "No two metrics can be correlated" in page.text
    assert not re.search(NO_VALUE, page.text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"seeds": (0,)}, "One seed alone does not tell how much of this is noise."),
        ({"methods": ("beta_vae",)}, "There are no two metrics that each name a best"),
        ({"methods": ("beta_vae", "vae"), "seeds": (0, 1)}, "The method's share of the variance"),
        ({"methods": ("beta_vae", "vae"), "variants": ("", "narrow")}, "β-VAE (narrow)"),
        ({"metrics": ("mig",)}, "No two metrics can be correlated"),
        ({"metrics": ("mig", "modularity")}, "Modularity"),
        ({"metrics": ("modularity",)}, "Left out: none of the paper's metrics was scored."),
        ({"kl_per_latent": []}, "No metric can be held against latents in use"),
        (
            {"posterior_mean_variance_per_latent": [0.9, 0.9, 0.01, 0.9]},
            "All methods use the same number of latents (3).",
        ),
        (
            {"posterior_mean_variance_per_latent": None},
            "No metric can be held against latents in use",
        ),
        ({"warnings": ["Half the width"], "nonfinite_steps": 2}, "Half the width (18 runs)"),
        ({"dataset": "no such"}, "No traversals and no reconstruction errors: unknown data set"),
    ],
    ids=str,
)
def test_any_shape_of_study_gets_a_sensible_page(drawn, shape, words):
    page = report(drawn.write(**{"metrics": ("mig", "irs")} | shape))
    assert words in page.text
    assert not re.search(NO_VALUE, page.text)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([{"mig": 0.1}, {"mig": math.nan}], "MIG is not known for every method."),
        ([{"mig": 0.2, "irs": 0.5}], "There is too little here to judge the thesis"),
        ([{"mig": 0.0, "irs": 0.5}], "MIG is left out of the sum"),
        ([{"mig": None, "irs": None}], "Left out: none of the paper's metrics was scored."),
    ],
    ids=str,
)
def test_scores_that_say_nothing_get_a_sensible_page(drawn, scores, words):
    for seed in (0, 1):
        drawn.write_run("vae", seed, scores[0], snapshots=())
        drawn.write_run("beta_vae", seed, scores[-1], snapshots=())
    drawn.write_plan(["vae", "beta_vae"], [0, 1])
    page = report(drawn.folder)
    assert words in page.text
    assert not re.search(NO_VALUE, page.text)


@pytest.mark.slow
def test_runs_without_snapshots_are_told(drawn):
    for method in ("vae", "beta_vae"):
        drawn.write_run(method, 0, {"mig": 0.1}, snapshots=())
    drawn.write_plan(["vae", "beta_vae"])
    page = report(drawn.folder)
    assert "2 runs without scored snapshots: Figures 7 and 8 show only the end" in page.text
