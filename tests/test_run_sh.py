"""run.sh in a folder of its own: real shell, venv and pip; tiny packages for the large ones."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RUN_SH = Path(__file__).parents[1] / "run.sh"

# Stands where training stands: notes how it was called, and does what its arguments say.
SUBMISSION = """
import json, os, signal, sys, time
from pathlib import Path

arguments = sys.argv[1:]
Path("training.json").write_text(json.dumps({"arguments": arguments, "pid": os.getpid()}))
folder = Path(os.environ.get("NDC_ROOT", "."), os.environ.get("AICROWD_OUTPUT_PATH", "out"))
representation = folder / os.environ.get("AICROWD_EVALUATION_NAME", "portal") / "representation"
code = 0
if "--wait" in arguments:
    received = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: received.append(signal.Signals(number).name))
    print("waiting", flush=True)
    while not received:
        time.sleep(0.01)
    time.sleep(0.3)  # a second delivery would come now
    Path("signals.json").write_text(json.dumps(received))
    code = 1
if "--exit" in arguments:
    code = int(arguments[arguments.index("--exit") + 1])
if "--no-export" not in arguments:
    representation.mkdir(parents=True, exist_ok=True)
    (representation / "pytorch_model.pt").touch()
sys.exit(code)
"""

EVALUATOR = """
import json, os, sys
from pathlib import Path

Path("scoring.json").write_text(json.dumps(sys.argv[1:]))
sys.exit(int(os.environ.get("SCORING_EXIT", "0")))
"""

PORTAL = """
import json, os, sys

names = ("AICROWD_EVALUATION_NAME", "AICROWD_DATASET_NAME")
with open("portal.json", "a") as calls:
    print(json.dumps([*sys.argv[1:], *(os.environ[name] for name in names)]), file=calls)
sys.exit(int(os.environ.get("PORTAL_EXIT", "0")))
"""

# Stands for ruff, mypy and pytest.
TOOL = """
import os, sys
from pathlib import Path

name = Path(__file__).stem
with open("checks.txt", "a") as calls:
    print(name, *sys.argv[1:], file=calls)
sys.exit(name == os.environ.get("FAILING_TOOL"))
"""


def make_wheel(folder: Path, name: str) -> str:
    """Writes a wheel of one empty module and returns its line for a lock file."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(
            f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Clone:
    """A folder with run.sh and stand-ins for all that it calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        wheels = folder / "wheels"
        wheels.mkdir()
        shutil.copy(RUN_SH, folder)
        (folder / "requirements.txt").write_text(make_wheel(wheels, "tiny"))
        (folder / "requirements-dev.txt").write_text(make_wheel(wheels, "tinydev"))
        make_wheel(wheels, "tinytorch")
        (folder / "requirements-torch.txt").write_text("tinytorch==1.0\n")
        for package, code in (("submission", SUBMISSION), ("evaluator", EVALUATOR)):
            (folder / package).mkdir()
            (folder / package / "__init__.py").touch()
            (folder / package / "__main__.py").write_text(code)
        (folder / "docker").mkdir()
        (folder / "docker" / "portal.py").write_text(PORTAL)
        for tool in ("ruff", "mypy", "pytest"):
            (folder / f"{tool}.py").write_text(TOOL)
        foreign = ("AICROWD_", "PIP_", "NDC_ROOT", "DISENTANGLEMENT_LIB_DATA")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        self.environment |= {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
        }

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.folder / "run.sh", *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **variables)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def forget(self) -> None:
        for name in (
            "training.json",
            "scoring.json",
            "signals.json",
            "checks.txt",
            "portal.json",
        ):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "scratch" / "shared", ignore_errors=True)


@pytest.fixture
def fresh(tmp_path: Path) -> Clone:
    """A clone as git leaves it, without .venv."""
    return Clone(tmp_path)


@pytest.fixture(scope="module")
def installed_once(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose set-up was read no further than its first line, as by `| head -1`."""
    clone = Clone(tmp_path_factory.mktemp("clone"))
    process = clone.start("test")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("set-up: making .venv")
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    return clone


@pytest.fixture
def clone(installed_once: Clone) -> Iterator[Clone]:
    """A clone whose set-up is done, without the traces of other runs."""
    installed_once.forget()
    yield installed_once


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_help_is_printed_without_an_environment(fresh: Clone) -> None:
    result = fresh.run("--method", "factor_vae", "--help")
    assert result.returncode == 0
    assert "./run.sh --dataset mpi3d_toy --preset challenge --budget 8h" in result.stdout
    assert not (fresh.folder / ".venv").exists()


