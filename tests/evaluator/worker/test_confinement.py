"""What a confined process can't do, tried by a process that does it: once behind each wall."""

import json
import os
import socket
from pathlib import Path

import pytest

from evaluator.worker import confinement, landlock
from evaluator.worker.confinement import BUBBLEWRAP, LANDLOCK
from submission.installation import ROOT
from tests.evaluator.worker.child import missing, run

MEMORY = 4 * 2**30

# What a model's code may try. `model` is its own folder, `secret` a file beside it, `parent` the
# process that started it; `system_call` calls the kernel by number, past every library.
READS = {
    "a file": "open(secret).read()",
    "a folder": "os.listdir(os.path.dirname(secret)).index('secret')",
    "a file by a link in its own folder": "open(f'{model}/link').read()",
    "the home folder": "os.listdir(home).index('secret')",
    "the checkout's documents": "open(f'{checkout}/README.md').read()",
    "the caller's environment": "open(f'/proc/{parent}/environ').read()",
    "the caller's command line": "open(f'/proc/{parent}/cmdline').read()",
    "the caller's memory": "open(f'/proc/{parent}/mem', 'rb')",
    "the table of processes": "open(f'/proc/{parent}/stat').read()",
    "the users": "open('/etc/passwd').read()",
    "a file by way of /proc": "open(f'/proc/self/root{secret}').read()",
    "a file by its handle": "system_call(304, -100, 0, 0)",
}
WRITES = {
    "its own folder": "open(f'{model}/new', 'w')",
    "its own file": "open(f'{model}/model', 'r+')",
    "its own file, emptied": "os.close(os.open(f'{model}/model', os.O_RDONLY | os.O_TRUNC))",
    "another file": "open(secret, 'a')",
    "another file, emptied": "os.truncate(secret, 0)",
    "/tmp": "open('/tmp/confined', 'w')",
    "/dev/shm": "open('/dev/shm/confined', 'w').write('x')",
    "the home folder": "open(f'{home}/confined', 'w')",
    "a temporary file": "__import__('tempfile').TemporaryFile()",
    "a nameless file": "os.write(os.memfd_create('x'), b'x')",
    "a new folder": "os.mkdir(f'{model}/new')",
    "a removal": "os.unlink(secret)",
    "a new name": "os.rename(secret, f'{secret}2')",
    "a link": "os.symlink(secret, f'{model}/new')",
    "a hard link": "os.link(f'{model}/model', f'{model}/new')",
    "a pipe with a name": "os.mkfifo(f'{model}/new')",
    "permissions": "os.chmod(secret, 0o777)",
    "an owner": "os.chown(secret, 1, 1)",
    "times": "os.utime(secret, (0, 0))",
    "attributes": "os.setxattr(secret, 'user.x', b'x')",
    "a lock": "__import__('fcntl').flock(open(f'{model}/model'), 2)",
    "a mount": "system_call(165, b'x', b'/tmp', b'tmpfs', 0, 0)",
    "another root": "os.chroot(model)",
}
PROCESSES = {
    "fork": "os._exit(0) if os.fork() == 0 else 0",
    "vfork and exec": "__import__('subprocess').run(['true'])",
    "exec": "os.execv(sys.executable, [sys.executable, '-c', ''])",
    "posix_spawn": "os.posix_spawn(sys.executable, [sys.executable, '-c', ''], {})",
    "a signal to the caller": "os.kill(parent, signal.SIGKILL)",
    "a signal to its group": "os.kill(0, signal.SIGKILL)",
    "a signal to all": "os.kill(-1, signal.SIGKILL)",
    "a signal to the caller's thread": "system_call(200, parent, 9)",
    "a queued signal": "system_call(129, parent, 9, bytes(128))",
    "a signal through a socket": "__import__('fcntl').fcntl(passed, 8, parent)",
    "a descriptor of the caller's": "os.pidfd_open(parent)",
    "a trace": "system_call(101, 16, parent, 0, 0)",
    "another's memory": "system_call(310, parent, bytes(16), 1, bytes(16), 1, 0)",
    "the caller's priority": "os.setpriority(os.PRIO_PROCESS, parent, 19)",
    "the caller's limits": "__import__('resource').prlimit(parent, 0, (0, 0))",
    "the caller's processors": "os.sched_setaffinity(parent, {0})",
    "to outlive the caller": "system_call(157, 1, 0, 0, 0, 0)",
    "another namespace": "system_call(272, 0x10000000)",
    "io_uring": "system_call(425, 8, bytes(120))",
    "bpf": "system_call(321, 0, 0, 0)",
    "perf_event_open": "system_call(298, bytes(128), 0, -1, -1, 0)",
    "keyctl": "system_call(250, 0, -3, 0)",
    "shared memory": "system_call(29, 0, 4096, 0o1600)",
    "a message queue": "system_call(68, 0, 0o1600)",
    "userfaultfd": "system_call(323, 1)",
    "a call of x32": "system_call(0x40000000 + 39)",
    "typing into the terminal": "__import__('fcntl').ioctl(0, 0x5412, b'x')",
    "a limit raised": "__import__('resource').setrlimit(1, (1, 1))",
}
NETWORK = {
    "TCP": "socket.create_connection(('127.0.0.1', port), 5)",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "a Unix socket": "socket.socket(socket.AF_UNIX).connect(f'{secret}.socket')",
    "an abstract socket": "socket.socket(socket.AF_UNIX).connect('\\0confined')",
    "a pair of sockets": "socket.socketpair()",
    "a listener": "socket.create_server(('127.0.0.1', 0))",
    "another address for an open socket": "passed.connect(f'{secret}.socket')",
    "netlink": "socket.socket(16, 3, 0)",
    "vsock": "socket.socket(40, 1)",
}
MEMORIES = {
    "more than the limit": "bytearray(limit)",
    "shared memory without a file": "__import__('mmap').mmap(-1, limit)",
    "a stack that grows": "system_call(9, 0, limit, 3, 0x122, -1, 0)",
}
ALLOWED = {
    # PyTorch's build for CUDA does, when it is imported.
    "asking for a system's library": "__import__('ctypes.util').util.find_library('dl')",
    "its own file": "assert open(f'{model}/model').read() == 'weights'",
    "a place for what nobody reads": "open('/dev/null', 'w').write('x')",
    "threads": "run_in_thread()",
    "the socket that was passed in": "passed.sendall(b'codes'); assert passed.recv(6) == b'images'",
    "a signal to itself": "signal.signal(10, lambda *_: 0); os.kill(os.getpid(), 10)",
    "packages": "import decimal, sqlite3, numpy, dill",
    "randomness": "os.urandom(8); open('/dev/urandom', 'rb').read(8)",
    "the number of processors": "assert os.cpu_count() and open('/proc/cpuinfo').read()",
    "memory": "bytearray(2**28)",
}

