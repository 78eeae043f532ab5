"""The Python API against the command line, for the same model."""

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import evaluator
from evaluator import __main__ as command
from evaluator import in_memory
from submission import datasets
from submission.errors import UserError

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
SMALL_OF = {"mig": ["mig.num_train = 100"], "irs": ["irs.num_train = 100"]}


@pytest.fixture
def dataset(make_dataset):
    return make_dataset()


@pytest.fixture
def encoder(make_encoder):
    return make_encoder()


@pytest.fixture
def told(dataset, encoder, write_torchscript, tmp_path, monkeypatch):
    """What `python -m evaluator` leaves behind, for two seeds."""
    monkeypatch.setattr(datasets, "load", lambda name: dataset)
    output = tmp_path / "told"
    arguments = [str(write_torchscript(encoder)), "--dataset", "spelled", "--repeats", "2"]
    arguments += [part for line in SMALL for part in ("--gin", line)]
    arguments += ["--output", str(output), "--no-report"]
    monkeypatch.setattr(sys, "argv", ["evaluator", *arguments])
    command.main()
    return output


def contents(folder):
    """Of `scores.json` and of each metric's file, but for what differs from run to run."""
    scores = json.loads((folder / "scores.json").read_text())
    for key in ("created", "seconds", "representation_file", "representation_sha256"):
        del scores["provenance"][key]
    # Drawn anew each time; and the warning tells it.
    for key in ("memorisation", "warnings", "unproven"):
        del scores["provenance"][key]
    files = {}
    for path in sorted(folder.glob("metrics/*/results/aggregate/evaluation.json")):
        one = json.loads(path.read_text())
        del one["evaluation_results.elapsed_time"], one["evaluation_results.uuid"]
        files[path.relative_to(folder).as_posix()] = one
    return scores, files


@pytest.mark.parametrize("kind", ["folder", "module", "of tensors", "of arrays"])
def test_the_api_gives_the_command_lines_bits(
    kind, told, dataset, encoder, write_torchscript, tmp_path
):
    def of_arrays(images):
        if not isinstance(images, np.ndarray):
            raise TypeError
        with torch.no_grad():
            return encoder(torch.from_numpy(images)).numpy()

    models = {
        "folder": str(write_torchscript(encoder)),
        "module": encoder,
        "of tensors": lambda images: encoder(images),
        "of arrays": of_arrays,
    }
    found = evaluator.score(models[kind], dataset, repeats=2, gin=SMALL)
    assert found.write(tmp_path / "mine") == tmp_path / "mine" / "scores.json"
    assert contents(tmp_path / "mine") == contents(told)
    written = json.loads((told / "scores.json").read_text())
    assert found.scores == written["scores"]
    assert found.sum == written["sum"]
    assert found.values == written["metrics"]
    assert {name: list(one.scores) for name, one in found.intervals.items()} == {
        name: one["scores"]
        for name, one in written["repeats"].items()
        if name not in ("seeds", "confidence")
    }
    assert found.table().row_count == 6


def test_a_module_is_scored_in_eval_mode_and_handed_back_in_its_own(dataset, encoder):
    model = torch.nn.Sequential(encoder, torch.nn.Dropout(0.5))
    model.train()
    encoder[1].eval()
    modes = [part.training for part in model.modules()]
    found = evaluator.score(model, dataset, metrics=["mig"], gin=SMALL_OF["mig"])
    assert [part.training for part in model.modules()] == modes
    assert (
        found.scores
        == evaluator.score(encoder, dataset, metrics=["mig"], gin=SMALL_OF["mig"]).scores
    )
    assert not found.warnings


def test_a_frozen_module_is_scored_as_it_was(dataset, encoder):
    options = {"metrics": ["mig"], "gin": SMALL_OF["mig"]}
    frozen = torch.jit.freeze(torch.jit.script(encoder.eval()))
    assert (
        evaluator.score(frozen, dataset, **options).scores
        == evaluator.score(encoder, dataset, **options).scores
    )


