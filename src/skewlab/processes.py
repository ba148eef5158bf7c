"""Processes of this machine."""

import os


def lives(number: int) -> bool:
    """Whether there is a process of this number; True where nobody can tell."""
    if os.name != "posix":  # on Windows this os.kill would end the process
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True
