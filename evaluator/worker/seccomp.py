"""The system calls that a model's process may make, as a seccomp filter of the kernel's.

It is a list of what computing takes, since what isn't known can't be named: all else fails with
EPERM, or, newer than Linux 5.1, with ENOSYS, at which libraries fall back to an older call. So
there is no exec, fork, socket, ptrace, mount, keyctl, bpf, io_uring, shared memory, no change of a
file or of its metadata, and no way to another process.
"""

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

# Name: number on x86_64, number on aarch64. From Linux's unistd_64.h and asm-generic/unistd.h.
_FREE: dict[str, tuple[int | None, int | None]] = {
    # Open descriptors, sockets among them: none is made, connected or bound.
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "lseek": (8, 62),
    "close": (3, 57),
    "close_range": (436, 436),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "eventfd2": (290, 19),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "shutdown": (48, 210),
    "getsockopt": (55, 209),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    # Files, which Landlock or bubblewrap confines.
    "stat": (4, None),
    "lstat": (6, None),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fadvise64": (221, 223),
    "umask": (95, 166),
    # Memory.
    "brk": (12, 214),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "mincore": (27, 232),
    "msync": (26, 227),
    "mbind": (237, 235),
    "get_mempolicy": (239, 236),
    "set_mempolicy": (238, 237),
    "pkey_alloc": (330, 289),
    "pkey_free": (331, 290),
    "pkey_mprotect": (329, 288),
    # Threads, and signals among them.
    "exit": (60, 93),
    "exit_group": (231, 94),
    "futex": (202, 98),
    "futex_waitv": (449, 449),
    "membarrier": (324, 283),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "arch_prctl": (158, None),
    "restart_syscall": (219, 128),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126),
    "getcpu": (309, 168),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    "pause": (34, None),
    "alarm": (37, None),
    "setitimer": (38, 103),
    "getitimer": (36, 102),
    # Questions.
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "time": (201, None),
    "times": (100, 153),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "getrandom": (318, 278),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
}


@dataclass(frozen=True)
class _Condition:
    """When a call is allowed, by the low 32 bits of an argument, all that these calls look at.

    Attributes:
        argument: Its place, from 0.
        values: What it may be, or, with `refused`, what it may not be.
        mask: Which of its bits count.
        refused: Whether the values are those refused.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF
    refused: bool = False


def _conditional(writes: bool) -> dict[str, tuple[int | None, int | None, tuple[_Condition, ...]]]:
    own = _Condition(0, (os.getpid(),))
    of_caller = _Condition(0, (0,))
    reading = 0 if writes else os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
    # CLONE_THREAD, without which it would be a fork.
    thread = _Condition(0, (0x10000,), mask=0x10000)
    # Memory that RLIMIT_DATA doesn't count: MAP_SHARED | MAP_ANONYMOUS, and MAP_GROWSDOWN.
    counted = (
        _Condition(3, (0x21,), mask=0x21, refused=True),
        _Condition(3, (0x100,), mask=0x100, refused=True),
    )
    # Not F_SETOWN, with which the kernel sends signals to others, nor locks.
    copies_and_flags = _Condition(1, (0, 1, 2, 3, 4, 1030))
    # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX; not TIOCSTI, which types for the
    # user.
    harmless = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
    ioctl = _Condition(1, harmless)
    # PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ,
    # PR_GET_NO_NEW_PRIVS, PR_SVE_GET_VL, PR_SME_GET_VL, PR_SET_VMA.
    prctl = _Condition(0, (2, 3, 15, 16, 23, 39, 51, 64, 0x53564D41))
    return {
        "open": (2, None, (_Condition(1, (0,), mask=reading),)),
        "openat": (257, 56, (_Condition(2, (0,), mask=reading),)),
        "mmap": (9, 222, counted),
        "clone": (56, 220, (thread,)),
        "fcntl": (72, 25, (copies_and_flags,)),
        "ioctl": (16, 29, (ioctl,)),
        "prctl": (157, 167, (prctl,)),
        "kill": (62, 129, (own,)),
        "tgkill": (234, 131, (own,)),
        "prlimit64": (302, 261, (of_caller,)),
        "sched_setaffinity": (203, 122, (of_caller,)),
    }


# How `platform` calls a machine: where its numbers stand above, and AUDIT_ARCH of <linux/audit.h>.
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# Since Linux 5.1, all machines give new calls the same numbers, from here on.
_FIRST_NEW = 424

# From <linux/filter.h> and <linux/seccomp.h>: an instruction is a code, two jumps and a constant.
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]


def is_known() -> bool:
    """Whether the numbers of this machine's system calls stand here."""
    return platform.system() == "Linux" and platform.machine() in _MACHINES


def restrict(writes: bool = False) -> None:
    """Restricts this thread, and those that it will start, to the calls above, for good.

    Args:
        writes: Whether a file may be opened for writing, as far as others than this filter allow.

    Raises:
        OSError: The kernel has no seccomp filters, or `PR_SET_NO_NEW_PRIVS` is not set.
    """
    program = _program(writes)
    code = b"".join(struct.pack("=HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    filter_ = Program(len(program), ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp is refused")


def _program(writes: bool) -> list[Instruction]:
    column, architecture = _MACHINES[platform.machine()]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        # What the processor can do besides, as x86_64 the calls of 32 bits, has other numbers.
        (_IF_EQUAL, 1, 0, architecture),
        _fail(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for numbers in _FREE.values():
        number = numbers[column]
        if number is not None:
            program += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for *numbers_, conditions in _conditional(writes).values():
        number = numbers_[column]
        if number is not None:
            checks = [step for one in conditions for step in _check(one)]
            checks.append((_RETURN, 0, 0, _ALLOW))
            program += [(_IF_EQUAL, 0, len(checks), number), *checks]
    program += [(_IF_AT_LEAST, 0, 1, _FIRST_NEW), _fail(errno.ENOSYS), _fail(errno.EPERM)]
    return program


def _check(condition: _Condition) -> list[Instruction]:
    """Goes on behind itself if the condition holds."""
    values = condition.values
    steps = [
        (_LOAD, 0, 0, _ARGUMENTS + 8 * condition.argument),
        (_AND, 0, 0, condition.mask),
    ]
    for index, value in enumerate(values):
        left = len(values) - 1 - index
        if condition.refused:
            # To the failure behind the last one, or over it.
            steps.append((_IF_EQUAL, left, 0 if left else 1, value))
        else:
            steps.append((_IF_EQUAL, left + 1, 0, value))
    return [*steps, _fail(errno.EPERM)]


def _fail(number: int) -> Instruction:
    return (_RETURN, 0, 0, _FAIL | number)