def test_a_device_for_what_cannot_be_moved_is_refused(dataset):
    with pytest.raises(UserError, match="holds nothing to be moved there"):
        evaluator.score(torch.nn.Flatten(), dataset, metrics=["mig"], device="cuda")


def test_codes_of_truth_values_are_scored_as_the_same_numbers(dataset):
    options = {"metrics": ["mig", "sap_score"], "gin": [*SMALL_OF["mig"], *SMALL[6:8]]}

    def bright(images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(1, 2)) > 0.1

    told = evaluator.score(bright, dataset, layout="NHWC", **options).scores
    assert (
        evaluator.score(
            lambda images: bright(images).astype(float), dataset, layout="NHWC", **options
        ).scores
        == told
    )


def float32_settings() -> list[Any]:
    """As PyTorch's older switches and those of single operators tell them."""
    backends = torch.backends

    def told(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except RuntimeError:
            # What was set by the other kind.
            return None

    return [
        *(backends.cudnn.deterministic, backends.cudnn.benchmark),
        told(lambda: backends.cudnn.allow_tf32),
        told(torch.get_float32_matmul_precision),
        *(backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision),
        *(backends.mkldnn.matmul.fp32_precision, backends.mkldnn.conv.fp32_precision),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "pass",
        "torch.backends.cudnn.benchmark = True",
        "torch.backends.cudnn.allow_tf32 = False",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
    ],
)
def test_a_program_may_have_set_pytorchs_precision_in_any_way(line):
    # In a process of its own: what was set once can't always be set back.
    with multiprocessing.get_context("fork").Pool(1) as pool:
        before, within, after = pool.apply(settings_around, (line,))
    assert within[:4] == [True, False, False, "highest"]
    assert set(within[4:]) == {"ieee"}
    assert after == before


def settings_around(line: str) -> list[list[Any]]:
    exec(line)
    before = float32_settings()
    with in_memory.repeatable_kernels():
        within = float32_settings()
    return [before, within, float32_settings()]


def test_a_module_scores_the_same_within_autocast(dataset, encoder):
    options = {"metrics": ["mig", "irs"], "gin": [*SMALL_OF["mig"], *SMALL_OF["irs"]]}
    expected = evaluator.score(encoder, dataset, **options).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert evaluator.score(encoder, dataset, **options).values == expected
        assert torch.is_autocast_enabled("cpu")


def test_a_module_that_fails_is_handed_back_in_its_own_mode(dataset):
    model = torch.nn.Sequential(torch.nn.Linear(7, 7))
    with pytest.raises(UserError, match="Sequential fails on a batch of 16 images"):
        evaluator.score(model, dataset)
    assert model.training


