"""What a stranger's model may do on this machine: read itself, its libraries, and compute.

Three walls stand one behind the other, and none needs root:

* Landlock, or bubblewrap where the kernel has no Landlock: which files there are to be read;
* a seccomp filter (`evaluator.worker.seccomp`): no file is written, no process or connection
  started, no other process reached;
* limits of memory, and of the size of a file, which is zero.

They hold a thread and what it starts afterwards, so they are built before the first library that
starts one, numpy among them, is imported.
"""

import contextlib
import ctypes
import ctypes.util
import functools
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from evaluator.worker import landlock, seccomp
from submission.installation import ROOT

LANDLOCK = "Landlock"
BUBBLEWRAP = "bubblewrap"
NOWHERE = "/dev/null"
"""A confined process's `HOME` and folder for temporary files, in which nobody can make a folder."""

_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES_VERSION = 0x20080522
# To read the model of another user, as root may; it gives no more than what Landlock leaves.
_CAP_DAC_READ_SEARCH = 2
_MOST_OPEN_FILES = 1024
# Each is an open file, and a byte tells how many there are.
_MOST_IN_PARALLEL = 64
_LARGEST_STACK = 64 * 2**20

# What libraries look at when they are loaded or count the processors, but what tells of other
# processes: /proc as a whole is not among it.
_SYSTEM = (
    *("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm/overcommit_memory"),
    # Of this process alone. TensorFlow ends it where it can't read its own command line.
    *("/proc/self/cmdline", "/proc/self/maps", "/proc/self/status", "/proc/self/statm"),
    *("/sys/devices/system", "/sys/bus/cpu", "/sys/bus/node", "/dev/urandom", "/dev/random"),
)
_NULL = "/dev/null"


@functools.cache
def kind() -> str | None:
    """What hides files from a process here: "Landlock", "bubblewrap", or None if neither can."""
    if platform.system() != "Linux":
        return None
    if seccomp.is_known() and landlock.version() > 0:
        return LANDLOCK
    return BUBBLEWRAP if bubblewrap_works() else None


def confine(readable: Sequence[Path], memory: int) -> None:
    """Confines this process for good; to be called while it has one thread.

    Libraries can be imported afterwards: they lie where it may read. What is open stays open, so
    sockets that were passed in go on working; standard output must be no file. There is no folder
    for temporary files.

    Args:
        readable: The model, and what else may be read beside Python, its packages and the system's
            libraries; folders with all that is below them.
        memory: How many bytes the process may take. More is an error of its allocator's.

    Raises:
        RuntimeError: There are other threads, such as numpy's, which would stay free.
        OSError: The kernel refuses what it offers.
    """
    _expect_no_folder()
    _limit(memory)
    if not seccomp.is_known():
        return
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("a process is confined before it imports what starts threads")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities(libc)
    version = landlock.version()
    if version > 0:
        landlock.restrict([*readable, *_needed()], [Path(_NULL)])
    # Older ones don't hinder who empties a file.
    writes = version >= 3
    if not writes:
        # It opens /dev/null for writing when it is imported.
        with contextlib.suppress(ImportError):
            import dill  # noqa: F401
    seccomp.restrict(writes)


def most_in_parallel() -> int:
    """How many threads may ask a model at once: one for each processor, within reason."""
    return min(_MOST_IN_PARALLEL, len(os.sched_getaffinity(0)))


def bubblewrap(command: Sequence[str], readable: Sequence[Path]) -> list[str]:
    """A command in a file system, network and table of processes of its own, made by bubblewrap.

    Open descriptors that are passed to it reach the command, which calls `confine` as elsewhere.

    Args:
        command: Starts with this Python.
        readable: As `confine` takes it.

    Returns:
        The command that starts it. It ends with the process that starts it, whose number it can't
        know.
    """
    python = Path(sys.executable)
    shown = [*readable, *_needed(), python, Path(sys.prefix) / "pyvenv.cfg"]
    binds = [part for path in shown for part in ("--ro-bind-try", str(path), str(path))]
    # Its own processes alone stand in the new /proc, which hides what of the old one was bound.
    walls = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    folders = ["--dev", "/dev", "--proc", "/proc", "--remount-ro", "/", "--chdir", "/"]
    return ["bwrap", *walls, *binds, *folders, "--", *command]


def _needed() -> list[Path]:
    """All that Python and its packages read; not the whole checkout, in which data sets may be."""
    prefixes = [Path(prefix) for prefix in dict.fromkeys((sys.prefix, sys.base_prefix))]
    ours = [ROOT / package for package in ("evaluator", "submission")]
    libraries = [prefix / folder for prefix in prefixes for folder in ("lib", "lib64")]
    # Of this Python, of its user, of Debian.
    names = ("site-packages", "dist-packages")
    packages = [path for path in map(Path, sys.path) if path.name in names]
    # Some installers link to what several environments share.
    entries = [one for path in packages if path.is_dir() for one in path.iterdir()]
    linked = [one.resolve() for one in entries if one.is_symlink()]
    system = [Path(path) for path in _SYSTEM]
    # Of a cluster's modules, say; the variable may also name a home.
    listed = map(Path, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
    others = [path for path in listed if path.is_absolute() and "/lib" in str(path)]
    return [*ours, *libraries, *packages, *linked, *system, *others]


def _expect_no_folder() -> None:
    """Lets packages be imported that look for a folder to write in."""
    tempfile.tempdir = NOWHERE
    # PyTorch wants to make this one, and is content that it is there.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/"
    # PyTorch's build for CUDA asks for libdl when it is imported, which would have gcc write a
    # file; it goes on without an answer.
    ctypes.util.find_library = lambda name: None
    # It fails without one, and Keras, which imports it where it is, doesn't need it.
    sys.modules["matplotlib"] = None  # type: ignore[assignment]


def _limit(memory: int) -> None:
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    stack = _LARGEST_STACK if stack == resource.RLIM_INFINITY else min(stack, _LARGEST_STACK)
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    limits = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_STACK: stack,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: min(open_files, _MOST_OPEN_FILES),
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Leaves root, who owns the machine, no more than any user has."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    # Twice: effective, permitted and inheritable, of 32 capabilities each.
    held = (ctypes.c_uint32 * 6)()
    libc.capget(header, held)
    kept = (ctypes.c_uint32 * 6)()
    kept[0] = kept[1] = held[1] & 1 << _CAP_DAC_READ_SEARCH
    if libc.capset(header, kept) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities of root can't be given up")


def bubblewrap_works() -> bool:
    """Whether it is installed and lets this user make a file system of their own."""
    if shutil.which("bwrap") is None:
        return False
    # Where a distribution forbids namespaces to users, it is installed and fails.
    trial = bubblewrap([sys.executable, "-I", "-S", "-c", ""], [])
    return subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
