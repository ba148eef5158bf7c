"""The schema of the configuration, and its checks: everything here is cheap and imports no torch.

What a field's `description` says is what a wrong value is answered with: `key=value: must be ...`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from skewlab.config.parts import Part as PartConfig
from skewlab.errors import ConfigError, suggestion

# As the data have it: a value of `ratio`, and a profile.
NATURAL = "natural"
OPTIONAL_PART = "a _target_ and its arguments, or null"
WHOLE = "a whole number of at least "


def _has_target(part: PartConfig) -> PartConfig:
    if not isinstance(part.get("_target_"), str):
        raise ValueError("must have a _target_, the path of a function or class")
    return part


# Three of them and the rest of a run's name stay below the 255 bytes that file systems take.
LONGEST_NAME = 64
NAME = f"letters, digits, '.', '_' and '-', at most {LONGEST_NAME}, the first no '.'"


def _is_name(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", text)) and len(text) <= LONGEST_NAME


def _usable_as_folder_name(name: str) -> str:
    if not _is_name(name):
        raise ValueError(f"must be {NAME}")
    return name


Target = Annotated[PartConfig, AfterValidator(_has_target)]
# The choice `none` of a group leaves it empty.
Part = Annotated[Target | None, BeforeValidator(lambda part: part or None)]
FolderName = Annotated[str, AfterValidator(_usable_as_folder_name)]
Parts = dict[FolderName, Target]
Rules = Annotated[Parts | None, BeforeValidator(lambda rules: rules or None)]
Seed = Annotated[int, Field(ge=0, lt=2**31, description=WHOLE + "0 and below 2^31")]


def _names_as_text(counts: Any) -> Any:
    """YAML takes the name `3` for a number."""
    return {str(name): n for name, n in counts.items()} if isinstance(counts, dict) else counts


class Section(BaseModel):
    """A group of keys; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


class Data(Section):
    """configs/data: where samples come from and how they become batches."""

    name: FolderName = Field(description=NAME)
    source: Target = Field(description="a _target_ and its arguments")
    val_per_class: int | None = Field(None, ge=0, description=WHOLE + "0, or null")
    val_fraction: float | None = Field(
        None, gt=0, lt=1, description="a number between 0 and 1, or null"
    )
    batch_size: int = Field(ge=1, description=WHOLE + "1")
    crop: int = Field(0, ge=0, description=WHOLE + "0, in pixels")
    flip: bool = Field(False, description="true or false")
    transform: Part = Field(None, description=OPTIONAL_PART)
    normalise: Literal["pool", "imagenet"] | list[float | list[float]] = Field(
        "pool",
        description="pool, imagenet, or [mean, std], each a number or one for each channel",
    )
    cache: str | None = Field(None, description="a folder for decoded images, or null")
    workers: int = Field(2, ge=0, description=WHOLE + "0")
    drop_last: bool = Field(False, description="true or false")


class Imbalance(Section):
    """configs/imbalance: how class counts fall."""

    profile: Literal["step", "exp", "zipf", "one_minority", "counts", "natural"] = Field(
        description="one of step, exp, zipf, one_minority, counts, natural"
    )
    budget: Literal["majority", "total"] = Field(description="one of majority, total")
    minority_fraction: float = Field(gt=0, lt=1, description="a number between 0 and 1")
    class_order: Literal["identity", "reversed", "random"] | list[int | str] = Field(
        description="identity, reversed, random, or a list of every class once"
    )
    n_max: int | None = Field(ge=1, description=WHOLE + "1, or null")
    total: int | None = Field(ge=1, description=WHOLE + "1, or null")
    control: Literal["none", "same_total", "same_minority", "swapped_roles"] = Field(
        description="one of none, same_total, same_minority, swapped_roles"
    )
    counts: (
        list[Annotated[int, Field(ge=1)]]
        | Annotated[dict[str, Annotated[int, Field(ge=1)]], BeforeValidator(_names_as_text)]
        | None
    ) = Field(
        description="whole numbers of at least 1, one for each class: a list, or by class name as "
        "{cat: 50, dog: 5}; or null"
    )
    minority: list[int | str] | None = Field(
        None, description="a list of classes, by name or number, or null"
    )
    many_above: int = Field(100, ge=1, description=WHOLE + "1")
    few_below: int = Field(20, ge=1, description=WHOLE + "1")


