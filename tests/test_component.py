from fractions import Fraction
from typing import Any

import pytest
from helpers import refused

from skewlab.component import build, check_arguments, configured, target_of

# Takes (image_shape, classes) from the program and `hidden` from the user.
MLP = "skewlab.models.small.mlp"


@pytest.mark.parametrize(
    ("component", "positional"),
    [
        ({"_target_": MLP}, 2),
        ({"_target_": MLP, "name": "mlp", "hidden": [8, 4]}, 2),
        ({"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9}, 1),
        ({"_target_": "logging.basicConfig", "anything": 1}, 0),  # takes any keyword
        ({"_target_": "types.SimpleNamespace", "anything": 1}, 0),  # does not tell what it takes
    ],
)
def test_arguments_of_the_target_are_accepted(component: dict[str, Any], positional: int) -> None:
    check_arguments(component, "part", positional)


def test_unknown_argument_is_refused_with_a_suggestion() -> None:
    component = {"_target_": MLP, "hiden": 8}
    message = refused(lambda: check_arguments(component, "model", positional=2))
    assert message == "model.hiden=8: no such key; did you mean hidden? allowed: hidden"


def test_argument_that_the_program_gives_is_not_the_users() -> None:
    component = {"_target_": MLP, "classes": 3}
    message = refused(lambda: check_arguments(component, "model", positional=2))
    assert message.startswith("model.classes=3: no such key")


def test_missing_argument_is_named() -> None:
    component = {"_target_": "skewlab.data.sources.arrays"}
    message = refused(lambda: check_arguments(component, "data.source", positional=0))
    assert message == "data.source.path: must be given; skewlab.data.sources.arrays needs it"


def test_build_puts_the_programs_arguments_before_the_configured() -> None:
    component = {"_target_": "fractions.Fraction", "name": "third", "denominator": 6}
    assert build(component, 2, key="part") == Fraction(1, 3)
    assert configured(component, "part")(3) == Fraction(1, 2)


def test_target_may_be_a_method() -> None:
    assert target_of({"_target_": "fractions.Fraction.from_float"}, "part")(0.25) == Fraction(1, 4)


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "nowhere",
        "nowhere.at.all",
        "skewlab.models.small.mpl",
        "skewlab.models.smal.mlp",
        "skewlab.models.small",
        "math.pi",
        "not a path",
        "skewlab..models",
    ],
)
def test_path_of_nothing_that_can_be_called_is_refused(path: str) -> None:
    message = refused(lambda: target_of({"_target_": path}, "model"))
    assert message.startswith(f"model._target_={path}: must be")
