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
    assert all(row["synchronisations"] == 0 for row in found["speed"])
    assert found["scored_images"] == 4608
    assert found["scoring_seconds"] > 0


def test_it_says_that_a_gpu_is_missing(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "PyTorch finds no GPU here: give --tiny" in done.stderr
