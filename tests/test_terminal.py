"""What is logged reaches the terminal and the run's log file, and printing never fails."""

import contextlib
import io
import logging
import os
import re
import signal
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from program import ROOT, TINY

from skewlab import terminal
from skewlab.terminal import LOGGED, ProgressLine, log_file, note

RECALLS = {
    f"{split}/recall/{group}": 0.5
    for split in ("train", "test")
    for group in ("majority", "minority")
}
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")


def lines(path: Path) -> list[str]:
    """The file's lines, without their time."""
    read = path.read_text(encoding="utf-8").splitlines()
    assert all(STAMP.match(line) for line in read)
    return [STAMP.sub("", line) for line in read]


def test_a_note_is_printed_bare_and_logged_with_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note("before")
    for text in ("größer", "again"):  # opened twice, as by a run that is resumed
        with log_file(tmp_path / "run.log"):
            note(text)
            logging.getLogger("skewlab.data").warning("two of %d", 3)
            logging.getLogger("skewlab").debug("a detail")
    note("after")
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        *("before", "größer", "two of 3", "again", "two of 3", "after")
    ]
    assert not printed.out
    assert lines(tmp_path / "run.log") == [
        "INFO skewlab: größer",
        "WARNING skewlab.data: two of 3",
        "INFO skewlab: again",
        "WARNING skewlab.data: two of 3",
    ]


def test_verbose_keeps_details(tmp_path: Path) -> None:
    with log_file(tmp_path / "run.log", verbose=True):
        for name in LOGGED:
            logging.getLogger(name).debug("a detail")
    assert lines(tmp_path / "run.log") == [f"DEBUG {name}: a detail" for name in LOGGED]


@pytest.mark.slow
def test_lightning_prints_only_warnings_but_all_is_in_the_file(tmp_path: Path) -> None:
    """In a process of its own, where Lightning has its usual handler."""
    program = """
import sys, warnings
from pathlib import Path
from skewlab.terminal import log_file
with log_file(Path(sys.argv[1])):
    from pytorch_lightning.utilities.rank_zero import rank_zero_info
    import logging
    rank_zero_info("GPU available")
    logging.getLogger("pytorch_lightning.trainer").warning("too few batches")
    warnings.warn("old argument")
rank_zero_info("printed again")
warnings.warn("and this")
"""
    path = tmp_path / "run.log"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines() == [
        "too few batches",
        "<string>:10: UserWarning: old argument",
        "printed again",
        "<string>:12: UserWarning: and this",
    ]
    assert lines(path) == [
        "INFO pytorch_lightning.utilities.rank_zero: GPU available",
        "WARNING pytorch_lightning.trainer: too few batches",
        "WARNING py.warnings: <string>:10: UserWarning: old argument",
    ]


def test_all_is_as_before_afterwards(tmp_path: Path) -> None:
    import pytorch_lightning  # noqa: F401

    def state() -> list[object]:
        loggers = [logging.getLogger(name) for name in LOGGED]
        handlers = [handler for logger in loggers for handler in logger.handlers]
        return [
            [logger.level for logger in loggers],
            [(handler, handler.level) for handler in handlers],
            warnings.showwarning,
        ]

    logging.captureWarnings(False)
    before = state()
    with contextlib.suppress(KeyError), log_file(tmp_path / "run.log", verbose=True):
        assert state() != before
        raise KeyError
    assert state() == before


def test_a_silenced_process_writes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_silent", False)  # put back at the end
    terminal.silence()
    with log_file(tmp_path / "run.log"):
        note("nobody hears this")
    assert not (tmp_path / "run.log").exists()
    assert not capsys.readouterr().err


def test_a_file_gets_some_lines_and_the_log_file_one_for_each_epoch(tmp_path: Path) -> None:
    out = io.StringIO()
    line = ProgressLine("[1/1] seed 0", 12, out)
    with log_file(tmp_path / "run.log"):
        for epoch in range(1, 13):
            line.step()
            line.show(epoch, RECALLS)
    logged = lines(tmp_path / "run.log")
    assert [text.partition("  recall")[0] for text in logged] == [
        f"INFO skewlab.progress: [1/1] seed 0  epoch {epoch}/12" for epoch in range(1, 13)
    ]
    assert re.findall(r"epoch (\d+)/12", out.getvalue()) == ["2", "4", "6", "8", "10", "12"]
    assert "\r" not in out.getvalue()