def test_modules_of_the_users_do_not_stand_for_those_in_venv(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError")
    assert clone.run(PYTHONPATH=str(tmp_path)).returncode == 0


@pytest.mark.slow
def test_set_up_installs_into_venv_whatever_the_user_has_set(fresh: Clone, tmp_path: Path) -> None:
    away = str(tmp_path / "away")
    result = fresh.run(PIP_TARGET=away, PIP_PREFIX=away, PIP_ROOT=away, PIP_USER="1")
    assert result.returncode == 0, result.stderr
    python = fresh.folder / ".venv/bin/python"
    assert subprocess.run([python, "-c", "import tiny, tinytorch"]).returncode == 0


def test_set_up_that_nobody_reads_installs_what_the_locks_name(clone: Clone) -> None:
    python = clone.folder / ".venv/bin/python"
    assert subprocess.run([python, "-c", "import tiny, tinydev, tinytorch"]).returncode == 0


def test_training_gets_all_arguments_and_is_followed_by_scoring(clone: Clone) -> None:
    arguments = ["--budget", "5m", "--gin", "beta_tcvae.beta = 8.0", "--seed", "3"]
    result = clone.run(*arguments)
    assert result.returncode == 0, result.stderr
    assert clone.read("training.json")["arguments"] == arguments
    assert clone.read("scoring.json") == ["./scratch/shared/experiment_name/representation"]


def test_second_start_does_no_set_up_and_begins_at_once(clone: Clone) -> None:
    started = time.monotonic()
    result = clone.run()
    assert time.monotonic() - started < 5
    assert "set-up" not in result.stdout


@pytest.mark.parametrize("arguments", [["--name", "mine"], ["--name=mine"]])
def test_name_is_the_folder_that_is_scored(clone: Clone, arguments: list[str]) -> None:
    clone.run(*arguments, AICROWD_EVALUATION_NAME="other")
    assert clone.read("scoring.json") == ["./scratch/shared/mine/representation"]


def test_environment_names_the_folder_that_is_scored(clone: Clone, tmp_path: Path) -> None:
    clone.run(AICROWD_OUTPUT_PATH=str(tmp_path), AICROWD_EVALUATION_NAME="portal run")
    assert clone.read("scoring.json") == [f"{tmp_path}/portal run/representation"]


def test_relative_output_folder_starts_at_ndc_root(clone: Clone, tmp_path: Path) -> None:
    clone.run(NDC_ROOT=str(tmp_path), AICROWD_OUTPUT_PATH="out")
    assert clone.read("scoring.json") == [f"{tmp_path}/out/experiment_name/representation"]


def test_users_mistake_passes_through_and_nothing_is_scored(clone: Clone) -> None:
    result = clone.run("--exit", "2", "--no-export")
    assert result.returncode == 2
    assert not (clone.folder / "scoring.json").exists()
    assert result.stderr == ""


def test_any_other_failure_of_training_is_exit_code_1(clone: Clone) -> None:
    result = clone.run("--exit", "77", "--no-export")
    assert result.returncode == 1
    assert not (clone.folder / "scoring.json").exists()


def test_unfinished_training_is_not_scored_but_the_command_for_it_is_told(clone: Clone) -> None:
    result = clone.run("--exit", "1", "--name", "cut short")
    assert result.returncode == 1
    assert not (clone.folder / "scoring.json").exists()
    told = ".venv/bin/python -m evaluator ./scratch/shared/cut\\ short/representation"
    assert told in result.stderr
    assert subprocess.run(["bash", "-c", told], cwd=clone.folder).returncode == 0


def test_exit_code_of_scoring_is_kept(clone: Clone) -> None:
    assert clone.run(SCORING_EXIT="2").returncode == 2


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["process", "terminal"])
def test_signal_reaches_training_once(
    clone: Clone, send: Callable[[int, int], None], sent: signal.Signals
) -> None:
    process = clone.start("--wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    send(process.pid, sent)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert clone.read("signals.json") == [sent.name]
    assert "Training did not finish" in stderr


def test_set_up_leaves_alone_what_a_training_uses(clone: Clone) -> None:
    process = clone.start("--wait")
    assert process.stdout is not None
    process.stdout.readline()
    lock = clone.folder / "requirements.txt"
    right = lock.read_text()
    lock.write_text(right + "\n")
    try:
        result = clone.run("--name", "second")
    finally:
        lock.write_text(right)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert result.returncode == 2
    assert result.stderr.startswith("error: a run here uses .venv, which has to be made anew")
    assert result.stderr.count("\n") == 1
    assert clone.run().returncode == 0


def test_closed_terminal_ends_training_as_term_does(clone: Clone) -> None:
    process = clone.start("--wait")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert clone.read("signals.json") == ["SIGTERM"]


def test_grading_becomes_the_images_python_and_installs_nothing(fresh: Clone) -> None:
    image = fresh.folder / "image"
    image.mkdir()
    (image / "python").symlink_to(sys.executable)
    path = f"{image}:{os.environ['PATH']}"
    process = fresh.start("--budget", "8h", AICROWD_IS_GRADING="True", PATH=path)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert fresh.read("training.json") == {"arguments": ["--budget", "8h"], "pid": process.pid}
    assert not (fresh.folder / "scoring.json").exists()
    assert not (fresh.folder / ".venv").exists()


def test_grading_variable_that_says_no_is_no_grading(clone: Clone) -> None:
    clone.run(AICROWD_IS_GRADING="False")
    assert (clone.folder / "scoring.json").exists()


@pytest.fixture
def without_python(fresh: Clone) -> Clone:
    """A clone on a machine that has no Python."""
    tools = fresh.folder / "tools"
    tools.mkdir()
    for tool in ("bash", "cat", "cksum", "dirname", "flock", "mkdir", "readlink", "uname"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    fresh.environment["PATH"] = str(tools)
    return fresh


def test_missing_python_is_told_in_one_line(without_python: Clone) -> None:
    result = without_python.run()
    assert result.returncode == 2
    assert result.stderr.startswith("error: found no Python 3.11, 3.12 or 3.13")
    assert result.stderr.count("\n") == 1


def test_a_file_system_without_locks_is_no_obstacle_to_set_up(without_python: Clone) -> None:
    flock = without_python.folder / "tools/flock"
    flock.unlink()
    flock.write_text("#!/usr/bin/env bash\nexit 71\n")  # flock(1)'s, for ENOLCK
    flock.chmod(0o755)
    assert without_python.run().stderr.startswith("error: found no Python")


def test_a_start_by_a_link_works_in_the_clone(without_python: Clone, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run").symlink_to(without_python.folder / "run.sh")
    environment = without_python.environment | {"CDPATH": str(elsewhere)}
    subprocess.run([elsewhere / "run"], cwd=elsewhere, env=environment, check=False)
    assert (without_python.folder / "scratch").is_dir()
    assert [path.name for path in elsewhere.iterdir()] == ["run"]


def test_a_mistake_that_nobody_reads_has_its_exit_code(without_python: Clone) -> None:
    closed = ["bash", "-c", "exec ./run.sh >&- 2>&-"]
    folder, environment = without_python.folder, without_python.environment
    assert subprocess.run(closed, cwd=folder, env=environment, check=False).returncode == 2


@pytest.mark.slow
def test_failed_set_up_tells_the_log_and_the_next_start_begins_anew(fresh: Clone) -> None:
    lock = fresh.folder / "requirements.txt"
    right = lock.read_text()
    lock.write_text("tiny==1.0 --hash=sha256:" + "0" * 64 + "\n")
    result = fresh.run()
    assert result.returncode == 1
    last = "error: installing requirements.txt failed; the log is scratch/set-up.log\n"
    assert result.stderr.endswith(last)
    assert "0" * 64 in (fresh.folder / "scratch/set-up.log").read_text()
    assert not (fresh.folder / "training.json").exists()

    lock.write_text(right)
    assert fresh.run().returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a read-only folder needs root")
def test_set_up_in_a_read_only_clone_is_a_mistake_told_in_one_line(fresh: Clone) -> None:
    folder = str(fresh.folder)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        result = fresh.run()
    finally:
        subprocess.run(["umount", folder], check=True)
    assert result.returncode == 2
    assert result.stderr == (
        f"error: {folder} can't be written, and set-up writes there: clone into a folder of yours\n"
    )


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv"
)
@pytest.mark.parametrize("name", ["scratch", "scratch/set-up.lock", "scratch/set-up.log", ".venv"])
def test_what_is_another_users_is_named_by_set_up(fresh: Clone, name: str) -> None:
    path = fresh.folder / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix:
        path.touch()
    else:
        path.mkdir()
    os.chown(path, 1001, 1001)
    # Root without what lets it pass over permissions.
    powers = "-dac_override,-dac_read_search"
    result = subprocess.run(
        ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}", "./run.sh"],
        cwd=fresh.folder,
        env=fresh.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {path} can't be written, and set-up writes there")
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_set_up_on_a_full_disk_is_a_mistake_that_names_the_folders(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        result = Clone(disk).run()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert result.returncode == 2
    assert "error: no room on the disk: 0 MiB are free for .venv, " in result.stderr
    assert "(TMPDIR): free some space" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_set_up_that_was_killed_begins_anew(fresh: Clone) -> None:
    process = fresh.start()
    wait_for((fresh.folder / ".venv/bin/python").exists)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert not (fresh.folder / "training.json").exists()

    result = fresh.run()
    assert result.returncode == 0, result.stderr
    assert "set-up: making .venv" in result.stdout


@pytest.mark.slow
def test_changed_lock_is_installed(fresh: Clone) -> None:
    assert fresh.run().returncode == 0
    with (fresh.folder / "requirements.txt").open("a") as lock:
        lock.write(make_wheel(fresh.folder / "wheels", "another"))
    assert fresh.run().returncode == 0
    python = fresh.folder / ".venv/bin/python"
    assert subprocess.run([python, "-c", "import tiny, another"]).returncode == 0


@pytest.mark.slow
def test_two_first_starts_at_once_make_one_environment(fresh: Clone) -> None:
    first, second = fresh.start("--name", "a"), fresh.start("--name", "b")
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert sum("set-up: making" in output for output in outputs) == 1
    assert sum("set-up: waiting" in output for output in outputs) == 1


def test_checks_run_in_order_without_the_slow_tests(clone: Clone) -> None:
    assert clone.run("test", "tests/evaluator", "-k", "mig").returncode == 0
    assert (clone.folder / "checks.txt").read_text().splitlines() == [
        "ruff format --check .",
        "ruff check .",
        "mypy submission evaluator study docker/portal.py docker/container benchmarks docs",
        "pytest -m not slow --numprocesses auto --maxprocesses 4 tests/evaluator -k mig",
    ]


@pytest.mark.parametrize(
    ("arguments", "passed_on"), [(("--slow", "-x"), "-x"), (("-m", "slow"), "-m slow")]
)
def test_slow_tests_run_one_at_a_time(
    clone: Clone, arguments: tuple[str, ...], passed_on: str
) -> None:
    clone.run("test", *arguments)
    assert (clone.folder / "checks.txt").read_text().splitlines()[-1] == f"pytest {passed_on}"


@pytest.mark.parametrize("tool", ["ruff", "mypy", "pytest"])
def test_failing_check_fails_the_tests(clone: Clone, tool: str) -> None:
    assert clone.run("test", FAILING_TOOL=tool).returncode == 1


def test_docker_builds_the_image_then_simulates_the_portal_with_the_options(clone: Clone) -> None:
    result = clone.run("--docker", "--name=other", "--dataset", "cars3d", "--budget", "1m")
    assert result.returncode == 0, result.stderr
    calls = [json.loads(line) for line in (clone.folder / "portal.json").read_text().splitlines()]
    options = ["--preset", "quick", "--name=other", "--budget", "1m"]
    assert calls == [
        ["build", "other", "cars3d"],
        ["simulate", "--", *options, "other", "cars3d"],
    ]
    assert not (clone.folder / "training.json").exists()


def test_docker_keeps_a_given_preset(clone: Clone) -> None:
    assert clone.run("--docker", "--preset", "challenge").returncode == 0
    call = json.loads((clone.folder / "portal.json").read_text().splitlines()[-1])
    assert call[:4] == ["simulate", "--", "--preset", "challenge"]


def test_docker_stops_where_building_failed(clone: Clone) -> None:
    assert clone.run("--docker", PORTAL_EXIT="2").returncode == 2
    assert len((clone.folder / "portal.json").read_text().splitlines()) == 1
