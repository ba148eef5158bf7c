"""What can happen to a file of a run: each damage is done to a file, in place."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, Path], None]


def truncated(path: Path, other: Path) -> None:
    """Its first half is left."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_at_a_line(path: Path, other: Path) -> None:
    """Its last line is gone; of a file of one line, nothing is left."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def empty(path: Path, other: Path) -> None:
    """It has no bytes."""
    path.write_bytes(b"")


def zeros_inside(path: Path, other: Path) -> None:
    """Up to 2,000 bytes in its middle are zero."""
    content = bytearray(path.read_bytes())
    middle, some = len(content) // 2, min(2000, len(content) // 3)
    content[middle : middle + some] = bytes(some)
    path.write_bytes(content)


def halves_swapped(path: Path, other: Path) -> None:
    """Its second half comes first."""
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[middle:] + content[:middle])


def a_digit_changed(path: Path, other: Path) -> None:
    """One digit in its middle is another one; where there is none, one bit."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content)):
        if content[place : place + 1].isdigit():
            content[place] = ord("0") + (content[place] - ord("0") + 1) % 10
            break
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


def no_text(path: Path, other: Path) -> None:
    """It holds bytes that are no text."""
    path.write_bytes(b"\xff\xfe\x00\x80" * 50)


def null(path: Path, other: Path) -> None:
    """It holds the JSON and YAML value null, as a line."""
    path.write_bytes(b"null\n")


def a_list(path: Path, other: Path) -> None:
    """It holds JSON of another kind."""
    path.write_bytes(b"[[[1, 2], {}], null]\n")


def aliases(path: Path, other: Path) -> None:
    """It holds a few lines that stand for gigabytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path.write_text("\n".join(lines) + "\n")


def of_another_run(path: Path, other: Path) -> None:
    """It is the file of the same name of another run."""
    if other.exists():
        shutil.copyfile(other, path)
    else:
        path.write_bytes(b"of another run\n")


def a_link(path: Path, other: Path) -> None:
    """It is a link to a file outside."""
    outside = path.parent.parent / f"outside-{path.name}"
    path.replace(outside)
    path.symlink_to(outside)


def a_link_to_nothing(path: Path, other: Path) -> None:
    """It is a link to a file that is not there."""
    path.unlink()
    path.symlink_to(path.parent.parent / "nowhere" / path.name)


def a_folder(path: Path, other: Path) -> None:
    """A folder has its name."""
    path.unlink()
    path.mkdir()
    (path / "mine.txt").write_text("mine")


def a_pipe(path: Path, other: Path) -> None:
    """A pipe has its name: who reads it waits for ever."""
    path.unlink()
    os.mkfifo(path)


def missing(path: Path, other: Path) -> None:
    """It is gone."""
    path.unlink()


ALL: dict[str, Damage] = {
    one.__name__.replace("_", " "): one
    for one in (
        *(truncated, cut_at_a_line, empty, zeros_inside, halves_swapped, a_digit_changed),
        *(no_text, null, a_list, aliases, of_another_run),
        *(a_link, a_link_to_nothing, a_folder, a_pipe, missing),
    )
}
