"""What every test may rely on."""

import signal

# A shell's background jobs, and what nohup starts, ignore these, and so would every process that a
# test starts and then interrupts.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)