class Method(Section):
    """configs/method: what is done about imbalance."""

    name: FolderName = Field(description=NAME)
    loss: Target = Field(description="a _target_ and its arguments")
    weights: Part = Field(None, description=OPTIONAL_PART)
    sampler: Part = Field(None, description=OPTIONAL_PART)
    mixing: Part = Field(None, description=OPTIONAL_PART)
    gradient: Part = Field(None, description=OPTIONAL_PART)
    head: Part = Field(None, description=OPTIONAL_PART)
    second_stage: Part = Field(None, description=OPTIONAL_PART)
    algorithm: Part = Field(None, description=OPTIONAL_PART)
    post_hoc: Rules = Field(
        None, description="rules by name, each a _target_ and its arguments; or null"
    )

    @property
    def rules(self) -> dict[str, PartConfig]:
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
    streamed_class_metrics: list[str] = Field(description="a list of names of metrics")
    rankings: bool = Field(True, description="true or false")
    at_precision: float = Field(0.9, gt=0, le=1, description="a number above 0, at most 1")
    at_recall: float = Field(0.9, gt=0, le=1, description="a number above 0, at most 1")
    metrics: Parts = Field(
        description="metrics of your own by name, each a _target_ and its arguments"
    )
    probes: Parts = Field(
        description="extra measurements by name, each a _target_ and its arguments; chosen as "
        "curves/probes=[gradients,geometry]"
    )


class Trainer(BaseModel):
    """configs/trainer: the arguments of `pytorch_lightning.Trainer`, by their names.

    null leaves an argument to Lightning. What is not named here is held against the Trainer's
    signature, and given to it once, before the first job.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    max_epochs: int = Field(ge=1, description=WHOLE + "1")
    accelerator: Literal["auto", "cpu", "gpu", "cuda"] = Field(description="one of auto, cpu, gpu")
    strategy: Literal["auto", "ddp"] = Field(
        description="one of auto, ddp; other strategies are not supported"
    )

    def arguments(self) -> dict[str, Any]:
        """What is set, by name."""
        return self.model_dump(exclude_none=True)


class Training(Section):
    """configs/training: how a run is trained, besides Lightning's own arguments."""

    updates: Literal["own", "imbalanced", "balanced", "exposures"] = Field(
        description="one of own, imbalanced, balanced, exposures"
    )
    threads: int | None = Field(ge=1, description=WHOLE + "1, or null")
    checkpoint_seconds: float = Field(ge=0, description="a number of seconds, at least 0")
    cuda_graphs: Literal["auto"] | bool = Field(description="one of auto, true, false")


# Keys that have no say in a result: folders, what watches a run, and where it is trained.
NO_RESULT = frozenset(
    {"study", "data_dir", "logs_dir", "overwrite", "logger", "objective"}
    | {"report_claims", "report_sections"}
    | {"data.workers", "data.source.data_dir", "data.source.follow_links"}
    | {"data.cache", "data.source.cache"}
    | {"training.threads", "training.checkpoint_seconds", "training.cuda_graphs"}
    | {
        f"trainer.{key}"
        for key in (
            *("accelerator", "strategy", "devices", "num_nodes", "benchmark", "profiler"),
            *(
                "log_every_n_steps",
                "enable_progress_bar",
                "enable_model_summary",
                "enable_autolog_hparams",
            ),
            *(
                "num_sanity_val_steps",
                "detect_anomaly",
                "inference_mode",
                "check_val_every_n_epoch",
            ),
        )
    }
)
# Callbacks that only watch: a run with them is the same run.
WATCHING_CALLBACKS = (
    *("DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary"),
    *("ProgressBar", "RichModelSummary", "RichProgressBar", "ThroughputMonitor", "TQDMProgressBar"),
)


