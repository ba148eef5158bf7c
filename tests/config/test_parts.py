from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from helpers import refused
from numpy.typing import NDArray

from skewlab.config.parts import build, check_arguments, configured, target_of

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


def untyped(counts: Any, epsilon=1.0, layers=(1, 2)):  # type: ignore[no-untyped-def]
    """A loss as forks write it."""


def wrongly_typed(counts: Any, rate: float = None, of: "int | Nowhere" = 1) -> None:  # noqa: F821, RUF013
    """Types that are not kept, or are not there."""


def typed(
    counts: Any, rate: float, sizes: Sequence[int] = (), weights: NDArray[Any] | None = None
) -> None:
    """Types as skewlab has them."""


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("untyped", {"epsilon": 2, "layers": [3]}),
        ("untyped", {"epsilon": "anything"}),
        ("wrongly_typed", {"rate": None, "of": 3}),
        ("typed", {"rate": 1, "sizes": [1, 2], "weights": [0.5, 0.5]}),
        ("typed", {"rate": "1e-3"}),
    ],
)
def test_values_that_a_target_may_take_are_accepted(target: str, arguments: dict[str, Any]) -> None:
    check_arguments({"_target_": f"{__name__}.{target}", **arguments}, "part", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rate": "fast"}, "part.rate=fast: must be of type float"),
        ({"rate": None}, "part.rate=None: must be of type float"),
        ({"rate": 1.0, "sizes": [1.5]}, "part.sizes=[1.5]: must be of type Sequence[int]"),
    ],
)
def test_values_of_another_type_are_refused(arguments: dict[str, Any], said: str) -> None:
    component = {"_target_": f"{__name__}.typed", **arguments}
    assert refused(lambda: check_arguments(component, "part", 1)) == said
