import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_benchmark_for_a_gpu_runs_on_a_cpu_with_tiny_networks(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--tiny", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("All is right.\n")
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert len({row["method"] for row in found["correctness"]}) == 7
    assert all(row["right"] for row in found["correctness"])
    assert all(row["synchronisations"] == 0 for row in found["launches"])
    assert all(row["steps_per_second"] > 0 for row in found["speed"])
    assert not found["errors"]
    assert found["scored_images"] == 4608
    assert found["scoring_seconds"] > 0


def test_what_fails_loses_nothing_of_what_was_found(tmp_path, monkeypatch, capsys):
    gpu = pytest.importorskip("benchmarks.gpu")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--out", str(tmp_path)])
    for name in ("correctness", "speed", "launches", "scoring", "trainings"):
        monkeypatch.setattr(gpu, name, lambda *_: [])
    monkeypatch.setattr(gpu, "scoring", lambda *_: 1.5)
    monkeypatch.setattr(gpu, "encoding", lambda *_: [][0])
    assert gpu.main() == 1
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["scoring_seconds"] == 1.5
    text = capsys.readouterr().out
    assert "encoded_images_per_second failed: IndexError: list index out of range" in text
    assert "The five scores of 4,608 images: 1.5 s" in text
    assert text.endswith("Something is wrong.\n")


def test_it_says_that_a_gpu_is_missing(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "PyTorch finds no GPU here: give --tiny" in done.stderr