class RunConfig(Section):
    """One run's whole configuration, checked."""

    ratio: Annotated[float, Field(ge=1)] | Literal["natural"] | None = Field(
        description="a number of at least 1, the majority's count over the minority's "
        "(for one in a hundred write 100); or natural, with imbalance=natural",
    )
    seed: Seed
    data_seed: Seed
    init_seed: Seed
    order_seed: Seed
    study: FolderName = Field(description=NAME)
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
    logger: Parts | None = Field(
        description="loggers by name, each a _target_ and its arguments; or null"
    )
    callbacks: Parts | None = Field(
        description="Lightning callbacks by name, each a _target_ and its arguments; or null"
    )
    trainer: Trainer
    training: Training
    module: Target = Field(description="a _target_ and its arguments")
    datamodule: Target = Field(description="a _target_ and its arguments")
    from_run: str | None = Field(description="the folder of a finished run, or null")
    report_claims: list[str] = Field(description="a list of paths of claims of your own")
    # With a default: runs from before there was this key stay readable.
    report_sections: list[str] = Field([], description="a list of paths of sections of your own")

    @property
    def ratio_label(self) -> str:
        """`ratio10`, or the profile where the counts give the ratio: `counts`, `natural`."""
        if self.ratio is None or self.ratio == NATURAL:
            return self.imbalance.profile
        return f"ratio{self.ratio:g}"

    def scientific(self) -> dict[str, Any]:
        """The keys that can change a result: no paths of folders, no logger, no hardware."""
        kept: dict[str, Any] = self.model_dump()
        for key in NO_RESULT:
            section = kept
            *above, last = key.split(".")
            for part in above:
                section = section[part]
            section.pop(last, None)
        # Parts that a method does without, and arguments left to Lightning, have no say in a name.
        for group in ("method", "trainer"):
            kept[group] = {key: value for key, value in kept[group].items() if value is not None}
        kept["callbacks"] = {
            name: callback
            for name, callback in (self.callbacks or {}).items()
            if callback["_target_"].rpartition(".")[2] not in WATCHING_CALLBACKS
        }
        if self.from_run is not None:  # wherever the folder of all studies lies
            kept["from_run"] = "/".join(Path(self.from_run).resolve().parts[-2:])
        if self.data.val_fraction is not None:  # it takes the other's place
            kept["data"]["val_per_class"] = None
        if self.ratio == 1:  # most controls leave a balanced run as it is
            if self.imbalance.control != "swapped_roles":
                kept["imbalance"]["control"] = "none"
            kept["training"]["updates"] = "own"
        return kept


def checked(config: Mapping[str, Any]) -> RunConfig:
    """The run's configuration, checked.

    Args:
        config: resolved, of Python's own types.

    Raises:
        ConfigError: one line a mistake: the key, its value, and what is allowed.
    """
    try:
        run = RunConfig.model_validate(config)
    except ValidationError as error:
        raise ConfigError("\n".join(error_lines(error, config, RunConfig))) from None
    _check_names(run)
    if run.data.cache is not None and "cache" not in run.data.source:
        raise ConfigError(
            f"data.cache={run.data.cache}: must be null with data={run.data.name}, which reads no "
            "image files"
        )
    _check_imbalance(run)
    return run


