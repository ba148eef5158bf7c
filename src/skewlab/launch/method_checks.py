"""Which parts of a method have no meaning together, or none for a run's network and data."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.cuda import is_available as has_gpu

from skewlab.config.parts import target_of
from skewlab.config.schema import RunConfig
from skewlab.data.sources import Source
from skewlab.data.subsets import Subset
from skewlab.distributed import ALONE, started
from skewlab.errors import ConfigError
from skewlab.launch.batch_checks import check_batches
from skewlab.launch.validation_checks import without_validation
from skewlab.methods import deferral
from skewlab.methods.algorithms import NEEDS_HEAD
from skewlab.methods.heads import CosineHead
from skewlab.methods.second_stages import LearnedScales, SecondStage
from skewlab.terminal import note
from skewlab.training.length import Length, planned_length

# With so many samples at most a loss is tried.
TRIED = 64
# Builds a part: its key, the part, what the program gives it.
Build = Callable[..., Any]


def check_method(
    config: RunConfig, source: Source, subset: Subset, network: nn.Module, build: Build
) -> None:
    """Build every part of a method once, and hold the parts against one another.

    Args:
        config: the run.
        source, subset: its data.
        network: as the model's part builds it.
        build: builds a part.

    Raises:
        ConfigError: a part that cannot be built, or a combination without a meaning, and why.
    """
    method, batch_size = config.method, config.data.batch_size
    counts = torch.from_numpy(subset.counts)
    labels = torch.from_numpy(source.train_labels[subset.train])
    given = {
        "loss": (counts,),
        "weights": (counts,),
        "mixing": (counts,),
        "sampler": (labels, batch_size),
        "gradient": (network, len(counts)),
        "second_stage": (),
    }
    parts = {
        name: build(f"method.{name}", part, *given[name])
        for name, part in method.parts.items()
        if name in given
    }
    rules = {
        name: build(f"method.post_hoc.{name}", rule, counts) for name, rule in method.rules.items()
    }
    if "sampler" in parts:
        _try_sampler("method.sampler", parts["sampler"], len(labels))
    _check_algorithm(config, parts, rules)
    _check_network(config, network, parts, rules)
    _check_gradient(config, len(labels), parts)
    stage = parts.get("second_stage")
    second = _second_parts(config, stage, given, build) if stage else {}
    length = planned_length(config, source, subset)
    # On GPUs the processes normalise a batch together.
    shares = started() if config.trainer.strategy == "ddp" and not has_gpu() else None
    check_batches(config, len(length.rows), source, network, (shares or ALONE).count)
    for key, built, epochs in (
        ("method", parts, length.epochs),
        ("method.second_stage", second, length.second_epochs),
    ):
        for name in ("weights", "sampler"):
            if hasattr(built.get(name), "deferred_until"):
                until = built[name].deferred_until
                deferral.refuse_endless_deferral(until, f"{key}.{name}", epochs)
    _warn_of_missing_classes(config, counts, labels, parts.get("weights"), length)
    if not hasattr(parts["loss"], "each"):
        for name in ("weights", "mixing"):
            if name in parts:
                raise _refused(config, name, NEEDS_EACH)
    _try_loss("method.loss", parts["loss"], len(counts))
    if config.trainer.strategy == "ddp":
        for name in ("gradient", "second_stage", "algorithm"):
            if getattr(method, name):
                raise _refused(config, name, "needs trainer=default: one process, not several")
    chosen = [name for name, rule in rules.items() if rule.chosen]
    if chosen and not len(subset.val):
        needing = f"method.post_hoc={chosen}, whose tau is chosen on val"
        raise ConfigError(
            f"{without_validation(config, source, needing)}; a fixed "
            f"method.post_hoc.{chosen[0]}.tau=1.0 needs none"
        )


def _second_parts(
    config: RunConfig, stage: SecondStage, given: dict[str, Any], build: Build
) -> dict[str, Any]:
    """The parts of a second stage by name, built once and held against one another."""
    key = "method.second_stage"
    named = {**stage.parts, "sampler": stage.sampler}
    parts = {
        name: build(f"{key}.{name}", part, *given[name]) for name, part in named.items() if part
    }
    build(f"{key}.scheduler", stage.scheduler, 0.5, 1)
    for name in ("weights", "mixing"):
        if name in parts and not hasattr(parts["loss"], "each"):
            target = config.method.second_stage[name]["_target_"]  # type: ignore[index]
            raise ConfigError(f"{key}.{name}._target_={target}: {NEEDS_EACH}")
    (counts,), (labels, _) = given["loss"], given["sampler"]
    _try_loss(f"{key}.loss", parts["loss"], len(counts))
    if "sampler" in parts:
        _try_sampler(f"{key}.sampler", parts["sampler"], len(labels))
    if inspect.isclass(target_of(config.scheduler, "scheduler")):
        raise ConfigError(
            f"scheduler._target_={config.scheduler['_target_']}: a second stage begins a schedule "
            "of its own, which only a function of skewlab.training.schedules or one like it allows"
        )
    return parts


def _try_loss(key: str, loss: Any, classes: int) -> None:
    """Call a loss on logits and labels, as a training step does."""
    samples = min(classes, TRIED)
    logits = torch.eye(samples, classes, requires_grad=True)
    wanted: dict[str, tuple[tuple[int, ...], str]] = {"loss": ((), "one number")}
    if hasattr(loss, "each"):
        wanted["each"] = ((samples,), "a number for each sample")
    for name, (shape, words) in wanted.items():
        try:
            found = (loss if name == "loss" else loss.each)(logits, torch.arange(samples))
        except Exception as error:  # whatever is wrong with it
            raise ConfigError(f"{key}: fails on logits and labels: {_short(error)}") from error
        what = f"shape {list(found.shape)}" if isinstance(found, Tensor) else repr(found)
        if not isinstance(found, Tensor) or found.shape != shape:
            raise ConfigError(
                f"{key}: must give {words}, a tensor of shape {list(shape)}, not {what}"
            )
        if not found.requires_grad:
            raise ConfigError(f"{key}: has no gradient for the logits; is it detached?")


def _try_sampler(key: str, sampler: Any, rows: int) -> None:
    """Draw the first epoch's rows, as training does."""
    try:
        length = len(sampler)
        drawn = sampler(0, 2, torch.Generator().manual_seed(0))
    except Exception as error:  # whatever is wrong with it
        raise ConfigError(
            f"{key}: must have a length, and be called with (epoch, max_epochs, generator): "
            f"{_short(error)}"
        ) from error
    if not (isinstance(drawn, Tensor) and drawn.dtype == torch.int64 and drawn.dim() == 1):
        what = (
            f"{drawn.dtype}, {list(drawn.shape)}"
            if isinstance(drawn, Tensor)
            else f"a {type(drawn).__name__}"
        )
        raise ConfigError(f"{key}: must give rows as a tensor, int64 of shape [rows], not {what}")
    if len(drawn) != length or not length:
        raise ConfigError(
            f"{key}: has the length {length} and gave {len(drawn)} rows, must be the same number, "
            "at least 1"
        )
    if not 0 <= int(drawn.min()) <= int(drawn.max()) < rows:
        raise ConfigError(
            f"{key}: gave rows {int(drawn.min())} to {int(drawn.max())}, must be of the training "
            f"set's {rows}, counted from 0"
        )


