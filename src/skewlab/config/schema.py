"""The schema of the configuration, and its checks: everything here is cheap and imports no torch.

What a field's `description` says is what a wrong value is answered with: `key=value: must be ...`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from skewlab.config.parts import Component
from skewlab.errors import ConfigError, suggestion

OPTIONAL_PART = "a _target_ and its arguments, or null"
WHOLE = "a whole number of at least "


def _has_target(component: Component) -> Component:
    if not isinstance(component.get("_target_"), str):
        raise ValueError("must have a _target_, the path of a function or class")
    return component


def _usable_as_folder_name(name: str) -> str:
    if not name or name.startswith(".") or set(name) - set(FOLDER_CHARACTERS):
        raise ValueError("must be letters, digits, '.', '_' and '-'")
    return name


FOLDER_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
Target = Annotated[Component, AfterValidator(_has_target)]
# The choice `none` of a group leaves it empty.
Part = Annotated[Target | None, BeforeValidator(lambda part: part or None)]
FolderName = Annotated[str, AfterValidator(_usable_as_folder_name)]
Seed = Annotated[int, Field(ge=0, lt=2**31, description=WHOLE + "0 and below 2^31")]


class Section(BaseModel):
    """A group of keys; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(Section):
    """configs/data: where samples come from and how they become batches."""

    name: FolderName = Field(description="letters, digits, '.', '_' and '-'")
    source: Target = Field(description="a _target_ and its arguments")
    val_per_class: int = Field(ge=0, description=WHOLE + "0")
    batch_size: int = Field(ge=1, description=WHOLE + "1")
    crop: int = Field(ge=0, description=WHOLE + "0, in pixels")
    flip: bool = Field(description="true or false")
    workers: int = Field(ge=0, description=WHOLE + "0")


class Imbalance(Section):
    """configs/imbalance: how class counts fall."""

    profile: Literal["step", "exp", "zipf", "one_minority", "counts"] = Field(
        description="one of step, exp, zipf, one_minority, counts"
    )
    budget: Literal["majority", "total"] = Field(description="one of majority, total")
    minority_fraction: float = Field(gt=0, lt=1, description="a number between 0 and 1")
    class_order: Literal["identity", "reversed", "random"] | list[int | str] = Field(
        description="identity, reversed, random, or a list of every class once"
    )
    n_max: int | None = Field(ge=1, description=WHOLE + "1, or null")
    total: int | None = Field(ge=1, description=WHOLE + "1, or null")
    control: Literal["none", "same_total", "same_minority"] = Field(
        description="one of none, same_total, same_minority"
    )
    counts: list[Annotated[int, Field(ge=1)]] | None = Field(
        description="a list of whole numbers of at least 1, one for each class, or null"
    )


class Method(Section):
    """configs/method: what is done about imbalance."""

    name: FolderName = Field(description="letters, digits, '.', '_' and '-'")
    loss: Target = Field(description="a _target_ and its arguments")
    weights: Part = Field(None, description=OPTIONAL_PART)
    sampler: Part = Field(None, description=OPTIONAL_PART)
    mixing: Part = Field(None, description=OPTIONAL_PART)
    gradient: Part = Field(None, description=OPTIONAL_PART)
    head: Part = Field(None, description=OPTIONAL_PART)
    second_stage: Part = Field(None, description=OPTIONAL_PART)
    post_hoc: dict[str, Target] | None = Field(
        None, description="rules by name, each a _target_ and its arguments; or null"
    )

    @property
    def rules(self) -> dict[str, Component]:
        """The post-hoc rules by name; none where there are none."""
        return self.post_hoc or {}

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that there are, by name."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class Curves(Section):
    """configs/curves: when curves are evaluated, and how much of them is streamed."""

    early_epochs: int = Field(ge=0, description=WHOLE + "0")
    early_points: int = Field(ge=0, description=WHOLE + "0")
    early_per_class: int = Field(ge=1, description=WHOLE + "1")
    every_n_epochs: int = Field(ge=1, description=WHOLE + "1")
    evaluation_batch_size: int = Field(ge=1, description=WHOLE + "1")
    confusion_classes: int = Field(ge=0, description=WHOLE + "0")
    streamed_classes: int = Field(ge=0, description=WHOLE + "0")
    probes: dict[FolderName, Target] = Field(
        description="extra measurements by name, each a _target_ and its arguments; chosen as "
        "curves/probes=[gradients,geometry]"
    )


# Epochs of a run that is profiled: one between the first and the last.
LEAST_PROFILED = 3
# Of `trainer`, what has no say in a result.
NO_RESULT = ("accelerator", "strategy", "threads", "checkpoint_seconds", "profile")


