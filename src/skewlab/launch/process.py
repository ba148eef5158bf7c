"""What a process takes besides its work: to read PyTorch and Lightning at its start, and to take
them apart at its end. Each is a second or two."""

import atexit
import contextlib
import gc
import importlib
import os
import sys
import threading
from typing import NoReturn


def read_module(name: str) -> None:
    """Import a module that has hundreds of others below it, if it is not there yet.

    Python looks for garbage again and again while so much is being made, which takes a fifth of the
    time, and would once more afterwards, in vain: modules stay.

    Args:
        name: its path, such as `skewlab.training.run`.
    """
    if name in sys.modules:
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module(name)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)
        if collects:
            gc.enable()


def end_process(code: int) -> NoReturn:
    """End this process as Python does, but for taking apart every module that it has read: wait for
    its threads, do what was left to be done at its end, write what was printed.

    Args:
        code: the exit code.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
