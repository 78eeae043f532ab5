"""The audit as a whole: what is scored, what goes on, and what a mistake is told."""

import argparse
import json
import multiprocessing
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluator.metrics import registry
from evaluator.metrics.mig import MIG
from study.audit import auditing, cases, page, running
from study.audit.cases import UDR, Audit, groups
from submission.datasets import Dataset
from submission.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def audit_of(*metrics: str) -> Audit:
    """A quick audit on a small grid of noise."""
    images = np.random.RandomState(0).randint(0, 256, (120, 64, 64, 3)).astype(np.uint8)
    audit = Audit("small", "quick", metrics)
    names = ("one", "two", "three", "four")
    audit.__dict__["images"] = Dataset("small", images, names, (2, 3, 4, 5), (0, 1, 2, 3))
    return audit


def test_a_case_is_a_file_and_is_not_scored_again(tmp_path):
    audit = audit_of("mig", UDR)
    running._score_group(audit, tmp_path, "rotated")
    files = sorted(tmp_path.glob("*/*.json"))
    assert [path.name for path in files] == [
        "45-0.json",
        "45-1.json",
        "45-2.json",
        "5-0.json",
        "5-1.json",
        "5-2.json",
    ]
    assert set(json.loads(files[0].read_text())["scores"]) == {"mig", UDR}
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    running._score_group(audit, tmp_path, "rotated")
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in files] == before


def test_what_is_missing_damaged_or_of_another_audit_is_scored_to_the_same_bytes(tmp_path):
    audit = audit_of("mig")
    running._score_group(audit, tmp_path, "noisy")
    files = sorted(tmp_path.glob("*/*.json"))
    before = [path.read_bytes() for path in files]
    files[0].unlink()
    files[1].write_text("{")
    files[2].write_text(json.dumps({"audit": "another", "scores": {"mig": 0.5}}))
    running._score_group(audit, tmp_path, "noisy")
    assert [path.read_bytes() for path in files] == before


def test_scores_depend_on_the_metrics_asked_for_and_on_the_preset():
    audit = audit_of("mig")
    other = audit_of("sap_score")
    assert audit.identity == audit_of("mig").identity != other.identity


def test_a_comment_makes_no_score_stale_and_a_number_does(tmp_path):
    texts = ('"""One."""\nx = 1  # here\n', '"""Another."""\nx = 1\n', '"""One."""\nx = 2\n')
    said = []
    for text in texts:
        (tmp_path / "code.py").write_text(text)
        said.append(cases._said_by(tmp_path / "code.py"))
    assert said[0] == said[1] != said[2]


def test_a_setting_is_scored_by_those_that_read_it_alone(tmp_path):
    audit = audit_of("mig", "sap_score", UDR)
    running._score_group(audit, tmp_path, "bins")
    scores = running.read(audit, tmp_path)
    assert set(scores["metric"]) == {"mig"} and set(scores["dial"]) == {2, 200}


def test_ones_own_metric_is_audited_with_the_rest(tmp_path, monkeypatch):
    def first_latent(codes, seed, **settings):
        return {"own": float(codes[np.arange(120)][:, 0].std())}

    own = replace(MIG, name="own", part_of="mig", score="own", compute=first_latent)
    monkeypatch.setitem(registry.ALL_METRICS, "own", own)
    running._score_group(audit := audit_of("own"), tmp_path, "scaled")
    scores = running.read(audit, tmp_path).set_index(["dial", "seed"])["score"]
    assert scores[1e4, 0] == pytest.approx(1e4, rel=1e-6)


def test_a_metric_without_a_number_leaves_a_gap(tmp_path, monkeypatch):
    nothing = replace(
        MIG, name="own", part_of="mig", score="own", compute=lambda *_, **__: {"own": np.nan}
    )
    monkeypatch.setitem(registry.ALL_METRICS, "own", nothing)
    running._score_group(audit := audit_of("own"), tmp_path, "constant")
    assert running.read(audit, tmp_path)["score"].isna().all()


def test_quick_scores_the_ends_of_a_dial_and_no_more_samples_than_it_has_time_for():
    audit = audit_of("mig")
    dials = {
        group: [case.dial for case in audit.cases(group) if case.seed == 0] for group in groups()
    }
    assert dials["rotated"] == [5, 45] and dials["samples"] == [100, 10_000]
    assert dials["untrained"] == [2, 10]


@pytest.mark.slow
def test_the_page_is_the_same_bytes_again_and_every_claim_leads_to_a_picture(tmp_path):
    audit = audit_of("mig", "irs", "sap_score", UDR)
    for group in groups():
        running._score_group(audit, tmp_path / "scores", group)
    path = page.write(audit, tmp_path)
    first = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    page.write(audit, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == first
    text = path.read_text()
    ids = set(part.split('"')[0] for part in text.split(' id="')[1:])
    assert {part.split('"')[0] for part in text.split('href="#')[1:]} <= ids
    assert "http" not in text.replace("http-equiv", "")


def test_a_process_that_dies_between_two_looks_leaves_no_page_of_half_the_scores(
    tmp_path, monkeypatch
):
    for name in running._ONE_THREAD:
        monkeypatch.setenv(name, "1")

    def kill(_):
        for process in multiprocessing.active_children():
            process.kill()
            process.join()

    with pytest.raises(running.Failed):
        running.run(audit_of("mig"), tmp_path, 1, kill)


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ({}, "own tells no factors of its images, so there is nothing to score by"),
        (
            {"factors": np.array([[0, 0], [0, 1], [1, 0]])},
            "own doesn't have every combination of its factors once, which an audit needs",
        ),
    ],
)
def test_ones_own_images_that_are_no_grid_cannot_be_audited(tmp_path, factors, told):
    images = np.random.RandomState(0).randint(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    np.savez(tmp_path / "own.npz", images=images, **factors)
    auditing.add_arguments(parser := argparse.ArgumentParser())
    output = ("--output", str(tmp_path / "new"))
    arguments = parser.parse_args(["--dataset", str(tmp_path / "own.npz"), *output])
    with pytest.raises(UserError) as error:
        auditing.audit(arguments)
    assert str(error.value) == told and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--preset", "quik"), "unknown preset 'quik': did you mean quick?"),
        (("--metrics", "mgi"), "unknown metric 'mgi': did you mean mig?"),
        (("--dataset", "mpi3d_min"), "mpi3d_mini"),
        (("--table1", "README.md"), "README.md is no table1.csv of `python -m study report`"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path, arguments, told):
    result = subprocess.run(
        [sys.executable, "-m", "study", "audit", "--output", str(tmp_path / "new"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert told in result.stderr and not (tmp_path / "new").exists()
