import csv
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluator.report import baselines
from evaluator.report.page import write_report
from submission.datasets import Dataset
from tests.browser import browse, needs_chromium

LATENTS = 6
KL = [0.8, 1.5, 0.4, 3.25, 0.0, 0.7]
# The last is spent without informing.
VARIANCE = [0.3, 1.3, 0.02, 0.6, 0.0, 0.009]
SCORES = {"dci": 0.3123, "factor_vae_metric": 0.45, "sap_score": 0.07, "mig": 0.11, "irs": 0.58}
RUN = {
    "name": "experiment_name",
    "method": "beta_tcvae",
    "dataset": "mpi3d_mini",
    "preset": "paper",
    "seed": 3,
    "budget_seconds": 300.0,
    "seconds_spent": 281.4,
    "steps": 1800,
    "planned_steps": 2000,
    "pretraining_steps": 40,
    "status": "finished",
    "message": "the budget is used up",
    "warnings": [],
    "latents": LATENTS,
    "kl_per_latent": KL,
    "posterior_mean_variance_per_latent": VARIANCE,
    "posterior_std_per_latent": [0.7, 0.05, 1.0, 0.3, 1.0, 0.98],
    "git_revision": "0123abcd",
    "versions": {"torch": "2.13.0"},
    "gin_config": "beta_tcvae.beta = 2.0\n",
    "image_shape": [64, 64, 3],
    "nonfinite_steps": 0,
}
SCORES_FILE = {
    "scores": SCORES,
    "sum": sum(SCORES.values()),
    "metrics": {"dci": {"completeness": 0.2718, "disentanglement": 0.3123}},
    "provenance": {
        "dataset": "mpi3d_mini",
        "dataset_fingerprint": "cd",
        "factors_num_values": [4, 3],
        "images": 12,
        "seed": 0,
        "engine": "reference",
        "preset": "challenge",
        "gin_config": "dci.num_train = 10000\n",
        "representation_sha256": "ab12" * 16,
        "seconds": {"dci": 61.25},
    },
    "matrices": {
        "factors": ["shape", "size"],
        "importance": [[0.1, 0.1], [0.8, 0.2], [0, 0], [0.1, 0.6], [0, 0], [0, 0.1]],
    },
}
HISTORY = [
    *("phase", "step", "seconds", "epoch", "loss", "reconstruction", "kl", "capacity"),
    *("learning_rate", "total_correlation"),
]


class Encoder(torch.nn.Module):
    def __init__(self, latents: int) -> None:
        super().__init__()
        self.latents = latents

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :3].mean(dim=(1, 3))[:, : self.latents] - 0.5


class Decoder(torch.nn.Module):
    """Smooth waves, as smooth as a decoder's images are."""

    def __init__(self, latents: int) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        generator = torch.Generator().manual_seed(0)
        waves = torch.rand(latents, 3, 2, generator=generator) / 4
        self.basis = torch.sin(
            waves[:, :, 0, None, None] * rows + waves[:, :, 1, None, None] * columns
        )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(torch.einsum("nl,lchw->nchw", latents, self.basis))


