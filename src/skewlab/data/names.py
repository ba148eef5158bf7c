"""The order of class names that are found in folders and files."""

import re


def as_read(name: str) -> list[tuple[bool, int, str]]:
    """Sorts names as people do, numbers in them as numbers: `2` before `10`, `img9` before `img10`.

    Example:
        >>> sorted(["10", "b", "9", "a10", "a9"], key=as_read)
        ['9', '10', 'a9', 'a10', 'b']
    """
    parts = re.findall(r"\d+|\D+", name)
    return [(False, int(part), part) if part.isdecimal() else (True, 0, part) for part in parts]
