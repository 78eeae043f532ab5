"""The wheel in an environment that holds what it asks for and no more, as a stranger has it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from submission import installation
from submission.environment import Environment

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
EXTRAS = PROJECT["optional-dependencies"]


def everything(requirements: Iterable[str]) -> set[str]:
    """The distributions that pip would install for these."""
    found: set[str] = set()
    waiting = [(Requirement(one), "") for one in requirements]
    while waiting:
        one, of_extra = waiting.pop()
        name = canonicalize_name(one.name)
        if one.marker is not None and not one.marker.evaluate({"extra": of_extra}):
            continue
        if name not in found or one.extras:
            found.add(name)
            needed = [Requirement(line) for line in metadata.requires(name) or []]
            waiting += [(other, extra) for other in needed for extra in ("", *one.extras)]
    return found


def link(distribution: str, site: Path) -> None:
    """Puts what this Python has of a distribution into another one's site-packages."""
    here = metadata.distribution(distribution)
    for top in {file.parts[0] for file in here.files or []} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(str(here.locate_file(top)))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution, and the wheel that is built of it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run([*build, "--target", "sdist"], cwd=ROOT, check=True)
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as file:
        file.extractall(folder, filter="data")
    subprocess.run(
        [*build, "--target", "wheel"], cwd=packed.with_suffix("").with_suffix(""), check=True
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def make_environment(built, tmp_path_factory):
    def make(*more):
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, with_pip=False)
        python = folder / "bin" / "python"
        installing = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([sys.executable, "-m", "pip", *installing, str(built)], check=True)
        (site,) = folder.glob("lib/*/site-packages")
        for distribution in everything([*PROJECT["dependencies"], *more]):
            link(distribution, site)
        return folder / "bin"

    return make


@pytest.fixture(scope="module")
def bare(make_environment):
    """The commands of an environment with no more than numpy and the like."""
    return make_environment()