SIZE = "os.stat(secret).st_size"
MATPLOTLIB = "import matplotlib"

CHILD = """
import ctypes, json, os, signal, socket, sys, threading
from pathlib import Path
from evaluator.worker import confinement, landlock

given = json.loads(sys.argv[1])
globals().update(given["names"])
if not given["landlock"]:
    landlock.version = lambda: 0
confinement.confine([Path(model)], limit)
passed = socket.socket(fileno=descriptor)
libc = ctypes.CDLL(None, use_errno=True)

def system_call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def run_in_thread():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()

told = {}
for attempt in given["attempts"]:
    try:
        exec(attempt)
    except BaseException as error:
        told[attempt] = f"{type(error).__name__}: {error}"
    else:
        told[attempt] = "done"
print(json.dumps(told))
"""
# By number on x86_64, so elsewhere they would be other calls.
ATTEMPTS = [
    attempt
    for part in (READS, WRITES, PROCESSES, NETWORK, MEMORIES, ALLOWED)
    for attempt in (*part.values(), SIZE, MATPLOTLIB)
    if "system_call" not in attempt or os.uname().machine == "x86_64"
]


@pytest.fixture(scope="module", params=[LANDLOCK, BUBBLEWRAP, "seccomp alone"])
def outcomes(request, tmp_path_factory):
    """What became of every attempt, by its code, in one process behind the wall."""
    wall = request.param
    if reason := missing(wall):
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("home")
    model = home / "model"
    model.mkdir()
    (model / "model").write_text("weights")
    secret = home / "secret"
    secret.write_text("labels")
    (model / "link").symlink_to(secret)
    before = secret.stat()
    listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    listeners[0].bind(f"{secret}.socket")
    listeners[1].bind("\0confined")
    for listener in listeners:
        listener.listen()
    listeners.append(socket.create_server(("127.0.0.1", 0)))
    ours, theirs = socket.socketpair()
    ours.sendall(b"images")
    names = {
        "model": str(model),
        "secret": str(secret),
        "home": str(home),
        "checkout": str(ROOT),
        "parent": os.getpid(),
        "port": listeners[2].getsockname()[1],
        "limit": MEMORY,
        "descriptor": theirs.fileno(),
    }
    given = json.dumps({"names": names, "landlock": wall == LANDLOCK, "attempts": ATTEMPTS})
    told = json.loads(run(CHILD, given, wall=wall, readable=[model], descriptors=[theirs.fileno()]))
    assert ours.recv(5) == b"codes"
    # Whatever it was told, nothing has changed.
    assert secret.read_text() == "labels"
    after = secret.stat()
    kept = ("st_mode", "st_uid", "st_mtime_ns", "st_nlink")
    assert all(getattr(before, name) == getattr(after, name) for name in kept)
    assert sorted(path.name for path in model.iterdir()) == ["link", "model"]
    assert not Path("/tmp/confined").exists() and not Path("/dev/shm/confined").exists()
    for one in (*listeners, ours, theirs):
        one.close()
    return wall, told