class Trainer(Section):
    """configs/trainer: for how long and on what."""

    max_epochs: int = Field(ge=1, description=WHOLE + "1")
    strategy: Literal["single", "ddp"] = Field(description="one of single, ddp")
    threads: int | None = Field(ge=1, description=WHOLE + "1, or null")
    updates: Literal["own", "imbalanced", "balanced"] = Field(
        description="one of own, imbalanced, balanced"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(description="one of auto, cpu, gpu")
    precision: Annotated[Literal["32", "bf16"], BeforeValidator(str)] = Field(
        description="one of 32, bf16"
    )
    deterministic: bool = Field(description="true or false")
    checkpoint_seconds: float = Field(ge=0, description="a number of seconds, at least 0")
    profile: bool = Field(description="true or false")


class RunConfig(Section):
    """One run's whole configuration, checked."""

    ratio: float | None = Field(
        ge=1,
        description="a number of at least 1, the majority's count over the minority's "
        "(for one in a hundred write 100)",
    )
    seed: Seed
    data_seed: Seed
    init_seed: Seed
    order_seed: Seed
    study: FolderName = Field(description="letters, digits, '.', '_' and '-'")
    data_dir: str = Field(description="a folder")
    logs_dir: str = Field(description="a folder")
    objective: Literal["val/balanced_accuracy", "val/worst_class"] = Field(
        description="one of val/balanced_accuracy, val/worst_class; never of test"
    )
    overwrite: bool = Field(description="true or false")
    data: Data
    imbalance: Imbalance
    model: Target = Field(description="a _target_ and its arguments")
    method: Method
    optimizer: Target = Field(description="a _target_ and its arguments")
    scheduler: Target = Field(description="a _target_ and its arguments")
    curves: Curves
    logger: dict[str, Target] | None = Field(
        description="loggers by name, each a _target_ and its arguments; or null"
    )
    trainer: Trainer

    def scientific(self) -> dict[str, Any]:
        """The keys that can change a result: no paths of folders, no logger, no hardware."""
        kept = self.model_dump(
            exclude={"study", "data_dir", "logs_dir", "overwrite", "logger", "objective"}
        )
        kept["data"].pop("workers")
        kept["data"]["source"].pop("data_dir", None)
        # Parts that a method does without have no say in its name.
        kept["method"] = {key: part for key, part in kept["method"].items() if part}
        for key in NO_RESULT:
            kept["trainer"].pop(key)
        if self.ratio == 1:  # these controls leave a balanced run as it is
            kept["imbalance"]["control"] = "none"
            kept["trainer"]["updates"] = "own"
        return kept


def check(config: Mapping[str, Any]) -> RunConfig:
    """The checked settings of a plain, resolved configuration.

    Raises:
        ConfigError: one line a mistake: the key, its value, and what is allowed.
    """
    try:
        settings = RunConfig.model_validate(config)
    except ValidationError as error:
        raise ConfigError("\n".join(error_lines(error, config, RunConfig))) from None
    explicit = settings.imbalance.counts
    if settings.imbalance.profile == "counts":
        if not explicit:
            raise ConfigError(
                "imbalance.counts=null: must be a list of one whole number for each class"
            )
        implied = max(explicit) / min(explicit)
        if settings.ratio is not None and abs(settings.ratio / implied - 1) > 1e-9:
            raise ConfigError(
                f"ratio={settings.ratio:g}: must be left out (null) with imbalance=counts, "
                f"whose counts have the ratio {implied:g}"
            )
    elif settings.ratio is None:
        raise ConfigError("ratio=null: must be a number of at least 1, but for imbalance=counts")
    elif explicit:
        raise ConfigError(
            f"imbalance.counts={explicit}: must be null with imbalance.profile="
            f"{settings.imbalance.profile}; choose imbalance=counts"
        )
    if settings.trainer.profile:
        _check_profiled(settings.trainer)
    return settings


def _check_profiled(trainer: Trainer) -> None:
    if trainer.max_epochs < LEAST_PROFILED:
        raise ConfigError(
            f"trainer.max_epochs={trainer.max_epochs}: must be at least {LEAST_PROFILED} with "
            "trainer.profile=true, which leaves out the first and the last epoch"
        )
    if trainer.strategy != "single":
        raise ConfigError("trainer.profile=true: is of one process; leave out trainer=ddp")


def error_lines(
    error: ValidationError, config: Mapping[str, Any], schema: type[Section]
) -> list[str]:
    """pydantic's findings as lines for people: key, value, and what is allowed."""
    # A wrong seed is also the wrong data_seed that was taken from it: said once.
    lines: dict[str, str] = {}
    for line in (_line(detail, config, schema) for detail in error.errors()):
        lines.setdefault(line.partition("=")[2], line)
    return list(lines.values())


def _line(detail: ErrorDetails, config: Mapping[str, Any], schema: type[Section]) -> str:
    section: Any = schema
    value: Any = config
    path: list[str] = []
    said = ""
    for part in detail["loc"]:
        fields = getattr(section, "model_fields", {})
        if detail["type"] == "extra_forbidden" and part not in fields and fields:
            key = ".".join([*path, str(part)])
            return f"{key}={_short(detail['input'])}: no such key" + suggestion(str(part), fields)
        if part not in fields:
            break  # inside a list or a union: the field's own description says what is allowed
        path.append(str(part))
        said = fields[part].description or ""
        section = fields[part].annotation
        value = value.get(part) if isinstance(value, Mapping) else value
    key = ".".join(path)
    if detail["type"] == "missing":
        return f"{key}: must be given, {said}"
    return f"{key}={_short(value)}: must be {said}"


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