@contextlib.contextmanager
def a_terminal(columns: int) -> Iterator[tuple[TextIO, Callable[[], str]]]:
    """A real terminal: the end that a program writes to, and what stands there in the end."""
    fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))
    terminal_end, programs_end = pty.openpty()
    fcntl.ioctl(programs_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def printed() -> str:
        stream.close()
        # It arrives piece by piece, and an error says that there is no more.
        found = b""
        with contextlib.suppress(OSError):
            while piece := os.read(terminal_end, 100_000):
                found += piece
        return found.decode()

    with os.fdopen(programs_end, "w", encoding="utf-8") as stream:
        yield stream, printed
    os.close(terminal_end)


LONG_LABEL = "[10/45] method balanced_softmax ratio 100 seed 14"


@pytest.mark.parametrize("label", ["[1/9] ratio 100 seed 0", LONG_LABEL])
@pytest.mark.parametrize("columns", [60, 70, 80, 100, 120, 140, 200])
def test_the_line_fits_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, label: str
) -> None:
    monkeypatch.setenv(terminal.COMMAND_VARIABLE, str(os.getpid()))
    monkeypatch.setenv(terminal.SWEPT_VARIABLE, "method,ratio,seed")
    with a_terminal(columns) as (stream, printed), log_file(tmp_path / "run.log"):
        line = ProgressLine(label, 3, stream)
        line.begin(0, batches=2)
        for epoch in (1, 2, 3):
            line.step()
            line.step()
            line.show(epoch, dict.fromkeys(RECALLS, 1.0))
        said = printed()
    assert len(lines(tmp_path / "run.log")) == 3
    shown = [re.sub(r"\x1b\[[0-9;]*\w", "", text) for text in re.split(r"[\r\n]+", said)]
    assert max(map(len, shown)) <= columns
    number = label.partition(" ")[0]
    live = [text.rstrip() for text in shown if "run: " in text]
    assert re.search(r"\b0/3 .*run: ", live[0]), "there is something before the first epoch ends"
    for text in live:
        assert re.fullmatch(rf"{re.escape(number)} .*run: (\?|[\d:]+) left", text)
        between = re.search(r"( *[█-▏]* *)run:", text)
        assert between
        assert len(between[1]) == 1 or (len(between[1]) >= 10 and len(text) == columns)
    assert re.fullmatch(
        rf"{re.escape(number)} .*3/3 .*test (100/100%|majority 1.00 minority 1.00)  took 0:00",
        shown[-2],
    )


@pytest.mark.parametrize(
    ("columns", "swept", "label", "recalls"),
    [
        (140, "method", LONG_LABEL, "train 50/50% test 50/50%"),
        (95, "method,ratio", LONG_LABEL[:-8], "train 50/50% test 50/50%"),
        (95, "method", LONG_LABEL[:-18], "train 50/50% test 50/50%"),
        (80, "method,ratio", "[10/45] method bala... ratio 100", "train 50/50% test 50/50%"),
        (65, "method,ratio", "[10/45] method bal...ratio 100", "test 50/50%"),
    ],
)
def test_a_line_is_shortened_step_by_step(
    monkeypatch: pytest.MonkeyPatch, columns: int, swept: str, label: str, recalls: str
) -> None:
    """Words become pairs; what all jobs share is left out; the label is cut; at last train goes."""
    monkeypatch.setenv(terminal.SWEPT_VARIABLE, swept)
    with a_terminal(columns) as (stream, printed):
        ProgressLine(LONG_LABEL, 1, stream).show(1, RECALLS)
        assert printed() == f"{label} 1/1 maj/min {recalls}  took 0:00\r\n"


