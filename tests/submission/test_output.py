"""Output that breaks while a command runs, as real pipes, terminals and disks do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Prints much more than a pipe or a buffer holds, on both streams, by print, rich and logging.
SCRIPT = """
import logging, sys
from pathlib import Path
from rich.console import Console
from submission.command_line import run_command_line

def main():
    logging.basicConfig(level=logging.INFO)
    console = Console()
    for number in range(3000):
        print("line", number, flush=number % 100 == 0)
        print("line", number, file=sys.stderr)
    console.print("line")
    logging.info("line")
    Path(sys.argv[1]).write_text("the work is done")

run_command_line(main)
"""


def pipe_without_reader() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def terminal_that_is_gone() -> int:
    controller, terminal = os.openpty()
    os.close(controller)
    return terminal


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("options", [(), ("-u",)])
@pytest.mark.parametrize("broken", [pipe_without_reader, terminal_that_is_gone, full_disk])
def test_broken_output_stops_nothing(tmp_path, broken, options):
    done = tmp_path / "done"
    stream = broken()
    try:
        command = [sys.executable, *options, "-c", SCRIPT, str(done)]
        code = subprocess.run(command, stdout=stream, stderr=stream, timeout=60).returncode
    finally:
        os.close(stream)
    assert (code, done.read_text()) == (0, "the work is done")


def test_closed_output_stops_nothing(tmp_path: Path):
    done = tmp_path / "done"
    command = ["sh", "-c", '"$@" >&- 2>&-', "sh", sys.executable, "-c", SCRIPT, str(done)]
    assert subprocess.run(command, timeout=60).returncode == 0
    assert done.read_text() == "the work is done"


def test_a_reader_of_one_line_gets_it(tmp_path):
    done = tmp_path / "done"
    command = f"{sys.executable} -c '{SCRIPT}' {done} 2>/dev/null | head -1"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert answer.stdout == "line 0\n"
    assert done.read_text() == "the work is done"
