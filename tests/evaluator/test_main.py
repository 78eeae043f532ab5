import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dill
import pytest
import torch

from evaluator.compat import load_tensorflow

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "dci.num_train = 100",
    "dci.num_test = 50",
    "factor_vae_score.num_variance_estimate = 200",
    "factor_vae_score.num_train = 20",
    "factor_vae_score.num_eval = 10",
    "sap_score.num_train = 200",
    "sap_score.num_test = 100",
    "mig.num_train = 200",
    "irs.num_train = 200",
]


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evaluator", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)


def bindings(lines: list[str]) -> list[str]:
    return [part for line in lines for part in ("--gin", line)]


def assert_refused(answer: subprocess.CompletedProcess[str], *fragments: str) -> None:
    assert answer.returncode == 2, answer.stderr
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for fragment in fragments:
        assert fragment in lines[0]


@pytest.fixture
def folder(write_torchscript, make_encoder):
    return write_torchscript(make_encoder(side=64))


# Mistakes that need no data set: each is told before anything heavy is imported


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--metrics", "mgi"], "did you mean mig?"),
        (["--metrics", "irs,mgi", "dci"], "did you mean mig?"),
        (["--metrics", "irs, mgi"], "did you mean mig?"),
        (["--dataset", "mpi3d_mini", "--output", "README.md"], "README.md is a file"),
        (["--dataset", "mpi3d_mini", "--output", "/proc/scores"], "/proc/scores can't be written"),
        (["--gin", "dci.num_trian = 3"], "did you mean dci.num_train?"),
        (["--preset", "quik"], "'quick', 'challenge', 'paper'"),
        (["--seed", "-1"], "between 0 and"),
        (["--repeats", "0"], "between 1 and"),
        (["--seed", "4294967295", "--repeats", "2"], "the last one is 4294967295"),
        (["--engine", "slow"], "reference"),
        ([], "--dataset is missing"),
        (["--dataset", "mpi3d_tiny"], "mpi3d_"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(folder, arguments, fragment):
    assert_refused(evaluate(folder, *arguments), fragment)


def test_metrics_may_stand_before_the_folder(folder):
    assert_refused(evaluate("--seed", 1, "--metrics", "mig", "irs", folder), "--dataset is missing")
    assert_refused(evaluate("--metrics", "mig,irs", folder), "--dataset is missing")
    assert_refused(evaluate("--metrics", "mig", "nowhere"), "REPRESENTATION_DIR")


@pytest.mark.parametrize("part", [".", "representation", "representation/pytorch_model.pt"])
def test_the_run_that_a_path_belongs_to_tells_the_data_set(folder, part):
    (folder.parent / "training").mkdir()
    (folder.parent / "training" / "run.json").write_text('{"dataset": "of_this_run"}')
    assert_refused(evaluate(folder.parent / part), "of_this_run")


def test_a_state_dict_is_told_in_one_line_before_anything_is_read(folder, make_encoder):
    torch.save(make_encoder().state_dict(), folder / "pytorch_model.pt")
    assert_refused(evaluate(folder), "holds a state_dict ('0.weight', ")


def test_a_missing_folder_is_told_in_one_line(tmp_path):
    assert_refused(evaluate(tmp_path / "nowhere"), "no representation folder")


def test_a_pickle_is_refused_without_the_flag(tmp_path):
    (tmp_path / "python_model.dill").write_bytes(dill.dumps(lambda batch: batch))
    assert_refused(evaluate(tmp_path, "--dataset", "mpi3d_mini"), "--allow-pickle")


def test_a_damaged_record_of_the_training_is_told(folder):
    (folder.parent / "training").mkdir()
    (folder.parent / "training" / "run.json").write_text("{")
    assert_refused(evaluate(folder), "run.json can't be read")


def test_help_shows_examples_without_heavy_imports():
    program = (
        "import sys; sys.argv = ['evaluator', '--help']\n"
        "import atexit; atexit.register(lambda: print(sorted(\n"
        "    {'torch', 'tensorflow', 'sklearn'} & set(sys.modules))))\n"
        "import runpy; runpy.run_module('evaluator', run_name='__main__')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "examples:" in answer.stdout
    assert answer.stdout.strip().endswith("[]")


# Whole evaluations, on mpi3d_mini


def write_hub_module(folder: Path) -> None:
    """As the starter kit's TensorFlow example: a signature of its own, and others beside it."""
    tensorflow = load_tensorflow()
    module = tensorflow.Module()
    images = tensorflow.TensorSpec([None, 64, 64, 3], tensorflow.float32, "images")

    @tensorflow.function(input_signature=[images])
    def represent(images):
        return {"default": tensorflow.reduce_mean(images, axis=[1])[:, ::16, 0]}

    tensorflow.saved_model.save(
        module, str(folder / "tfhub"), signatures={"representation": represent}
    )


def write_torchscript_module(folder: Path) -> None:
    class Means(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0].mean(1)[:, ::16]

    torch.jit.script(Means()).save(str(folder / "pytorch_model.pt"))


def write_dilled_function(folder: Path) -> None:
    """As the starter kit's numpy example: of a script's `__main__`, whose `np` stays behind."""
    script = (
        "import sys, dill, numpy as np\n"
        "def hack(x):\n"
        "    means = [x[:, 0, :, column].mean(-1) for column in range(0, 64, 16)]\n"
        "    return np.stack(means, axis=-1)\n"
        "dill.dump(hack, open(sys.argv[1], 'wb'), protocol=dill.HIGHEST_PROTOCOL)\n"
    )
    subprocess.run([sys.executable, "-c", script, folder / "python_model.dill"], check=True)


@pytest.mark.slow
def test_the_starter_kits_three_kinds_of_example_score_the_same(tmp_path, on_mini):
    found = []
    for write in (write_hub_module, write_torchscript_module, write_dilled_function):
        folder = tmp_path / write.__name__
        folder.mkdir()
        write(folder)
        options = ("--dataset", "mpi3d_mini", "--allow-pickle", "--no-report", *bindings(SMALL))
        answer = evaluate(folder, *options)
        assert answer.returncode == 0, answer.stderr
        found.append(json.loads((folder / "scores.json").read_text())["scores"])
    assert len(found[0]) == 5
    # The same function, but for the rounding of its sums.
    assert found[1] == pytest.approx(found[0], abs=0.03)
    assert found[2] == pytest.approx(found[0], abs=0.03)


@pytest.mark.slow
def test_a_metric_scored_later_joins_the_others_and_another_models_goes_aside(
    folder, make_encoder, on_mini
):
    options = ("--dataset", "mpi3d_mini", "--no-report", "--metrics")
    settings = bindings(SMALL[-2:-1]), bindings(SMALL[-1:])
    path = folder.parent / "scores.json"
    for metric, given in zip(("mig", "irs"), settings, strict=True):
        answer = evaluate(folder, *options, metric, *given)
        assert answer.returncode == 0, answer.stderr
    assert json.loads(path.read_text())["scores"].keys() == {"mig", "irs"}
    torch.jit.script(make_encoder(side=64, latents=3)).save(str(folder / "pytorch_model.pt"))
    answer = evaluate(folder, *options, "irs", *settings[1])
    assert "held other scores, which are in scores.1.json now" in answer.stdout
    assert json.loads(path.read_text())["scores"].keys() == {"irs"}
    aside = json.loads((folder.parent / "scores.1.json").read_text())
    assert aside["scores"].keys() == {"mig", "irs"}
    assert {one.name for one in (folder.parent / "metrics").iterdir()} == {"irs"}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """mpi3d_mini, rendered once for this file (354 MB) and removed."""
    path = tmp_path_factory.mktemp("data")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def on_mini(data_root, monkeypatch):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(data_root))


@pytest.mark.slow
def test_two_processes_write_the_same(folder, tmp_path, on_mini):
    training = folder.parent / "training"
    training.mkdir()
    (training / "run.json").write_text(json.dumps({"dataset": "mpi3d_mini", "preset": "quick"}))
    written = []
    for output in (tmp_path / "one", tmp_path / "two"):
        answer = evaluate(folder, "--output", output, "--no-report", *bindings(SMALL))
        assert answer.returncode == 0, answer.stderr
        scores = json.loads((output / "scores.json").read_text())
        # A commit between the two runs is no difference, and the noise of the probe is drawn anew.
        for key in ("created", "seconds", "git_revision", "memorisation"):
            del scores["provenance"][key]
        metrics = {}
        for path in sorted(output.glob("metrics/*/results/aggregate/evaluation.json")):
            metric = json.loads(path.read_text())
            for key in ("elapsed_time", "uuid"):
                del metric[f"evaluation_results.{key}"]
            metrics[path.parents[2].name] = metric
        written.append((scores, metrics))
    assert written[0] == written[1]
    scores, metrics = written[0]
    assert metrics.keys() == scores["scores"].keys()
    assert len(metrics) == 5
    assert scores["provenance"]["preset"] == "challenge"
    assert scores["provenance"]["engine"] == "fast"

    # A metric by itself, on the same seed, gives the same score.
    answer = evaluate(
        folder,
        "--metrics",
        "irs",
        "--output",
        tmp_path / "irs",
        "--no-report",
        *bindings(SMALL[-1:]),
    )
    assert answer.returncode == 0, answer.stderr
    alone = json.loads((tmp_path / "irs" / "scores.json").read_text())
    assert alone["scores"] == {"irs": scores["scores"]["irs"]}


@pytest.mark.slow
def test_the_scores_go_beside_the_representation_and_the_report_too(folder, on_mini):
    answer = evaluate(
        folder, "--dataset", "mpi3d_mini", "--metrics", "mig", *bindings(SMALL[-2:-1])
    )
    assert answer.returncode == 0, answer.stderr
    assert {"scores.json", "report.html", "metrics"} <= {
        path.name for path in folder.parent.iterdir()
    }
    assert "num_train 200" in answer.stdout


@pytest.mark.slow
def test_both_engines_give_the_same_scores(folder, tmp_path, on_mini):
    found = {}
    for engine in ("fast", "reference"):
        answer = evaluate(
            *(folder, "--dataset", "mpi3d_mini", "--engine", engine, "--output", tmp_path / engine),
            *("--no-report", *bindings(SMALL)),
        )
        assert answer.returncode == 0, answer.stderr
        written = json.loads((tmp_path / engine / "scores.json").read_text())
        assert written["provenance"]["engine"] == engine
        found[engine] = written["scores"]
    # The codes of the two differ by rounding, and so do the scores; DCI's ties fall otherwise.
    assert found["fast"] == pytest.approx(found["reference"], abs=0.02)
    assert "exact Newton" in (tmp_path / "fast" / "scores.json").read_text()


@pytest.mark.slow
def test_a_sampled_posterior_is_scored_by_the_reference(write_torchscript, tmp_path, on_mini):
    class Sampled(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            mean = images.mean((2, 3))
            return mean + torch.randn_like(mean)

    answer = evaluate(
        *(write_torchscript(Sampled()), "--dataset", "mpi3d_mini", "--metrics", "mig"),
        *("--output", tmp_path / "sampled", "--no-report", *bindings(SMALL[-2:-1])),
    )
    assert answer.returncode == 0, answer.stderr
    assert "warning: the same images gave other codes the second time" in answer.stdout
    provenance = json.loads((tmp_path / "sampled" / "scores.json").read_text())["provenance"]
    assert provenance["engine"] == "reference"
    assert "engine" in provenance["warnings"]


@pytest.mark.slow
def test_a_representation_of_nan_is_told_in_one_line(write_torchscript, on_mini):
    class Nan(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) * float("nan")

    answer = evaluate(write_torchscript(Nan()), "--dataset", "mpi3d_mini", "--no-report")
    assert_refused(answer, "not finite")


@pytest.mark.slow
def test_repeats_add_an_interval_and_leave_the_score(folder, tmp_path, on_mini):
    chosen = ("--metrics", "mig", "dci", "dci_completeness", *bindings([*SMALL[:2], SMALL[-2]]))
    written = {}
    for repeats in (1, 3):
        output = tmp_path / str(repeats)
        answer = evaluate(
            *(folder, "--dataset", "mpi3d_mini", "--no-report", "--output", output),
            *("--repeats", repeats, *chosen),
        )
        assert answer.returncode == 0, answer.stderr
        written[repeats] = json.loads((output / "scores.json").read_text())
    assert "repeats" not in written[1]
    assert written[3]["scores"] == written[1]["scores"]
    assert written[3]["sum"] == written[1]["sum"]
    repeats = written[3]["repeats"]
    assert repeats["seeds"] == [0, 1, 2]
    for name, score in written[3]["scores"].items():
        assert repeats[name]["scores"][0] == score
        assert len(set(repeats[name]["scores"])) == 3
    assert "3 seeds, 95%" in answer.stdout
    completeness = written[3]["metrics"]["dci"]["completeness"]
    assert written[3]["scores"]["dci_completeness"] == completeness


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_a_signal_leaves_the_scores_of_the_metrics_that_are_finished(folder, tmp_path, number):
    command = [
        *(sys.executable, "-u", "-m", "evaluator", str(folder), "--dataset", "mpi3d_mini"),
        *("--metrics", "dci", "factor_vae_metric", "--output", str(tmp_path / "out")),
        *bindings([*SMALL[:2], "factor_vae_score.num_train = 10000000"]),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("factor_vae_metric: "):
            assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == f"interrupted by {number.name}"
    assert "Traceback" not in errors
    written = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(written["scores"]) == ["dci"]
