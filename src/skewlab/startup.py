"""Imported first by the programs: while they import the rest, Ctrl-C ends them in one line.

Python would raise an exception in the midst of some library, which may make another one of it.
"""

import os
import signal


def _end(number: int, frame: object) -> None:
    try:
        os.write(2, b"stopped\n")
    except OSError:  # nobody reads it
        pass
    finally:
        os._exit(128 + number)


def imported() -> None:
    """Have Ctrl-C raise KeyboardInterrupt again: from here on there is something to tidy up."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Whoever started us may have had it ignored.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
