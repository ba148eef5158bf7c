"""Asked to stop: by a scheduler that wants the machine back, by Ctrl-C, or by a closed terminal."""

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

# submitit is told of a preemption or a time limit by this one, and requeues the job.
REQUEUES = getattr(signal, "SIGUSR2", None)  # not on Windows
# The terminal was closed; `nohup` has it ignored.
HANGS_UP = getattr(signal, "SIGHUP", None)
ASKS = [n for n in (signal.SIGTERM, signal.SIGINT, REQUEUES, HANGS_UP) if n is not None]
# Set in a process that a launcher gives one job after the other: it starts no more of them.
STOPPED_VARIABLE = "SKEWLAB_STOPPED"


class StopRequest:
    """Turns signals into a request that training answers at the end of a batch.

    For use in a `with` block. A second Ctrl-C does not wait. SIGUSR2 counts only where somebody
    handles it already: a launcher that requeues its jobs. SIGHUP counts unless it is ignored.

    Attributes:
        reason: who asks, None as long as nobody does.
        signal_number: the signal, if it was one.
        owns: whether the run is still this process's own.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.signal_number: int | None = None
        self.owns: Callable[[], bool] = lambda: True
        self._lost = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in ASKS}
            if REQUEUES in self._before and not callable(self._before[REQUEUES]):
                del self._before[REQUEUES]
            if HANGS_UP is not None and self._before[HANGS_UP] is signal.SIG_IGN:
                del self._before[HANGS_UP]
            self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Put the handlers in place; again where a library has put its own there."""
        for number in self._before:
            signal.signal(number, self._handle)

    def ask(self, reason: str) -> None:
        """Ask from within the program, from any thread."""
        self.reason = self.reason or reason

    def lose(self, reason: str) -> None:
        """Ask because the run is another process's by now: nothing more may be written."""
        self._lost = True
        self.ask(reason)

    @property
    def lost(self) -> bool:
        """Whether the run is another process's by now."""
        if not self._lost and not self.owns():
            self.lose("its lock was lost")
        return self._lost

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.reason is not None:
            raise KeyboardInterrupt
        self.signal_number = number
        self.ask(f"stopped by {signal.Signals(number).name}")

    @property
    def requeues(self) -> Callable[[], None] | None:
        """Hands the signal to the launcher that was waiting for it, if one was."""
        handler = self._before.get(self.signal_number or 0)
        if self.signal_number != REQUEUES or not callable(handler):
            return None
        return lambda: handler(self.signal_number, sys._getframe())

    @property
    def exit_code(self) -> int:
        """128 and the signal, as the shell has it; 1 if it was none of these."""
        return 1 if self.signal_number is None else 128 + self.signal_number