class Page(HTMLParser):
    """The page's elements, and the text that a reader sees."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._hidden = 0
        self.feed(source)
        self.text = " ".join(" ".join(self.words).split())

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


def write_models(folder: Path, latents: int) -> None:
    torch.jit.script(Encoder(latents)).save(str(folder / "representation/pytorch_model.pt"))
    torch.jit.script(Decoder(latents)).save(str(folder / "training/decoder.pt"))


def write_run(folder: Path, **changes: Any) -> None:
    (folder / "training/run.json").write_text(json.dumps(RUN | changes))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    pixels = np.random.RandomState(0).randint(256, size=(12, 64, 64, 3)).astype(np.uint8)
    return Dataset("mpi3d_mini", pixels, ("shape", "size"), (4, 3), (0, 1))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "complete"
    (folder / "representation/results").mkdir(parents=True)
    (folder / "training").mkdir()
    write_models(folder, LATENTS)
    write_run(folder)
    (folder / "scores.json").write_text(json.dumps(SCORES_FILE))
    with (folder / "training/history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HISTORY)
        for step in range(0, 41, 10):
            writer.writerow(["pretraining", step, 1, 0, 900 - step, 890 - step, 10, "", 1e-3, ""])
        for step in range(0, 1801, 10):
            fall = 700 + 100 * math.exp(-step / 300)
            writer.writerow(["training", step, 1, 1, fall, fall - 25, 25, 25, 5e-4, 0.5])
    return folder


@pytest.fixture
def run_folder(complete: Path, tmp_path: Path) -> Path:
    return shutil.copytree(complete, tmp_path / "a_run")


@pytest.fixture
def bare_folder(run_folder: Path) -> Path:
    """A run folder without what takes time to draw."""
    (run_folder / "training/decoder.pt").unlink()
    (run_folder / "training/history.csv").unlink()
    return run_folder


@pytest.fixture(scope="module")
def page(complete: Path, dataset: Dataset) -> Page:
    return Page(write_report(complete, dataset).read_text())


def report(run_folder: Path, dataset: Dataset) -> Page:
    return Page(write_report(run_folder, dataset).read_text())


# What the page tells.


def test_scores_and_their_sum_stand_beside_the_papers_row(page: Page) -> None:
    for line in (
        "DCI 0.312 0.392",
        "FactorVAE 0.450 0.458",
        "SAP 0.070 0.132",
        "MIG 0.110 0.203",
        "IRS 0.580 0.646",
        "Plain sum 1.522 1.831",
    ):
        assert line in page.text


def test_beside_a_score_stands_what_it_is_worth_nothing_in(
    bare_folder: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {"metrics": {"mig": {"5": [0.01, 0.05], "50": [0.0, 0.2]}}}
    (tmp_path / f"{dataset.name}.json").write_text(json.dumps(measured))
    monkeypatch.setattr(baselines, "FOLDER", tmp_path)
    page = report(bare_folder, dataset)
    assert "Without training, 5 latents score 0.01 to 0.05." in page.text
    assert places(page, "untrained") == ["left: 1.0%; right: 95.0%"]


def test_scores_on_mpi3d_mini_are_said_above_them_not_to_be_scores_on_mpi3d(page: Page) -> None:
    told = "mpi3d_mini is rendered by this project: scores on it are not scores on MPI3D."
    assert told in page.text
    assert page.text.index(told) < page.text.index("DCI 0.312")


def test_the_papers_scores_are_said_not_to_be_comparable_on_other_images(
    bare_folder: Path, dataset: Dataset
) -> None:
    text = report(bare_folder, replace(dataset, name="cars3d")).text
    told = "The scores of the paper, on mpi3d_toy (460,800 images), are not comparable with these"
    assert told in text
    assert "not scores on MPI3D" not in text


def places(page: Page, kind: str) -> list[str]:
    return [span["style"] for span in page.every("span") if span.get("class") == kind]


def test_scores_are_bars_on_one_scale_from_0_to_1(page: Page) -> None:
    expected = [f"width: {100 * score:.4g}%" for score in SCORES.values()]
    assert [re.sub(r"\.0%", "%", one) for one in places(page, "score")] == expected
    assert places(page, "published")[0] == "left: 39.2%"


def test_an_interval_over_seeds_of_the_draws_is_told_and_drawn(
    bare_folder: Path, dataset: Dataset
) -> None:
    interval = {"mean": 0.12, "half_width": 0.02, "scores": [0.11, 0.13, 0.12]}
    repeats = {"seeds": [0, 1, 2], "mig": interval, "sum": interval | {"mean": 1.5}, "irs": "x"}
    (bare_folder / "scores.json").write_text(json.dumps(SCORES_FILE | {"repeats": repeats}))
    page = report(bare_folder, dataset)
    assert page.text.count("Mean over 3 seeds of the draws:") == 2
    assert "0.120 ± 0.020" in page.text and "1.500 ± 0.020" in page.text
    assert places(page, "interval") == ["left: 10.0%; right: 86.0%"]


def test_a_method_without_a_row_in_the_paper_gets_no_papers_column(
    bare_folder: Path, dataset: Dataset
) -> None:
    write_run(bare_folder, method="vae")
    page = report(bare_folder, dataset)
    assert "DCI 0.312 Disentanglement" in page.text
    assert "Table 1 has no row for this method" in page.text


def test_a_sum_of_some_metrics_says_so_and_is_not_set_beside_the_papers(
    bare_folder: Path, dataset: Dataset
) -> None:
    some = {"scores": {"mig": 0.11, "irs": 0.58}, "sum": 0.69}
    (bare_folder / "scores.json").write_text(json.dumps(SCORES_FILE | some))
    assert "Plain sum of the 2 scored 0.690 \N{EN DASH}" in report(bare_folder, dataset).text


def test_a_finished_run_of_a_full_preset_has_no_notice(bare_folder: Path, dataset: Dataset) -> None:
    write_run(bare_folder, method="vae", dataset="squares")
    text = report(bare_folder, replace(dataset, name="squares")).text
    assert "Before you read the numbers" not in text


@pytest.mark.parametrize(
    ("changes", "notice"),
    [
        ({"preset": "quick"}, "Trained with the preset “quick”"),
        ({"status": "interrupted", "message": "SIGTERM"}, "(status “interrupted”): SIGTERM."),
        ({"warnings": ["half the width"]}, "Half the width"),
        ({"steps": 52}, "Only 52 of 2,000 planned steps fit the budget"),
        ({"nonfinite_steps": 2}, "Steps skipped for a non-finite gradient: 2."),
        ({"dataset": "cars3d"}, "Trained on cars3d, scored on mpi3d_mini."),
        ({"dataset_fingerprint": "ef"}, "Trained and scored on different images"),
    ],
)
def test_what_limits_the_numbers_stands_above_them(
    bare_folder: Path, dataset: Dataset, changes: dict[str, Any], notice: str
) -> None:
    write_run(bare_folder, **changes)
    text = report(bare_folder, dataset).text
    assert notice in text
    assert text.index("Before you read the numbers") < text.index(notice) < text.index("DCI")


def test_a_quick_evaluation_is_told(bare_folder: Path, dataset: Dataset) -> None:
    provenance = SCORES_FILE["provenance"] | {"preset": "quick"}  # type: ignore[operator]
    (bare_folder / "scores.json").write_text(json.dumps(SCORES_FILE | {"provenance": provenance}))
    assert "Scored with the preset “quick”" in report(bare_folder, dataset).text


def traversed(page: Page) -> list[int]:
    alts = [
        re.search(r"decoded as latent (\d+) moves from", one["alt"]) for one in page.every("img")
    ]
    return [int(found[1]) for found in alts if found]


def test_traversals_are_of_latents_in_use_with_the_others_in_one_closed_row(page: Page) -> None:
    moved = traversed(page)
    assert sorted(moved[:3]) == [0, 1, 3]
    assert sorted(moved[3:]) == [2, 4, 5]
    assert "The other 3 latents" in page.text
    assert all("open" not in part for part in page.every("details"))
    assert "0.01 or less, or its KL to the prior under 0.69 nats: here 3 of 6" in page.text
    assert "Latents in use 3 of 6" in page.text


def test_a_traversal_is_labelled_with_the_factor_that_the_latent_tells(page: Page) -> None:
    assert re.search(r"z 1 shape \S+ to \S+ changes \d+ %", page.text)
    assert re.search(r"z 3 size \S+ to \S+ changes \d+ %", page.text)


def test_latents_and_factors_are_told_in_a_sentence(page: Page) -> None:
    told = (
        "Shape is told by z 1 ; size is told by z 3 . Most of all, z 1 tells shape; z 3 tells size."
    )
    assert told in page.text
    assert "4 other latents tell less than 0.15 of any factor" in page.text


def test_each_factor_is_changed_alone_with_its_reconstructions_and_errors(page: Page) -> None:
    alts = [image["alt"] for image in page.every("img")]
    assert "4 images of mpi3d_mini with shape at 0, 1, 2, 3." in alts
    assert "3 images of mpi3d_mini with size at 0, 1, 2." in alts
    charts = [box["aria-label"] for box in page.every("div") if "role" in box]
    assert any(label.startswith("Reconstruction error by shape. Least at ") for label in charts)


def test_all_latents_ignored_is_told_and_they_are_still_there_to_look_at(
    run_folder: Path, dataset: Dataset
) -> None:
    write_run(run_folder, posterior_mean_variance_per_latent=[0.001] * LATENTS)
    page = report(run_folder, dataset)
    assert "Left out: all 6 latents are ignored." in page.text
    assert "The 6 ignored latents" in page.text
    assert "Move it" not in page.text
    assert sorted(traversed(page)) == list(range(LATENTS))


def test_a_run_of_an_earlier_version_has_latents_in_use_unknown(
    run_folder: Path, dataset: Dataset
) -> None:
    write_run(run_folder, posterior_mean_variance_per_latent=None)
    text = report(run_folder, dataset).text
    assert "Latents in use unknown" in text
    told = "Left out: training/run.json tells no KL and no variance of the posterior mean"
    assert text.count(told) == 1
    assert "posterior mean has a variance above 0.01 over 512 random images" in text


def test_there_is_a_curve_for_each_term_with_the_learning_rate_last(page: Page) -> None:
    labels = [box.get("aria-label", "").split(" over ") for box in page.every("div")]
    assert [label[0] for label in labels if len(label) > 1] == [
        "Loss",
        "Reconstruction loss (nats an image)",
        "KL to the prior (nats) and capacity C",
        "Total correlation",
        "Learning rate",
    ]
    assert page.text.count("pre-training") == 5


def test_beside_the_total_correlation_stands_how_far_a_batchs_estimate_is_off(page: Page) -> None:
    bound = (
        "(latents \N{MINUS SIGN} 1) · log(batch size): 79 nats with 20 latents and batches of 64"
    )
    assert f"too high, by up to {bound}" in page.text


@pytest.mark.parametrize("pair", [("1e308", "-1e308"), ("3e38", "-3e38")])
@pytest.mark.parametrize("column", ["loss", "kl", "total_correlation", "step"])
def test_numbers_at_the_end_of_floating_point_leave_a_page(
    tmp_path: Path, dataset: Dataset, pair: tuple[str, str], column: str
) -> None:
    (tmp_path / "training").mkdir()
    with (tmp_path / "training/history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY)
        writer.writeheader()
        for step in range(6):
            row = {"phase": "training", "step": step, "loss": 5, "kl": 2, "total_correlation": 1}
            writer.writerow(row | {column: pair[step % 2]})
    assert "Representation on mpi3d_mini" in report(tmp_path, dataset).text


def test_scores_during_training_are_drawn_against_the_step(
    run_folder: Path, dataset: Dataset
) -> None:
    header = "phase,step,loss,dci,factor_vae_metric,sap_score,mig,irs,sum\n"
    rows = [f"training,{step},5,0.{step},0.2,0.1,0.1,0.5,1.{step}\n" for step in (100, 200)]
    (run_folder / "training" / "scores.csv").write_text(header + "".join(rows))
    titles = [
        image["aria-label"]
        for image in report(run_folder, dataset).every("div")
        if "aria-label" in image
    ]
    drawn = [title.split(" over training steps")[0] for title in titles]
    assert drawn[-6:] == ["DCI", "FactorVAE", "SAP", "MIG", "IRS", "Sum"]


def test_cached_pretraining_is_named_where_its_curves_are_missing(
    run_folder: Path, dataset: Dataset
) -> None:
    (run_folder / "training/decoder.pt").unlink()
    history = run_folder / "training/history.csv"
    lines = history.read_text().splitlines()
    history.write_text("\n".join(line for line in lines if not line.startswith("pretraining")))
    assert "Pre-training (40 steps) has no curves here" in report(run_folder, dataset).text


def test_a_history_of_one_row_is_too_short_for_curves(run_folder: Path, dataset: Dataset) -> None:
    (run_folder / "training/decoder.pt").unlink()
    history = run_folder / "training/history.csv"
    history.write_text("\n".join(history.read_text().splitlines()[:2]))
    assert "has too few rows for a curve" in report(run_folder, dataset).text


def test_bars_show_every_latents_variance_with_the_threshold_between(page: Page) -> None:
    text = page.text[page.text.index("Latent Variance KL (nats) Posterior std") :]
    order = ["z 1 1.300 1.500", "z 3 0.600 3.250", "z 0 0.300 0.800", "3 ignored: variance", "z 2"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    widths = [div["style"] for div in page.every("div") if "width: " in div.get("style", "")]
    widths = [width for width in widths if width.endswith("%")]
    assert widths[:2] == ["width: 100.0%", "width: 46.15%"]


def test_provenance_holds_every_field_of_both_files(page: Page) -> None:
    for name in RUN.keys() - {"gin_config", "versions"} | {"versions.torch"}:
        assert name in page.text
    for value in ("2.13.0", "ab12" * 16, "61.25", "0.2718"):
        assert value in page.text
    for config in ("beta_tcvae.beta = 2.0", "dci.num_train = 10000"):
        assert config in page.text


def test_provenance_is_folded_into_one_line_that_can_be_copied(page: Page) -> None:
    told = "Commit 0123abcd; trained with beta_tcvae on mpi3d_mini, seed 3; scored by the reference"
    assert told in page.text
    (button,) = [one for one in page.every("button") if "data-copies" in one]
    # The script shows it.
    assert "hidden" in button
    assert button["data-copies"] in [part.get("id") for part in page.every("div")]


def test_commands_to_reproduce_name_method_seed_and_revision(page: Page) -> None:
    assert "git checkout 0123abcd" in page.text
    assert (
        "./run.sh --method beta_tcvae --dataset mpi3d_mini --budget 300s --preset paper --seed 3"
        in page.text
    )
    assert "representation --dataset mpi3d_mini --preset challenge --seed 0" in page.text


@pytest.mark.parametrize("mark", ["-dirty", "+changes"])
def test_a_changed_tree_is_not_passed_to_git_as_a_revision(
    bare_folder: Path, dataset: Dataset, mark: str
) -> None:
    write_run(bare_folder, git_revision=f"0123abcd{mark}")
    assert "git checkout 0123abcd # and uncommitted changes" in report(bare_folder, dataset).text


# What is missing.


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("scores.json", "FactorVAE"),
        ("training/run.json", "KL (nats)"),
        ("training/history.csv", "Reconstruction loss"),
        ("training/decoder.pt", "Mean squared error"),
        ("representation/pytorch_model.pt", "Mean squared error"),
    ],
)
def test_a_part_without_its_source_is_left_out_in_one_sentence(
    run_folder: Path, dataset: Dataset, page: Page, name: str, gone: str
) -> None:
    (run_folder / name).unlink()
    text = report(run_folder, dataset).text
    assert f"Left out: there is no {name}." in text
    assert gone in page.text
    assert gone not in text


def test_somebody_elses_bare_representation_gets_a_page(tmp_path: Path, dataset: Dataset) -> None:
    page = report(tmp_path, dataset)
    assert "Representation on mpi3d_mini" in page.text
    assert page.text.count("Left out:") == 8


@pytest.mark.parametrize("content", ["{", "[1]", "", "\x00", "[" * 100_000])
def test_a_damaged_file_counts_as_missing(
    bare_folder: Path, dataset: Dataset, content: str
) -> None:
    for name in ("scores.json", "training/run.json", "training/history.csv"):
        (bare_folder / name).write_text(content)
    assert report(bare_folder, dataset).text.count("Left out:") >= 5


def test_values_of_the_wrong_kind_do_not_end_the_report(
    bare_folder: Path, dataset: Dataset
) -> None:
    wrong = dict.fromkeys(RUN, "text")
    (bare_folder / "training/run.json").write_text(json.dumps(wrong))
    (bare_folder / "scores.json").write_text('{"scores": {"mig": "x"}, "sum": NaN, "metrics": 3}')
    assert "text on mpi3d_mini" in report(bare_folder, dataset).text


def test_a_model_for_other_images_is_told_in_one_line(run_folder: Path, dataset: Dataset) -> None:
    grey = Dataset("cars3d", dataset.images[:, :32, :, :1], ("shape", "size"), (4, 3), (0, 1))
    text = report(run_folder, grey).text
    assert "Left out: encoder and decoder fail on cars3d (" in text
    assert "Traceback" not in text


# That it is safe, whole and readable.


def test_hostile_text_from_every_file_is_escaped(run_folder: Path, dataset: Dataset) -> None:
    hostile = "\"'><script>alert(1)</script><img src=http://e.test/x onerror=alert(1)>{{ 7*7 }}"

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {f"{key}": poison(inner) for key, inner in value.items()} | {hostile: hostile}
        if isinstance(value, list):
            return [poison(inner) for inner in value]
        return hostile if isinstance(value, str) else value

    run = poison(RUN) | {"status": hostile, "warnings": [hostile]}
    (run_folder / "training/run.json").write_text(json.dumps(run))
    (run_folder / "scores.json").write_text(json.dumps(poison(SCORES_FILE)))
    history = run_folder / "training/history.csv"
    quoted = '"' + hostile.replace('"', '""') + '"'
    history.write_text(history.read_text().replace("total_correlation", quoted))
    page = report(run_folder, dataset)
    # A script of ours is a module, which the policy names by its hash, or numbers, which don't run.
    own = [{"type": "module"}, {"type": "application/json", "id": "moving-content"}]
    assert all(script in own for script in page.every("script"))
    assert all(image["src"].startswith("data:image/") for image in page.every("img"))
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    assert "{{ 7*7 }}" in page.text
    # As text it is all there: title, notice, curve, tables, configurations.
    assert page.text.count("<script>alert(1)</script>") > 20


def test_the_page_asks_for_nothing_outside_itself(complete: Path, page: Page) -> None:
    for _, attributes in page.elements:
        for name in ("src", "srcset", "href", "poster", "action", "data"):
            assert re.match(r"data:|#", attributes.get(name, "#"))
    source = (complete / "report.html").read_text()
    assert not re.search(r"url\((?!#)|@import|https?://", source)
    assert "default-src 'none'" in source


def test_the_page_is_small_even_with_many_latents(run_folder: Path, dataset: Dataset) -> None:
    latents = 40
    several = [1.0 + latent for latent in range(latents)]
    write_run(run_folder, kl_per_latent=several, posterior_mean_variance_per_latent=several)

    class Wide(Encoder):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0, : self.latents].mean(dim=2) - 0.5

    torch.jit.script(Wide(latents)).save(str(run_folder / "representation/pytorch_model.pt"))
    torch.jit.script(Decoder(latents)).save(str(run_folder / "training/decoder.pt"))
    path = write_report(run_folder, dataset)
    assert path.stat().st_size < 3e6
    assert "The 20 with the largest variance of 40 are shown." in Page(path.read_text()).text


def test_nothing_but_the_page_is_left_in_the_folder(bare_folder: Path, dataset: Dataset) -> None:
    before = {path.name for path in bare_folder.iterdir()}
    write_report(bare_folder, dataset)
    assert {path.name for path in bare_folder.iterdir()} == before | {"report.html"}


def test_the_command_draws_a_page_elsewhere_and_leaves_the_run_alone(
    bare_folder: Path, tmp_path: Path
) -> None:
    before = sorted(bare_folder.rglob("*"))
    command = [sys.executable, "-m", "evaluator.report", str(bare_folder)]
    page = tmp_path / "page.html"
    done = subprocess.run(
        [*command, "--dataset", "mpi3d_mini", "--output", str(page)], capture_output=True, text=True
    )
    assert done.stdout.endswith(f"report: {page}\n"), done.stderr
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert sorted(bare_folder.rglob("*")) == before
    done = subprocess.run([*command[:3], str(tmp_path / "none")], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_the_same_folder_gives_the_same_page(run_folder: Path, dataset: Dataset) -> None:
    first = write_report(run_folder, dataset).read_bytes()
    assert write_report(run_folder, dataset).read_bytes() == first


def test_every_picture_has_a_description_and_every_id_is_unique(page: Page) -> None:
    assert all(image.get("alt") for image in page.every("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "for"):
            assert name not in attributes or attributes[name] in ids


def test_headings_do_not_skip_a_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


# In a browser.


@needs_chromium
def test_the_page_fits_phones_and_wide_screens(page: Page, complete: Path, tmp_path: Path) -> None:
    # A frame has the width it is given, however narrow; a headless window may not.
    source = escape((complete / "report.html").read_text())
    frames = "".join(
        f'<iframe width="{width}" height="800" style="border: 0" srcdoc="{source}"></iframe>'
        for width in (375, 1440)
    )
    measure = """
      onload = () => document.title = [...document.querySelectorAll("iframe")].map(frame => {
        const page = frame.contentDocument.documentElement;
        page.querySelectorAll("details").forEach(part => part.open = true);
        const right = [...page.querySelectorAll("body *")].map(
          part => part.getBoundingClientRect().right);
        return [page.clientWidth, page.scrollWidth, Math.max(...right)].join();
      }).join(" ");"""
    wrapper = tmp_path / "frames.html"
    wrapper.write_text(f"<meta charset=utf-8><script>{measure}</script>{frames}")
    dom = browse(wrapper, tmp_path / "profile", "--dump-dom").stdout
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title is not None
    measured = [[float(number) for number in one.split(",")] for one in title[1].split()]
    assert len(measured) == 2
    for (client, scroll, right), width in zip(measured, (375, 1440), strict=True):
        assert width - 20 <= client <= width
        assert scroll <= client
        assert right <= width


@needs_chromium
def test_the_page_logs_no_error_in_the_browser(page: Page, complete: Path, tmp_path: Path) -> None:
    log = browse(
        complete / "report.html", tmp_path / "profile", "--dump-dom", "--enable-logging=stderr"
    ).stderr
    assert "CONSOLE" not in log
