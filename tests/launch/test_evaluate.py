"""What eval.py answers to mistakes."""

import pytest
from program import forked


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run=/nowhere"], "error: run=/nowhere: must be the folder of a run"),
        (["run=/nowhere", "split=all"], "error: split=all: must be one of train, val, test"),
        (["run=/nowhere", "splti=val"], "error: splti=val: no such key; did you mean split?"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str) -> None:
    answered = forked(*arguments, program="eval.py")
    assert answered.returncode == 2
    assert not answered.stdout
    (line,) = answered.stderr.splitlines()
    assert line.startswith(said)
