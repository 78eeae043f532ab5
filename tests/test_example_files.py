"""The examples run as they stand."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


def run(*command: str) -> str:
    answer = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.slow
def test_own_data_is_scored_as_images_and_as_codes_alike():
    output = run("examples/own_data.py")
    scores = [line.split("│")[2].strip() for line in output.splitlines() if "│ mig" in line]
    assert len(scores) == 2
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_a_loop_scores_its_encoder():
    lines = run("examples/score_during_training.py").splitlines()
    assert [line.split(":")[0] for line in lines] == ["step 10", "step 20"]


@pytest.mark.slow
def test_a_callback_of_lightning_scores_its_encoder():
    if importlib.util.find_spec("pytorch_lightning") is None:
        pytest.skip("pytorch-lightning is not installed (requirements-tracking.txt)")
    output = run("examples/score_during_training.py", "--lightning")
    lines = [line for line in output.splitlines() if line.startswith("step")]
    assert [line.split(":")[0] for line in lines] == ["step 10", "step 20"]


@pytest.mark.slow
def test_the_notebooks_cells_run_one_after_the_other():
    cells = json.loads((EXAMPLES / "score_your_model.ipynb").read_text())["cells"]
    program = "\n\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "code")
    assert "dci" in run("-c", program)


def test_each_example_is_run():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {
        "own_data.py",
        "score_during_training.py",
        "score_your_model.ipynb",
    }