def _check_imbalance(run: RunConfig) -> None:
    """Hold the keys of `imbalance`, and the ratio, against one another."""
    imbalance = run.imbalance
    profile, explicit = imbalance.profile, imbalance.counts
    if imbalance.few_below > imbalance.many_above + 1:
        raise ConfigError(
            f"imbalance.few_below={imbalance.few_below}: must be at most imbalance.many_above + 1, "
            f"which is {imbalance.many_above + 1}"
        )
    if imbalance.minority and imbalance.control == "swapped_roles":
        raise ConfigError(
            f"imbalance.minority={imbalance.minority}: must be null with control=swapped_roles, "
            "which makes the other classes the minority"
        )
    if profile == NATURAL and imbalance.control == "swapped_roles":
        raise ConfigError(
            "control=swapped_roles: has no meaning with imbalance=natural, where the data give the "
            "minority; allowed here: none, same_total, same_minority, equal_updates"
        )
    if run.ratio == NATURAL and profile != NATURAL:
        raise ConfigError(
            "ratio=natural: must be a number of at least 1, but for imbalance=natural, which takes "
            "the counts that the data have"
        )
    if profile in ("counts", NATURAL):
        given = {
            key: getattr(imbalance, key)
            for key, default in (("budget", "majority"), ("n_max", None), ("total", None))
            if getattr(imbalance, key) != default
        }
        # Counts in a list are those of the classes in this order.
        if imbalance.class_order != "identity" and not isinstance(explicit, list):
            given["class_order"] = imbalance.class_order
        if profile == NATURAL and imbalance.control not in ("none", "same_total", "same_minority"):
            given["control"] = imbalance.control
        for key, value in given.items():
            why = "the data give" if profile == NATURAL else "imbalance.counts gives"
            raise ConfigError(
                f"imbalance.{key}={value}: has no meaning with imbalance={profile}, where {why} "
                "the number of samples of each class; leave it out"
            )
    if profile == "counts":
        if not explicit:
            raise ConfigError(
                "imbalance.counts=null: must be a list of one whole number for each class, or the "
                "numbers by class name as {cat: 50, dog: 5}"
            )
        numbers = list(explicit.values()) if isinstance(explicit, dict) else explicit
        implied = max(numbers) / min(numbers)
        if run.ratio is not None and abs(float(run.ratio) / implied - 1) > 1e-9:
            raise ConfigError(
                f"ratio={run.ratio:g}: must be left out (null) with imbalance=counts, "
                f"whose counts have the ratio {implied:g}"
            )
    elif run.ratio is None:
        raise ConfigError(
            "ratio=null: must be a number of at least 1, but for imbalance=counts"
            + ("; as the data are: ratio=natural" if profile == NATURAL else "")
        )
    elif explicit:
        raise ConfigError(
            f"imbalance.counts={explicit}: must be null with imbalance.profile={profile}; choose "
            "imbalance=counts"
        )


def _check_names(run: RunConfig) -> None:
    """Refuse names inside of parts that would lead a path out of its folder."""
    if "name" in run.model and not _is_name(str(run.model["name"])):
        raise ConfigError(f"model.name={_short(run.model['name'])}: must be {NAME}")
    for group, parts in (("logger", run.logger), ("callbacks", run.callbacks)):
        for name, part in (parts or {}).items():
            for key in ("name", "version", "filename"):  # Lightning's loggers and checkpoints
                path = Path(str(part.get(key, "")))
                if path.is_absolute() or ".." in path.parts:
                    raise ConfigError(
                        f"{group}.{name}.{key}={_short(path)}: must be a name, not a path that "
                        "leads out of the run's folder"
                    )


def checked_section(schema: type[AnySection], key: str, given: Mapping[str, Any]) -> AnySection:
    """One group of keys, checked by itself.

    Raises:
        ConfigError: one line a mistake.
    """
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        lines = error_lines(error, given, schema)
        raise ConfigError("\n".join(f"{key}.{line}" for line in lines)) from None


def error_lines(
    error: ValidationError, config: Mapping[str, Any], schema: type[Section]
) -> list[str]:
    """pydantic's findings as lines for people: key, value, and what is allowed."""
    # A wrong seed is also the wrong data_seed that was taken from it: said once.
    lines: dict[str, str] = {}
    for line in (_line(detail, config, schema) for detail in error.errors()):
        lines.setdefault(line.partition("=")[2] or line, line)
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
    if detail["loc"][-1] == "[key]":
        return f"{key}.{_short(detail['loc'][-2])}: must be named with {NAME}"
    if detail["type"] == "missing":
        return f"{key}: must be given, {said}"
    return f"{key}={_short(value)}: must be {said}"


def _short(value: Any) -> str:
    text = "null" if value is None else " ".join(str(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