def _short(error: Exception) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" ...")


def _warn_of_missing_classes(
    config: RunConfig, counts: Tensor, labels: Tensor, weights: Any, length: Length
) -> None:
    """Say where most batches lack a class: weights that are normalised by the batch's sum then do
    not give it its share."""
    if getattr(weights, "normalise", "") != "batch_weights":
        return
    epoch = deferral.first_epoch(weights.deferred_until, length.epochs)
    of_class = weights(epoch, length.epochs).double()
    rows = length.rows(epoch, torch.Generator().manual_seed(config.order_seed))
    batches = torch.split(labels[rows], config.data.batch_size)
    held = torch.stack([torch.bincount(batch, minlength=len(counts)) for batch in batches])
    lacking = (held == 0).double().mean(dim=0)
    rare = lacking > 0.5
    if not rare.any():
        return
    weight = held * of_class
    share = float((weight[:, rare].sum(dim=1) / weight.sum(dim=1)).mean())
    wanted = float(weight[:, rare].sum() / weight.sum())
    note(
        f"method={config.method.name}: most batches of {config.data.batch_size} hold no sample of "
        f"{int(rare.sum())} of the {len(counts)} classes (the rarest: {float(lacking.max()):.0%}); "
        f"these have {share:.2f} of the loss's weight in a step, on average, and {wanted:.2f} with "
        "method.weights.normalise=batch_size"
    )