def other_python(version):
    """Another Python of this machine that can make environments: pyenv's, or that on the path."""
    kept = sorted(map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")))
    for python in [*kept, shutil.which(f"python{version}")]:
        works = [python, "-c", "import ensurepip, venv"]
        if python is not None and subprocess.run(works, capture_output=True).returncode == 0:
            return python
    pytest.skip(f"there is no Python {version} here")


def locked(distributions):
    """What requirements.txt pins of some distributions."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text())
    return "\n".join(
        one for one in entries if canonicalize_name(one.split("==")[0]) in distributions
    )


@pytest.fixture(scope="module", params=["this Python", "3.12", "3.13"])
def of_any_python(request, built, tmp_path_factory):
    """The same for each Python that the wheel says it is for, where that is here."""
    if request.param == "this Python":
        return request.getfixturevalue("bare")
    folder = tmp_path_factory.mktemp(f"python{request.param}")
    subprocess.run([other_python(request.param), "-m", "venv", folder / "new"], check=True)
    install = [folder / "new" / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    pinned = folder / "pinned.txt"
    pinned.write_text(locked(everything(PROJECT["dependencies"])))
    needed = [*install, "--require-hashes", "--only-binary", ":all:", "--requirement", pinned]
    told = subprocess.run(needed, capture_output=True, text=True)
    if re.search("connection|timed? ?out|name resolution|max retries", told.stderr, re.IGNORECASE):
        pytest.skip(f"no registry is reached: {told.stderr}")
    assert told.returncode == 0, told.stderr
    subprocess.run([*install, "--no-index", built], check=True)
    return folder / "new" / "bin"


def run(*command, folder, **variables):
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    environment["DISENTANGLEMENT_LIB_DATA"] = str(Environment.read().data_root.absolute())
    return subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_extra_brings_what_a_line_says_it_does():
    for module, extra in installation._EXTRAS.items():
        assert canonicalize_name(module) in {
            canonicalize_name(Requirement(one).name) for one in EXTRAS[extra]
        }


def test_uv_installs_a_checkout_for_the_python_that_it_is_asked_for():
    # `uv pip install .` heeds what stands here: those of the locks would have it take wheels for
    # another Python, and PyTorch without CUDA's libraries.
    assert "uv" not in SETTINGS["tool"]


def test_the_documents_list_the_extras():
    text = (ROOT / "docs" / "scoring.md").read_text()
    section = text.split("\n## Installed\n")[1].split("\n## ")[0]
    listed = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted(EXTRAS)


@pytest.mark.slow
def test_the_wheel_holds_three_packages_and_the_settings(built):
    with zipfile.ZipFile(built) as file:
        names = file.namelist()
    ours = [name for name in names if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in ours} == {"evaluator", "study", "submission"}
    inside = {name.removeprefix("submission/") for name in ours if name.endswith(".gin")}
    assert inside == {path.relative_to(ROOT).as_posix() for path in ROOT.glob("gin/**/*.gin")}


@pytest.mark.slow
@pytest.mark.timeout(900)  # numba compiles anew, and mpi3d_mini may not be there yet
def test_a_module_is_scored_to_the_command_lines_bits(make_environment, tmp_path):
    commands = make_environment("torch")
    answer = run(commands / "python", "-c", TEN_LINES, folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    scores, revision, loaded = answer.stdout.splitlines()
    assert (revision, loaded) == (f"version {installation.VERSION}", "[]")
    arguments = (tmp_path, "--dataset", "mpi3d_mini")
    for command in ((sys.executable, "-m", "evaluator"), (commands / "disentanglement-score",)):
        told = run(*command, *arguments, folder=ROOT if len(command) > 1 else tmp_path)
        assert told.returncode == 0, told.stderr
        assert json.loads((tmp_path / "scores.json").read_text())["scores"] == json.loads(scores)


TEN_LINES = """
import json, sys, torch, evaluator
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 4, stride=4), torch.nn.ReLU(),
    torch.nn.Flatten(), torch.nn.Linear(2048, 6),
)
evaluation = evaluator.score(model, "mpi3d_mini")
print(json.dumps(evaluation.scores))
print(evaluation.origin["git_revision"])
print([name for name in ("tensorflow", "sklearn", "disentanglement_lib") if name in sys.modules])
torch.jit.save(torch.jit.script(model.eval()), "pytorch_model.pt")
"""


@pytest.mark.slow
def test_the_package_is_imported_in_less_than_a_second(bare, tmp_path):
    program = (
        "import sys, time; start = time.perf_counter(); import evaluator; "
        "print(time.perf_counter() - start < 1, 'numpy' in sys.modules, evaluator.__version__)"
    )
    answer = run(bare / "python", "-c", program, folder=tmp_path)
    assert answer.stdout == f"True False {installation.VERSION}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--engine", "reference"],
            "the reference engine needs disentanglement_lib, which {python} lacks: "
            'pip install "disentanglement-challenge[reference]"',
        ),
        (
            ["--metrics", "mig", "beta_vae"],
            "beta_vae needs disentanglement_lib, which {python} lacks: "
            'pip install "disentanglement-challenge[reference]"',
        ),
    ],
)
def test_what_is_missing_is_one_line_that_says_how_to_get_it(bare, arguments, line, tmp_path):
    command = (bare / "disentanglement-score", "theirs", "--dataset", "mpi3d_mini", *arguments)
    answer = run(*command, folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == f"error: {line.format(python=bare / 'python')}\n"


@pytest.mark.slow
def test_a_missing_package_is_told_by_the_name_that_pip_knows(bare, tmp_path):
    answer = run(bare / "python", "-m", "evaluator.udr", "one", "other", folder=tmp_path)
    assert answer.returncode == 2
    line = f"error: UDR needs sklearn, which {bare / 'python'} lacks: pip install scikit-learn\n"
    assert answer.stderr == line


@pytest.mark.slow
def test_a_function_of_arrays_is_scored_without_pytorch(bare, tmp_path):
    program = (
        "import evaluator, importlib.util\n"
        "def colours(images): return images.mean(axis=(2, 3))\n"
        "print(importlib.util.find_spec('torch'))\n"
        "print(*evaluator.score(colours, 'mpi3d_mini', metrics=['mig', 'irs']).scores)"
    )
    answer = run(bare / "python", "-c", program, folder=tmp_path)
    assert answer.stdout == "None\nmig irs\n", answer.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)  # another Python's packages are installed, and numba compiles anew
def test_given_codes_are_scored_and_compared_by_each_python(of_any_python, tmp_path):
    answer = run(of_any_python / "python", "-c", TWO_RUNS, folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    here = run(sys.executable, "-c", TWO_RUNS, folder=tmp_path, PYTHONPATH=str(ROOT))
    assert json.loads(answer.stdout) == pytest.approx(json.loads(here.stdout), abs=1e-6)
    told = run(
        *(of_any_python / "disentanglement-score", "--codes", "codes.npy"),
        *("--factors", "factors.npy", "--preset", "quick", "--output", "low"),
        folder=tmp_path,
    )
    assert told.returncode == 0, told.stderr
    told = run(of_any_python / "disentanglement-compare", "low", "high", "--csv", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    assert [line.split(",")[0] for line in told.stdout.splitlines()] == ["run", "high", "low"]


TWO_RUNS = """
import json, evaluator, numpy as np
factors = np.stack(np.unravel_index(np.arange(120), (4, 5, 6)), axis=1)
noise = np.random.RandomState(0).standard_normal((120, 3))
evaluation = evaluator.score_codes(factors + 0.1 * noise, factors, preset="quick")
evaluation.write("high")
np.save("codes.npy", noise)
np.save("factors.npy", factors)
print(json.dumps(evaluation.scores))
"""


@pytest.mark.slow
def test_a_model_whose_library_is_missing_is_told_which(bare, tmp_path):
    module = torch.jit.trace(torch.nn.Flatten(), torch.zeros(2, 3, 64, 64))
    torch.jit.save(module, str(tmp_path / "pytorch_model.pt"))
    command = (bare / "disentanglement-score", tmp_path, "--dataset", "mpi3d_mini")
    answer = run(*command, folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == (
        f"error: reading {tmp_path / 'pytorch_model.pt'} needs torch, which {bare / 'python'} "
        "lacks: pip install torch\n"
    )