def assert_failed(outcomes, attempt):
    _, told = outcomes
    if attempt not in told:
        pytest.skip("its number is another on this machine")
    assert told[attempt].split(":")[0].endswith("Error"), told[attempt]


@pytest.mark.parametrize("what", READS)
def test_nothing_is_read_but_the_model(outcomes, what):
    if outcomes[0] == "seccomp alone":
        pytest.skip("no filter of system calls knows a path")
    assert_failed(outcomes, READS[what])


@pytest.mark.parametrize("what", WRITES)
def test_nothing_is_written(outcomes, what):
    assert_failed(outcomes, WRITES[what])


@pytest.mark.parametrize("what", PROCESSES)
def test_no_process_is_started_or_reached(outcomes, what):
    assert_failed(outcomes, PROCESSES[what])


@pytest.mark.parametrize("what", NETWORK)
def test_nothing_is_connected(outcomes, what):
    assert_failed(outcomes, NETWORK[what])


@pytest.mark.parametrize("what", MEMORIES)
def test_no_more_memory_is_had_than_the_limit(outcomes, what):
    assert_failed(outcomes, MEMORIES[what])


@pytest.mark.parametrize("what", ALLOWED)
def test_computing_goes_on(outcomes, what):
    wall, told = outcomes
    if "/dev/null" in ALLOWED[what] and wall != LANDLOCK:
        pytest.skip("it opens no file for writing, whichever it is")
    assert told[ALLOWED[what]] == "done"


def test_the_size_of_another_file_can_be_asked_where_landlock_alone_hides_it(outcomes):
    """What docs/security.md says is left; in bubblewrap's file system it isn't there."""
    wall, told = outcomes
    assert (told[SIZE] == "done") == (wall != BUBBLEWRAP)


def test_matplotlib_is_not_there(outcomes):
    """It fails without a folder to write in, and Keras would import it."""
    assert outcomes[1][MATPLOTLIB].startswith("ModuleNotFoundError")


def test_libraries_of_the_systems_variable_are_read_and_no_home(tmp_path):
    folder = tmp_path / "lib"
    for place in (tmp_path, folder):
        place.mkdir(exist_ok=True)
        (place / "x").write_text("x")
    code = """
import sys
from evaluator.worker import confinement
confinement.confine([], 2**30)
for path in sys.argv[1:]:
    try:
        print(open(path).read())
    except OSError:
        print("hidden")
"""
    path = os.pathsep.join([str(tmp_path), str(folder), ""])
    told = run(code, str(tmp_path / "x"), str(folder / "x"), variables={"LD_LIBRARY_PATH": path})
    assert told.split() == ["hidden", "x"]


def test_a_process_of_several_threads_is_refused():
    """Those that run already would stay as free as they were."""
    told = run(
        """
from evaluator.worker import confinement
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    confinement.confine([], 2**30)
except RuntimeError as error:
    print(error)
"""
    )
    assert told.startswith("a process is confined before")


def test_nothing_hides_files_where_neither_wall_is_to_be_had(monkeypatch):
    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setenv("PATH", "")
    assert confinement.kind.__wrapped__() is None


@pytest.mark.skipif(missing(BUBBLEWRAP) is not None, reason="bubblewrap is missing")
def test_bubblewrap_takes_the_place_of_landlock(monkeypatch):
    monkeypatch.setattr(landlock, "version", lambda: 0)
    assert confinement.kind.__wrapped__() == BUBBLEWRAP


def test_to_be_confined_takes_milliseconds():
    told = run(
        """
import time
from evaluator.worker import confinement
start = time.perf_counter()
confinement.confine([], 2**30)
print(time.perf_counter() - start)
"""
    )
    # 0.001 s on two cores; the machine may have other things to do.
    assert float(told) < 0.5
