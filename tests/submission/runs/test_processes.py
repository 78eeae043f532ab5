import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from submission.runs.processes import end, last_line, start, start_in_background

ROOT = Path(__file__).resolve().parents[3]
PARENT = """
import sys, time
from pathlib import Path
from submission.runs.processes import {function}
print({function}("parent_of_nothing", [], Path(sys.argv[1]), {{}}{limits}).pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that says where it finds this project, and one that doesn't end by itself."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir("/")
    (tmp_path / "parent_of_nothing.py").write_text("import time\ntime.sleep(60)\n")
    (tmp_path / "speaker.py").write_text(
        "import os, sys, submission\n"
        "print(sys.argv[1], os.environ['WORD'], os.getpriority(os.PRIO_PROCESS, 0))\n"
        "print('error: ' + submission.__path__[0], end='\\n\\n', file=sys.stderr)\n"
    )
    return "speaker"


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_module_finds_this_project_and_writes_behind_its_log(tmp_path, module):
    log = tmp_path / "folder" / "log"
    log.parent.mkdir()
    log.write_text("before\n")
    assert start(module, ["one"], log, {"WORD": "two"}).wait() == 0
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert f"one two {os.getpriority(os.PRIO_PROCESS, 0)}" in lines
    assert f"error: {ROOT / 'submission'}" in lines


def test_a_module_in_the_background_has_the_same_and_a_lower_priority(tmp_path, module):
    log = tmp_path / "log"
    niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 2)
    process = start_in_background(module, ["one"], log, {"WORD": "two"}, cpu_seconds=60, niceness=2)
    assert process.wait() == 0
    assert f"one two {niceness}" in log.read_text().splitlines()


@pytest.mark.parametrize(
    ("function", "limits"),
    [("start", ""), ("start_in_background", ", cpu_seconds=60, niceness=1")],
)
def test_it_ends_with_the_process_that_started_it(tmp_path, module, function, limits):
    program = PARENT.format(function=function, limits=limits)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        if function == "start_in_background":
            # It ties itself to its parent, just before it becomes less than its parent's equal.
            deadline = time.monotonic() + 60
            mine = os.getpriority(os.PRIO_PROCESS, parent.pid)
            while os.getpriority(os.PRIO_PROCESS, child) == mine < 19:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        assert is_running(child)
        parent.kill()
    deadline = time.monotonic() + 60
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ending_asks_first(tmp_path, module):
    process = start("parent_of_nothing", [], tmp_path / "log", {})
    end(process)
    assert process.returncode == -signal.SIGTERM
    end(process)


@pytest.mark.parametrize(
    ("text", "since", "line"),
    [
        ("one\nerror: two\n\n \n", 0, "two"),
        ("one\n", 4, ""),
        ("one\n  three", 4, "three"),
        ("", 0, ""),
        (b"\xff\n", 0, "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_last_line_is_what_was_said(tmp_path, text, since, line):
    log = tmp_path / "log"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert last_line(log, since) == line


def test_of_a_log_that_is_gone_there_is_no_last_line(tmp_path):
    assert last_line(tmp_path / "log", 9) == ""