NEEDS_EACH = (
    "needs a loss that gives each sample's, as skewlab.methods.losses.Loss does with `each`"
)


def _refused(config: RunConfig, name: str, reason: str) -> ConfigError:
    target = getattr(config.method, name)["_target_"]
    return ConfigError(f"method.{name}._target_={target}: {reason}")


def _check_algorithm(config: RunConfig, parts: dict[str, Any], rules: dict[str, Any]) -> None:
    """Parts that change a step or a network which an algorithm owns."""
    if config.method.algorithm is None:
        return
    for name in ("mixing", "gradient", "second_stage"):
        if name in parts:
            reason = "owns its network and its step"
            raise _refused(config, "algorithm", f"{reason}; leave out method.{name}")
    for name, rule in rules.items():
        if rule.needs_head:
            reason = "owns its network and has no one linear head"
            raise _refused(config, "algorithm", f"{reason}; leave out method.post_hoc.{name}")


def _check_gradient(config: RunConfig, samples: int, parts: dict[str, Any]) -> None:
    """Gradients of single classes, and what would take them away again."""
    rule = parts.get("gradient")
    if rule is None or not rule.by_class:
        return
    if not hasattr(parts["loss"], "each"):
        raise _refused(config, "gradient", NEEDS_EACH)
    if "mixing" in parts:
        reason = "takes each class's gradient apart, and a mixed image belongs to no single class"
        raise _refused(config, "gradient", f"{reason}; leave out method.mixing")
    if "weights" in parts:
        reason = "gives each class's gradient the same length, in which class weights cancel"
        raise _refused(config, "gradient", f"{reason}; leave out method.weights")
    if rule.whole and "sampler" in parts:
        reason = "takes every training sample once a step, which leaves nothing to sample"
        raise _refused(config, "gradient", f"{reason}; leave out method.sampler")
    if rule.whole and config.data.batch_size < samples:
        raise ConfigError(
            f"data.batch_size={config.data.batch_size}: must be at least the {samples} training "
            "samples for method/gradient=pcngd, which takes each class's whole gradient; the "
            "mini-batch form is method=pcnsgd"
        )


def _check_network(
    config: RunConfig, network: nn.Module, parts: dict[str, Any], rules: dict[str, Any]
) -> None:
    """Parts that need a body and a linear head, and the head as it is."""
    head = getattr(network, "head", None)
    separable = isinstance(head, nn.Linear) and hasattr(network, "body")
    needing = [name for name in ("second_stage",) if getattr(config.method, name)]
    by_head = [name for name, rule in rules.items() if rule.needs_head]
    needing += [f"post_hoc.{name}" for name in by_head]
    if needing and not separable:
        raise ConfigError(
            f"method.{needing[0]}: {NEEDS_HEAD}; {config.model['_target_']} gives none"
        )
    for name in by_head:
        if (config.method.head or {}).get("_target_", "").endswith(f".{CosineHead.__name__}"):
            raise ConfigError(
                f"method.post_hoc.{name}: divides by the lengths of the head's weights, which a "
                "cosine head does not have; leave out one of the two"
            )
        if isinstance(parts.get("second_stage"), LearnedScales):
            raise ConfigError(
                f"method.post_hoc.{name}: sets the lengths of the head's weights, which "
                "method/second_stage=lws has just learned; leave out one of the two"
            )