def test_a_finished_run_says_how_long_the_others_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the mean time of a run: of three, after one in 100 minutes, two more take 200."""
    for variable in ("JOBS", "SWEPT", "LEFT_OUT", "COMMAND"):  # put back at the end
        monkeypatch.setenv(f"SKEWLAB_{variable}", "")
    runs = [Path("a"), Path("b"), Path("c")]
    terminal.announce(5, ahead=runs)
    monkeypatch.setattr(terminal, "_announced", time.monotonic() - 6000)
    said = []
    for run in (*runs, Path("of another process"), None):
        out = io.StringIO()
        ProgressLine("[1/5] seed 0", 1, out, run).show(1, RECALLS)
        said.append(out.getvalue().partition("took 0:00")[2])
    terminal.announce(1)
    assert re.fullmatch(r", about 3:20:0\d for the other 2\n", said[0])
    assert re.fullmatch(r", about 50:0\d for the last one\n", said[1])
    assert said[2:] == ["\n", "\n", "\n"]


SENTENCE = (
    "claim 3: 12 supported, 0 refuted, 3 refuted, 1 not applicable; what failed is in "
    "/home/somebody/studies/supported/logs/default/report/index.html"
)
COMMAND = "python train.py -m ratio=1,10,100 seed=0,1,2,3,4 trainer.max_epochs=60 method=ce"


def test_a_sentence_is_wrapped_and_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with a_terminal(40) as (stream, printed):
        monkeypatch.setattr(sys, "stdout", stream)
        print(terminal.paragraph(f"  {SENTENCE}:", COMMAND))
        monkeypatch.undo()
        *prose, path, copied, end = printed().split("\r\n")
    assert (path.strip(), copied.strip(), end) == (f"{SENTENCE.split()[-1]}:", COMMAND, "")
    assert all(text.startswith(" " * 6) for text in (*prose[1:], path, copied))
    assert all(len(re.sub(r"\x1b\[\d+m", "", text)) <= 40 for text in prose)
    words = " ".join(text.strip() for text in prose)
    assert words == (
        "claim 3: 12 \x1b[32msupported\x1b[0m, 0 refuted, 3 \x1b[31mrefuted\x1b[0m, 1 "
        "\x1b[2mnot applicable\x1b[0m; what \x1b[31mfailed\x1b[0m is in"
    )


def test_a_verdict_that_is_broken_over_two_lines_is_coloured_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with a_terminal(200) as (stream, _):
        said = terminal.coloured("0\n    refuted, 10 not\n    applicable, 10 refuted", stream)
    assert said == (
        "0\n    refuted, 10 \x1b[2mnot\n    applicable\x1b[0m, 10 \x1b[31mrefuted\x1b[0m"
    )


def test_who_wants_no_colour_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with a_terminal(200) as (stream, _):
        assert terminal.coloured(SENTENCE, stream) == SENTENCE


def test_a_file_has_neither_lines_of_a_width_nor_colours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print(terminal.paragraph(SENTENCE, COMMAND))
    note(f"error: {SENTENCE}")
    printed = capsys.readouterr()
    assert printed.out == f"{SENTENCE} {COMMAND}\n"
    assert printed.err == f"error: {SENTENCE}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_file_on_a_full_disk_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with log_file(Path("/dev/full")):
        note("one")
        note("two")
    assert capsys.readouterr().err.splitlines() == ["one", "two"]


def train(logs: Path, *overrides: str, **how: Any) -> "subprocess.Popen[bytes]":
    arguments = ["train.py", "ratio=1", "model=mlp", "logger=none", f"logs_dir={logs}", *TINY]
    return subprocess.Popen(
        [sys.executable, *arguments, *overrides],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        **how,
    )


def is_done(logs: Path) -> bool:
    (status,) = logs.glob("default/*/status.json")
    return '"done"' in status.read_text() and (logs / "default" / "report" / "index.html").exists()


@pytest.mark.slow
def test_nobody_who_reads_on_is_no_error(tmp_path: Path) -> None:
    """As with `python train.py ... | head -1`, and with a terminal that was closed."""
    with train(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stderr.close()
        assert process.wait(300) == 0
    assert is_done(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.slow
def test_output_onto_a_full_disk_is_no_error(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, train(tmp_path, stdout=full, stderr=full) as process:
        assert process.wait(300) == 0
    assert is_done(tmp_path)


@pytest.mark.parametrize(
    "closed",
    [
        pytest.param((0, 1, 2), marks=pytest.mark.slow),
        pytest.param((1,), marks=pytest.mark.slow),
        pytest.param((2,), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("several", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_is_closed_of_input_and_output_is_no_error(
    tmp_path: Path, closed: tuple[int, ...], several: bool
) -> None:
    """As with `>&-`: what is opened next must not take its place."""
    with train(
        tmp_path,
        *(("hydra/launcher=joblib", "seed=0,1", "--multirun") if several else ()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: [os.close(number) for number in closed],
    ) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert b"Traceback" not in out + err
    for status in tmp_path.glob("default/*/status.json"):
        assert '"done"' in status.read_text()
    assert (tmp_path / "default" / "report" / "index.html").exists()


@pytest.mark.parametrize("ignored", [False, pytest.param(True, id="with nohup")])
@pytest.mark.slow
def test_a_terminal_that_is_closed(tmp_path: Path, ignored: bool) -> None:
    """The run stops where it can go on; with nohup it goes on."""
    fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))
    terminal_end, programs_end = pty.openpty()

    def begin() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    ends = dict.fromkeys(("stdin", "stdout", "stderr"), programs_end)
    epochs = 50 if ignored else 1000
    with train(tmp_path, f"trainer.max_epochs={epochs}", **ends, preexec_fn=begin) as process:
        os.close(programs_end)
        said = b""
        while not re.search(rb"[1-9]\d*/%d" % epochs, said):
            said += os.read(terminal_end, 10_000)
        os.close(terminal_end)
        assert process.wait(300) == (0 if ignored else 128 + signal.SIGHUP)
    (status,) = tmp_path.glob("default/*/status.json")
    assert f'"{"done" if ignored else "preempted"}"' in status.read_text()
