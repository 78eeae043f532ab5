"""Time-budgeted training of a disentangled representation, and its export for the challenge."""

import sys

# What `python -m` puts there while it looks for the module, whose packages may import others first.
if sys.argv[:1] == ["-m"]:
    # `signal` itself imports others, which a Ctrl-C would end with a traceback.
    import _signal  # type: ignore[import-not-found]

    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

    from submission.packages import tell_missing

    tell_missing()

    # After that, since an old Python can't read it. The imports of a command take seconds.
    from submission.interruption import Interruption

    Interruption(at_once=True).install()
