"""Imported first by the programs: what they need before anything else.

While they import the rest, Ctrl-C ends them in one line: Python would raise an exception in the
midst of some library, which may make another one of it. And what was closed of input and output
leads nowhere: the next file that is opened would take its place.
"""

import os
import signal
import sys


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


def _open_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115


_open_streams()
# Whoever started us may have had it ignored.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
