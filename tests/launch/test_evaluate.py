"""What eval.py answers to mistakes."""

import pytest
from program import command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=/nowhere"], "error: run=/nowhere: must be the folder of a run"),
        pytest.param(
            ["run=/nowhere", "split=all"],
            "error: split=all: must be one of train, val, test",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str) -> None:
    answered = command("eval.py", *arguments)
    assert answered.returncode == 2
    assert not answered.stdout
    (line,) = answered.stderr.splitlines()
    assert line.startswith(said)
