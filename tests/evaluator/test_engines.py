import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluator import engines
from evaluator.metrics import METRICS, reference
from tests.evaluator.reading import prepare, read_representation

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "dci.num_train = 60",
    "dci.num_test = 30",
    "factor_vae_score.num_variance_estimate = 100",
    "factor_vae_score.num_train = 20",
    "factor_vae_score.num_eval = 10",
    "sap_score.num_train = 100",
    "sap_score.num_test = 50",
    "mig.num_train = 100",
    "irs.num_train = 100",
]


@pytest.fixture
def representation(ground_truth, write_torchscript, make_encoder):
    return read_representation(write_torchscript(make_encoder()), ground_truth)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_both_engines_give_the_same_keys_and_record_the_same_configuration(
    ground_truth, representation, metric
):
    fast, reference = (
        prepare(engine, ground_truth, representation).score(metric, 0, "challenge", SMALL)
        for engine in engines.ENGINES
    )
    assert fast.values.keys() == reference.values.keys()
    assert [type(value) for value in fast.values.values()] == [
        type(value) for value in reference.values.values()
    ]
    recorded = [line for line in reference.gin_config.splitlines() if " = " in line]
    assert fast.gin_config.splitlines() == sorted(recorded)


def test_the_codes_are_kept_from_one_metric_to_the_next(ground_truth, representation):
    encoded = []
    watched = representation.counted(encoded.append)
    score = prepare("fast", ground_truth, watched).score
    for _ in range(2):
        encoded.clear()
        for metric in METRICS.values():
            score(metric, 0, "challenge", SMALL)
    assert not encoded


def test_a_sampled_posterior_is_scored_by_the_reference_with_a_warning(
    ground_truth, write_torchscript
):
    class Sampled(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            mean = images.mean((2, 3))
            return mean + torch.randn_like(mean)

    sampled = read_representation(write_torchscript(Sampled()), ground_truth)
    ready = prepare("fast", ground_truth, sampled)
    assert ready.engine == "reference"
    assert "second time" in ready.warnings[0]
    assert "second time" in ready.unproven
    expected = reference.run(METRICS["mig"], ground_truth, sampled, 0, "challenge", SMALL)
    assert (
        ready.score(METRICS["mig"], 0, "challenge", SMALL).values.keys() == expected.values.keys()
    )


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_what_a_representation_warns_of_is_passed_on(ground_truth, write_torchscript, engine):
    layers = torch.nn.Flatten(), torch.nn.BatchNorm1d(48)
    normalising = read_representation(write_torchscript(torch.nn.Sequential(*layers)), ground_truth)
    assert "call eval()" in prepare(engine, ground_truth, normalising).warnings[0]


def test_the_fast_engine_imports_neither_tensorflow_nor_disentanglement_lib(
    write_torchscript, make_encoder
):
    folder = write_torchscript(make_encoder())
    program = f"""
import sys
from pathlib import Path
import numpy as np
from evaluator import metrics
from evaluator.ground_truth import GroundTruth
from submission.datasets import Dataset
from tests.evaluator.reading import prepare, read_representation
images = np.random.RandomState(0).randint(0, 256, (120, 4, 4, 3)).astype(np.uint8)
truth = GroundTruth(Dataset("noise", images, tuple("abcd"), (2, 3, 4, 5), (0, 1, 2, 3)))
representation = read_representation(Path({str(folder)!r}), truth)
score = prepare("fast", truth, representation).score
for metric in metrics.METRICS.values():
    score(metric, 0, "challenge", {SMALL!r})
print(sorted({{"tensorflow", "disentanglement_lib", "sklearn"}} & set(sys.modules)))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_a_seed_gives_the_same_scores_twice_and_another_seed_others(ground_truth, representation):
    def scores(seed):
        score = prepare("fast", ground_truth, representation).score
        return {name: score(one, seed, "challenge", SMALL).values for name, one in METRICS.items()}

    np.random.seed(3)
    assert scores(0) == scores(0)
    assert scores(0) != scores(1)
