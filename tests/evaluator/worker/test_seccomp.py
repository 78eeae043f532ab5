"""The filter as the kernel reads it, for both machines; what it does is tried elsewhere."""

import errno
import platform
import re
from pathlib import Path

import pytest

from evaluator.worker import seccomp

HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), 0xC000003E),
    # Of the machines that came later, aarch64 among them.
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), 0xC00000B7),
}
ALLOWED, FAILED = "allowed", {errno.EPERM: "EPERM", errno.ENOSYS: "ENOSYS"}
CLONE_THREAD, SIGCHLD = 0x10000, 17


def decide(machine, number, *arguments, architecture=None, monkeypatch, writes=True):
    """Runs the filter, by <linux/filter.h>, on one call."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    data = {0: number, 4: HEADERS[machine][1] if architecture is None else architecture}
    data |= {16 + 8 * index: value for index, value in enumerate((*arguments, *[0] * 6)[:6])}
    program = seccomp._program(writes)
    at, value = 0, 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        if code == 0x20:
            value = data[constant]
        elif code == 0x54:
            value &= constant
        elif code == 0x15:
            at += yes if value == constant else no
        elif code == 0x35:
            at += yes if value >= constant else no
        else:
            assert code == 0x06
            return ALLOWED if constant == 0x7FFF0000 else FAILED[constant & 0xFFFF]


@pytest.fixture
def decided(monkeypatch):
    def decide_it(*arguments, **settings):
        return decide(*arguments, monkeypatch=monkeypatch, **settings)

    return decide_it


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_those_of_linuxs_headers(machine):
    header, _ = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header} is not there")
    numbers = {}
    for name, number in re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text()):
        numbers.setdefault(name, int(number))
    column = list(HEADERS).index(machine)
    rows = {**seccomp._FREE, **seccomp._conditional(writes=True)}
    # What the 32-bit machines of asm-generic call otherwise.
    numbers |= {"newfstatat": 79, "fstat": 80} if machine == "aarch64" else {}
    assert {name: row[column] for name, row in rows.items()} == {
        name: numbers.get(name) for name in rows
    }


@pytest.mark.parametrize(("machine", "clone"), [("x86_64", 56), ("aarch64", 220)])
def test_a_thread_is_started_and_a_process_is_not(decided, machine, clone):
    assert decided(machine, clone, CLONE_THREAD | 0x3D0F00) == ALLOWED
    assert decided(machine, clone, SIGCHLD) == "EPERM"


@pytest.mark.parametrize("machine", HEADERS)
def test_a_newer_way_is_told_to_be_missing_so_that_the_older_is_taken(decided, machine):
    clone3, openat2, io_uring_setup, of_tomorrow = 435, 437, 425, 900
    for number in (clone3, openat2, io_uring_setup, of_tomorrow):
        assert decided(machine, number) == "ENOSYS"


@pytest.mark.parametrize("machine", HEADERS)
def test_the_calls_of_another_kind_of_program_fail(decided, machine):
    assert decided(machine, 1, architecture=0x40000003) == "EPERM"


@pytest.mark.parametrize(("machine", "openat"), [("x86_64", 257), ("aarch64", 56)])
def test_without_landlock_files_are_opened_to_be_read_alone(decided, machine, openat):
    read_only, write_only, create, cloexec = 0, 1, 0o100, 0o2000000
    assert decided(machine, openat, 0, 0, read_only | cloexec, writes=False) == ALLOWED
    assert decided(machine, openat, 0, 0, write_only, writes=False) == "EPERM"
    assert decided(machine, openat, 0, 0, read_only | create, writes=False) == "EPERM"


@pytest.mark.parametrize(("machine", "ioctl"), [("x86_64", 16), ("aarch64", 29)])
def test_no_terminal_is_typed_into_and_no_driver_is_called(decided, machine, ioctl):
    nvidia_register, typed_into_terminal, owner_of_socket = 0xC00846C8, 0x5412, 0x8901
    for number in (nvidia_register, typed_into_terminal, owner_of_socket):
        assert decided(machine, ioctl, 3, number) == "EPERM"
