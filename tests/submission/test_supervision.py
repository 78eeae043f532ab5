"""Real processes, really killed: a training is started again, and nothing of it is left behind."""

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from submission.interruption import SIGNALS

ROOT = Path(__file__).resolve().parents[2]

# Stands where `python -m submission` stands; what its training does comes behind it.
BEGINNING = """
import os, signal, sys, time
from submission.supervision import Supervisor, is_supervised, supervise
if not is_supervised():
    sys.exit(supervise(time.monotonic()))
supervisor = Supervisor.of_this_process()
attempt = len(supervisor.crashes)
def kill(number):
    os.kill(os.getpid(), number)
    time.sleep(60)
"""


def start(training: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BEGINNING + textwrap.dedent(training)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )


def run(training: str) -> subprocess.CompletedProcess[str]:
    process = start(training)
    output, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def children(process: int) -> list[int]:
    try:
        return [
            int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def is_gone(process: int) -> bool:
    """Whether a process has ended, though nobody may have asked for its exit code yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_training_that_is_killed_or_fails_is_started_again_and_knows_it():
    result = run("""
        supervisor.tell_restarts(2)
        print(supervisor.crashes, supervisor.started, flush=True)
        if attempt == 0: kill(signal.SIGKILL)
        if attempt == 1: raise RuntimeError("CUDA error")
    """)
    assert result.returncode == 0
    first, told, second, told_again, third = result.stdout.splitlines()
    clock = first.split()[-1]
    assert first == f"() {clock}"
    assert second == f"('SIGKILL',) {clock}"
    assert third == f"('SIGKILL', 'an exception') {clock}"
    assert re.fullmatch(r"training was ended by SIGKILL after \d+s, and .* 1 of 2\)", told)
    assert re.fullmatch(r"training was ended by an exception after .* 2 of 2\)", told_again)
    assert result.stderr.count("RuntimeError: CUDA error") == 1


def test_after_so_many_restarts_a_crash_is_the_end_in_one_line():
    result = run("""
        supervisor.tell_restarts(1)
        print(supervisor.restarts_after_a_crash(1), flush=True)
        kill(signal.SIGSEGV)
    """)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert [lines[0], lines[2:]] == ["True", ["False"]]
    assert re.fullmatch(r"error: training was ended by SIGSEGV after \d+s\n", result.stderr)


def test_a_kill_before_the_settings_are_read_counts_too():
    result = run("if attempt < 3: kill(signal.SIGKILL)")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("started") == 0
    assert "restart 3 of 3" in result.stdout


@pytest.mark.parametrize(
    ("training", "code"),
    [
        ("supervisor.tell_restarts(9); sys.exit(2)", 2),
        ("import no_such_module", 1),
        ("supervisor.tell_restarts(0); sys.exit(1)", 1),
        ("supervisor.tell_restarts(9); supervisor.tell_end(0); kill(signal.SIGKILL)", 0),
        ("supervisor.tell_restarts(9); supervisor.tell_end(1); sys.exit(1)", 1),
    ],
    ids=["mistake", "import", "none wished", "killed after its end", "interrupted"],
)
def test_what_would_come_again_or_is_over_is_not_started_again(training, code):
    result = run(f"print('started', flush=True)\n{training}")
    assert result.returncode == code
    assert result.stdout == "started\n"


HANDLES_SIGNALS = """
    supervisor.tell_restarts(9)
    received = []
    print("ready", flush=True)
    while not received:
        time.sleep(0.01)
    time.sleep(0.3)
    print(*received)
    sys.exit(1)
"""
# As training does: its handlers first, and then what was held back for them.
HANDLES_SIGNALS = BEGINNING.replace(
    "supervisor = ",
    "for number in (1, 2, 15):\n"
    "    signal.signal(number, lambda n, _: received.append(signal.Signals(n).name))\n"
    "received = []\n"
    "supervisor = ",
) + textwrap.dedent(HANDLES_SIGNALS).replace("received = []\n", "")


def start_handling(**options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HANDLES_SIGNALS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_reaches_the_training_which_is_not_started_again(number):
    process = start_handling()
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=30) == (f"{number.name}\n", "")
    assert process.returncode == 1


def test_a_signal_before_the_training_can_take_it_is_not_lost():
    """As soon as there is a process to take it."""
    process = start_handling()
    wait_until(lambda: children(process.pid))
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == ("ready\nSIGTERM\n", "")
    assert process.returncode == 1


def test_nothing_goes_on_unseen_when_the_supervisor_is_killed():
    process = start("print(os.getpid(), flush=True); time.sleep(60)")
    assert process.stdout is not None
    training = int(process.stdout.readline())
    assert children(process.pid) == [training]
    process.kill()
    wait_until(lambda: is_gone(training))
    process.communicate(timeout=30)


def test_a_lock_that_was_left_to_the_supervisor_is_the_trainings_too(tmp_path):
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fd = file.fileno()
        process = start(f"print(os.fstat({fd}).st_ino, flush=True)", pass_fds=[fd])
        assert process.communicate(timeout=30)[0] == f"{os.fstat(fd).st_ino}\n"


def test_a_supervisor_whose_output_nobody_reads_starts_the_training_again(tmp_path):
    process = start(f"""
        if attempt < 2: kill(signal.SIGKILL)
        open({str(tmp_path / "done")!r}, "w")
    """)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "done").exists()


# Python reads it first: in one process of a run, a step fails as a broken GPU would make it fail.
FAILING_STEP = """
import os, sys
if "NDC_SUPERVISOR" in os.environ and '"crashes": []' in os.environ["NDC_SUPERVISOR"]:
    class Finder:
        def find_spec(self, name, path, target=None):
            if name == "submission.training.loop":
                from submission.training import step
                plain, calls = step.Learner.step, []
                def fails(self, *arguments):
                    calls.append(None)
                    if len(calls) == 12:
                        raise RuntimeError("CUDA error: an illegal memory access was encountered")
                    return plain(self, *arguments)
                step.Learner.step = fails
    sys.meta_path.insert(0, Finder())
"""

SMALL = [
    "--preset",
    "challenge",
    "--gin",
    "speed.measure = False",
    "--gin",
    "trainer.log_every = 1",
]
SMALL += ["--gin", "network.width = 0.125", "--gin", "trainer.batch_size = 8"]


@pytest.fixture
def environment(tmp_path, monkeypatch):
    for variable in ("AICROWD_IS_GRADING", "AICROWD_EVALUATION_NAME", "AICROWD_DATASET_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AICROWD_OUTPUT_PATH", str(tmp_path / "shared"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "shared"


def submission(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "submission", *arguments]


def learnt(run_folder: Path) -> tuple[dict[str, torch.Tensor], list[list[str]]]:
    """The exported weights, and the history of training but for its clock.

    A run that begins anew finds the weights that it has pre-trained.
    """
    model = torch.jit.load(str(run_folder / "representation" / "pytorch_model.pt"))
    rows = [
        line.split(",") for line in (run_folder / "training" / "history.csv").read_text().split()
    ]
    clock = rows[0].index("seconds")
    history = [row[:clock] + row[clock + 1 :] for row in rows if row[0] == "training"]
    return model.state_dict(), history


def assert_same(first: Path, second: Path) -> None:
    (weights, rows), (other_weights, other_rows) = learnt(first), learnt(second)
    assert rows == other_rows != []
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


@pytest.mark.slow
def test_a_step_that_fails_on_the_portal_costs_no_more_than_the_steps(
    environment, tmp_path, monkeypatch
):
    few = [*SMALL, "--gin", "trainer.max_steps = 20", "--gin", "pretraining.steps = 5"]
    subprocess.run(submission(*few, "--name", "undisturbed"), cwd=ROOT, check=True)
    for weights in (environment / "pretrained").iterdir():
        weights.unlink()
    (tmp_path / "sitecustomize.py").write_text(FAILING_STEP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("AICROWD_IS_GRADING", "1")
    result = subprocess.run(submission(*few), cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("CUDA error: an illegal memory access was encountered\n") == 1
    assert result.stdout.count('"message": "execution_started"') == 1
    assert "execution_error" not in result.stdout
    assert_same(environment / "undisturbed", environment / "experiment_name")
    record = json.loads((environment / "experiment_name" / "training" / "run.json").read_text())
    assert record["status"] == "finished"
    assert "training was ended by an exception and started again (restart 1)" in record["warnings"]
    # It began anew in its own folder.
    assert not (environment / "experiment_name.1").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_whose_training_is_killed_20_times_ends_as_if_it_had_not_been(environment):
    """At random moments, start-up and writing included; the budget's clock counts all of it."""
    settings = [*SMALL, "--gin", "trainer.max_steps = 8000", "--gin", "pretraining.steps = 200"]
    settings += ["--gin", "trainer.checkpoint_every = '1s'", "--gin", "trainer.restarts = 20"]
    started = time.monotonic()
    subprocess.run(submission(*settings, "--name", "undisturbed"), cwd=ROOT, check=True)
    undisturbed = time.monotonic() - started
    for weights in (environment / "pretrained").iterdir():
        weights.unlink()

    # Together less than the run lasts: however fast the machine is, the 20th still finds it.
    longest = 0.07 * undisturbed
    moments = random.Random(0)
    started = time.monotonic()
    process = subprocess.Popen(submission(*settings), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for _ in range(20):
        time.sleep(moments.uniform(0.0, longest))
        wait_until(lambda: children(process.pid))
        os.kill(children(process.pid)[0], signal.SIGKILL)
        wait_until(lambda: process.poll() is not None or children(process.pid))
    output, _ = process.communicate()
    lasted = time.monotonic() - started
    assert process.returncode == 0, output
    assert "restart 20 of 20" in output
    assert_same(environment / "undisturbed", environment / "experiment_name")
    record = json.loads((environment / "experiment_name" / "training" / "run.json").read_text())
    assert len([one for one in record["warnings"] if "SIGKILL" in one]) == 20
    assert lasted - 8.0 < record["seconds_spent"] < lasted
