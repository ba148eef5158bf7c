from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
import torch
from helpers import refused
from numpy.typing import NDArray
from omegaconf import DictConfig, ListConfig

from skewlab.config.parts import build, check_arguments, configured, target_of
from skewlab.errors import ConfigError

# Takes (image_shape, classes) from the program and `hidden` from the user.
MLP = "skewlab.models.small.mlp"


@pytest.mark.parametrize(
    ("part", "positional"),
    [
        ({"_target_": MLP}, 2),
        ({"_target_": MLP, "name": "mlp", "hidden": [8, 4]}, 2),
        ({"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9}, 1),
        ({"_target_": "logging.basicConfig", "anything": 1}, 0),  # takes any keyword
        ({"_target_": "types.SimpleNamespace", "anything": 1}, 0),  # does not tell what it takes
    ],
)
def test_arguments_of_the_target_are_accepted(part: dict[str, Any], positional: int) -> None:
    check_arguments(part, "part", positional)


def test_unknown_argument_is_refused_with_a_suggestion() -> None:
    part = {"_target_": MLP, "hiden": 8}
    message = refused(lambda: check_arguments(part, "model", positional=2))
    assert message == "model.hiden=8: no such key; did you mean hidden? allowed: hidden"


def test_argument_that_the_program_gives_is_not_the_users() -> None:
    part = {"_target_": MLP, "classes": 3}
    message = refused(lambda: check_arguments(part, "model", positional=2))
    assert message.startswith("model.classes=3: no such key")


def test_missing_argument_is_named() -> None:
    part = {"_target_": "skewlab.data.sources.arrays"}
    message = refused(lambda: check_arguments(part, "data.source", positional=0))
    assert message == "data.source.path: must be given; skewlab.data.sources.arrays needs it"


def test_build_puts_the_programs_arguments_before_the_configured() -> None:
    part = {"_target_": "fractions.Fraction", "name": "third", "denominator": 6}
    assert build(part, 2, key="part") == Fraction(1, 3)
    assert configured(part, "part")(3) == Fraction(1, 2)


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
    part = {"_target_": f"{__name__}.typed", **arguments}
    assert refused(lambda: check_arguments(part, "part", 1)) == said


class Block:
    """Something that is built inside of something else."""

    def __init__(self, width: int, inner: Any = None) -> None:
        self.width, self.inner = width, inner


def echo(*given: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a part is called with."""
    return given, named


BLOCK, ECHO = f"{__name__}.Block", f"{__name__}.echo"


def test_nested_parts_are_built_before_the_part_itself() -> None:
    part = {
        "_target_": BLOCK,
        "width": 1,
        "inner": {
            "_target_": BLOCK,
            "width": 2,
            "inner": [{"_target_": BLOCK, "width": 3}, {"of": {"_target_": BLOCK, "width": 4}}],
        },
    }
    check_arguments(part, "part", 0)
    built = build(part, key="part")
    one, other = built.inner.inner[0], built.inner.inner[1]["of"]
    assert [block.width for block in (built, built.inner, one, other)] == [1, 2, 3, 4]
    assert {type(block) for block in (built, built.inner, one, other)} == {Block}


def test_each_call_of_a_configured_part_is_a_part_of_its_own() -> None:
    made = configured({"_target_": BLOCK, "width": 1}, "part")
    assert made() is not made()


def test_an_optimizer_as_in_lightnings_template() -> None:
    """`_partial_: true` is what such a file has, and is done here in any case."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    part = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.5, "weight_decay": 0.25}
    check_arguments(part, "optimizer", 1)
    optimizer = build(part, [parameter], key="optimizer")
    assert isinstance(optimizer, torch.optim.Adam)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)
    assert group["params"][0] is parameter


def test_a_nested_partial_waits_for_the_rest_of_its_arguments() -> None:
    """The template's module has its optimizer so: who builds it gives the parameters."""
    optimizer = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.5}
    part = {"_target_": ECHO, "optimizer": optimizer}
    check_arguments(part, "module", 0)
    _, named = build(part, key="module")
    made = named["optimizer"]([torch.nn.Parameter(torch.zeros(1))])
    assert made.param_groups[0]["lr"] == 0.5
    misspelt = {**part, "optimizer": {**optimizer, "lrr": 1}}
    message = refused(lambda: check_arguments(misspelt, "module", 0))
    assert message.startswith("module.optimizer.lrr=1: no such key; did you mean lr?")


def test_lists_and_mappings_are_pythons_own_unless_the_part_wants_hydras() -> None:
    values = {"sizes": [1, [2]], "names": {"a": {"b": 1}}}
    _, own = build({"_target_": ECHO, **values}, key="part")
    assert own == values
    assert (type(own["sizes"]), type(own["sizes"][1])) == (list, list)
    assert (type(own["names"]), type(own["names"]["a"])) == (dict, dict)
    _, hydras = build({"_target_": ECHO, "_convert_": "none", **values}, key="part")
    assert (type(hydras["sizes"]), type(hydras["names"])) == (ListConfig, DictConfig)


def test_arguments_by_position() -> None:
    part = {"_target_": "fractions.Fraction", "_args_": [2, 6]}
    check_arguments(part, "part", 0)
    assert build(part, key="part") == Fraction(1, 3)


def test_what_the_program_gives_comes_after_arguments_by_position() -> None:
    """As in a call of what Hydra makes of `_partial_`."""
    part = {"_target_": "fractions.Fraction", "_args_": [6]}
    assert build(part, 2, key="part") == Fraction(3, 1)


def test_parts_that_are_not_built_here_are_not_held_against_anything() -> None:
    inner = {"_target_": "torch.optim.SGD", "lr": 0.1}  # whoever builds it gives the parameters
    part = {"_target_": ECHO, "_recursive_": False, "inner": inner}
    check_arguments(part, "part", 0)
    _, named = build(part, key="part")
    assert named["inner"] == inner


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (
            {"_target_": BLOCK, "widht": 2},
            "part.inner.widht=2: no such key; did you mean width? allowed: inner, width",
        ),
        ({"_target_": BLOCK}, f"part.inner.width: must be given; {BLOCK} needs it"),
        ({"_target_": BLOCK, "width": "far"}, "part.inner.width=far: must be of type int"),
        (
            {"_target_": f"{__name__}.Blok", "width": 2},
            f"part.inner._target_={__name__}.Blok: must be the path of a function or class",
        ),
        (
            {"_target_": BLOCK, "width": 2, "inner": {"_target_": BLOCK, "widht": 2}},
            "part.inner.inner.widht=2: no such key; did you mean width?",
        ),
        (
            [{"_target_": BLOCK, "width": 2}, {"_target_": BLOCK, "widht": 2}],
            "part.inner.1.widht=2: no such key; did you mean width?",
        ),
        (
            {"first": {"_target_": BLOCK, "widht": 2}},
            "part.inner.first.widht=2: no such key; did you mean width?",
        ),
    ],
)
def test_mistakes_in_a_nested_part_are_named_by_their_place(inner: Any, said: str) -> None:
    part = {"_target_": BLOCK, "width": 1, "inner": inner}
    assert refused(lambda: check_arguments(part, "part", 0)).startswith(said)


def test_what_a_nested_part_refuses_is_one_line() -> None:
    part = {
        "_target_": BLOCK,
        "width": 1,
        "inner": {"_target_": "fractions.Fraction", "_args_": [1, 0]},
    }
    message = refused(lambda: build(part, key="part"))
    assert message.startswith("part: cannot be built: ")
    assert "Fraction(1, 0)" in message


class Base:
    def __init__(self, rate: float, depth: int = 2) -> None:
        self.rate, self.depth = rate, depth


class HandsOn(Base):
    def __init__(self, factor: float = 1.0, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.factor = factor


def test_arguments_that_a_class_hands_on_are_those_of_its_base() -> None:
    part = {"_target_": f"{__name__}.HandsOn", "depth": 3}
    check_arguments(part, "module", 0)
    with pytest.raises(ConfigError, match=r"module\.factr=3: no such key; did you mean factor"):
        check_arguments({**part, "factr": 3}, "module", 0)