def test_a_programs_own_models_scores_join_no_others(dataset, encoder, tmp_path):
    for metric in ("mig", "irs"):
        evaluator.score(encoder, dataset, metrics=[metric], gin=SMALL_OF[metric]).write(tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["scores"].keys() == {"irs"}
    assert json.loads((tmp_path / "scores.1.json").read_text())["scores"].keys() == {"mig"}


def test_a_files_scores_join_those_of_the_same_file(dataset, encoder, write_torchscript, tmp_path):
    folder = write_torchscript(encoder)
    for metric in ("mig", "irs"):
        evaluator.score(folder, dataset, metrics=[metric], gin=SMALL_OF[metric]).write(tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text())["scores"].keys() == {"mig", "irs"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["mgi"]}, "did you mean mig"),
        ({"gin": ["dci.num_trian = 3"]}, "did you mean dci.num_train"),
        ({"engine": "quick"}, "unknown 'quick'"),
        ({"preset": "fast"}, "unknown 'fast'"),
        ({"metrics": "mig"}, "must be a list of names"),
        ({"seed": -1}, "a seed is 0 or more"),
        ({"repeats": 2.0}, "whole numbers, not 0 and 2.0"),
        ({"preset": None}, "unknown None"),
        ({"batch_size": "8"}, "batch_size is '8'"),
        ({"seed": 2**32 - 1, "repeats": 2}, "the last one is 4294967295"),
        ({"repeats": 0}, "repeats 1 or more"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_is_read(options, message):
    with pytest.raises(UserError, match=message):
        evaluator.score("nowhere", "nothing", **options)


@pytest.mark.parametrize(
    ("model", "given", "line"),
    [
        (torch.nn.Flatten, "mpi3d_mini", "the class Flatten"),
        (np.zeros((9, 2)), "mpi3d_mini", "model is a ndarray: .*score_codes scores codes"),
        (None, "mpi3d_mini", "model is a NoneType"),
        (len, np.zeros((9, 64, 64, 3)), "dataset is a ndarray: give a name, a path or"),
        (len, Path("no/such.npz"), "there is no /.*no/such.npz"),
    ],
)
def test_what_is_no_model_or_data_set_is_told_by_its_type(model, given, line):
    with pytest.raises(UserError, match=line):
        evaluator.score(model, given)


def test_the_package_is_imported_without_anything_heavy():
    program = (
        "import sys, evaluator; print(sorted({'torch', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


# How a model is called


class Wanting(torch.nn.Module):
    """Wants NHWC images of float64, and returns a dictionary."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        assert images.dtype == torch.float64
        assert images.shape[1:] == (4, 4, 3)
        codes = self.encoder(images.permute(0, 3, 1, 2).float())
        return {"mean": codes, "log-variance": torch.zeros_like(codes)}


WANTED = {"layout": "NHWC", "dtype": "float64", "output": "mean"}


def test_a_module_is_called_as_it_wants(dataset, encoder):
    expected = evaluator.score(encoder, dataset, gin=SMALL).values
    assert evaluator.score(Wanting(encoder), dataset, gin=SMALL, **WANTED).values == expected


def test_a_function_is_called_as_it_wants(dataset, encoder):
    def pair(images):
        assert images.shape[1:] == (4, 4, 3)
        with torch.no_grad():
            codes = encoder(torch.from_numpy(images).permute(0, 3, 1, 2).float())
        return codes.numpy(), None

    expected = evaluator.score(encoder, dataset, gin=SMALL).values
    wanted = {"layout": "NHWC", "dtype": "float64", "output": 0}
    assert evaluator.score(pair, dataset, gin=SMALL, **wanted).values == expected


def test_codes_may_be_bfloat16(dataset, encoder):
    def function(images):
        with torch.no_grad():
            return encoder(torch.as_tensor(images)).bfloat16()

    module = torch.nn.Sequential(encoder)
    module.register_forward_hook(lambda module, inputs, output: output.bfloat16())
    rounded = torch.nn.Sequential(encoder)
    rounded.register_forward_hook(lambda module, inputs, output: output.bfloat16().float())
    options = {"metrics": ["mig"], "gin": SMALL_OF["mig"]}
    expected = evaluator.score(rounded, dataset, **options).values
    for model in (module, function):
        assert evaluator.score(model, dataset, **options).values == expected


@pytest.mark.parametrize(
    ("answer", "output", "line"),
    [
        (
            SimpleNamespace(mean=0),
            "mean",
            "output is 'mean', and the model returns a SimpleNamespace",
        ),
        ((0, 1), 2, "output is 2, and the model returns a tuple of 2"),
        ({"mean": 0}, "mu", r"returns a dict of \['mean'\]"),
        ({"mean": 0}, None, "returns a dict, not numbers .*`output` chooses"),
        (None, None, "returns a NoneType, not numbers"),
    ],
)
def test_an_answer_that_holds_no_codes_is_told_by_its_type(dataset, answer, output, line):
    with pytest.raises(UserError, match=line):
        evaluator.score(lambda images: answer, dataset, output=output)


def test_batches_have_the_size_that_was_asked_for(dataset, encoder):
    sizes = []
    encoder.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    evaluator.score(encoder, dataset, gin=SMALL, batch_size=40)
    # The rest are probes: the reference's batches, single images, and what is left of 256.
    assert set(sizes) <= {40, 64, 16, 8, 1}
    assert sizes.count(40) >= len(dataset.images) // 40


def test_no_batch_is_larger_than_the_data_set(dataset, encoder):
    sizes = []
    encoder.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    evaluator.score(encoder, dataset, metrics=["mig"], gin=SMALL_OF["mig"], batch_size=10**9)
    assert max(sizes) == max(len(dataset.images), 64)


def test_a_bar_is_shown_only_where_it_is_asked_for(dataset, encoder, capsys):
    evaluator.score(encoder, dataset, metrics=["mig"], gin=["mig.num_train = 100"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"layout": "CHW"}, "NCHW or NHWC"),
        ({"dtype": "float"}, "float64, by name"),
        ({"output": "mu"}, "returns a Tensor"),
        ({"batch_size": 0}, "1 or more"),
        ({"device": "cuda:9"}, "device is 'cuda:9'"),
    ],
)
def test_a_wish_that_can_not_be_is_one_line(dataset, encoder, given, line):
    with pytest.raises(UserError, match=line) as caught:
        evaluator.score(encoder, dataset, gin=SMALL, **given)
    assert "\n" not in str(caught.value)


def test_a_file_is_called_as_it_says_itself(dataset, encoder, write_torchscript):
    with pytest.raises(UserError, match="a file says itself"):
        evaluator.score(write_torchscript(encoder), dataset, layout="NHWC")


# Other libraries, by the lines that docs/scoring.md shows


@pytest.fixture
def weights():
    """Of a linear encoder of NHWC images [n, 4, 4, 3]."""
    return np.random.RandomState(0).standard_normal((48, 5)).astype(np.float32)


def scored_by_the_documents(library, dataset, **names):
    """The scores of the line that shows a library, on a data set in place of mpi3d_mini."""
    text = (ROOT / "docs" / "scoring.md").read_text()
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith("evaluator.score(lambda") and library in line
    ]
    line = line.replace('"mpi3d_mini"', "dataset, gin=SMALL")
    return eval(line, {"evaluator": evaluator, "dataset": dataset, "SMALL": SMALL, **names}).scores


def scored_by_numpy(dataset, weights):
    def encode(images):
        return images.reshape(-1, 48) @ weights

    return evaluator.score(encode, dataset, gin=SMALL, layout="NHWC").scores


def test_a_session_of_onnxruntime_is_scored(dataset, weights, tmp_path, monkeypatch):
    import onnxruntime

    layers = torch.nn.Flatten(), torch.nn.Linear(48, 5, bias=False)
    of_channels_first = weights.reshape(4, 4, 3, 5).transpose(2, 0, 1, 3).reshape(48, 5)
    layers[1].weight.data = torch.tensor(of_channels_first.T)
    monkeypatch.chdir(tmp_path)
    torch.onnx.export(
        torch.nn.Sequential(*layers),
        (torch.zeros(2, 3, 4, 4),),
        "model.onnx",
        input_names=["images"],
        dynamic_axes={"images": {0: "n"}},
        dynamo=False,
    )
    given = scored_by_the_documents(
        "session.run", dataset, session=onnxruntime.InferenceSession("model.onnx")
    )
    assert given == pytest.approx(scored_by_numpy(dataset, weights), abs=1e-3)


@pytest.mark.slow
def test_a_model_of_keras_is_scored(dataset, weights):
    import keras

    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(5, use_bias=False)])
    model.build((None, 4, 4, 3))
    model.set_weights([weights])
    given = scored_by_the_documents("keras_model", dataset, keras_model=model)
    assert given == pytest.approx(scored_by_numpy(dataset, weights), abs=1e-3)
