"""Whether a run's data, network and method belong together."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skewlab.config.schema import RunConfig
from skewlab.data.recipes import PerImage, build_transform
from skewlab.data.sources import Source
from skewlab.data.transforms import IMAGENET_MEAN, IMAGENET_STD, first_inputs, mean_and_std
from skewlab.errors import ConfigError
from skewlab.launch.batch_checks import ONE_VALUE

# The networks of configs/model for each kind of inputs.
NETWORKS = {
    "image": "small_cnn, mlp, resnet32, torchvision, timm",
    "float_image": "small_cnn, mlp, resnet32, torchvision, timm",
    "table": "mlp, tabular_resnet",
    "series": "cnn_1d, mlp",
    "tokens": "embedding_bag, token_transformer",
}


def check_inputs(config: RunConfig, source: Source, network: nn.Module) -> None:
    """Let the network classify two samples, and hold augmentation and mixing against the data.

    Args:
        config: the run.
        source: its data.
        network: as the model's part builds it.

    Raises:
        ConfigError: the network cannot take these inputs, or something is done to them that has no
            meaning for their kind.
    """
    data = config.data
    if not source.is_image:
        for key, value in (("crop", data.crop), ("flip", data.flip)):
            if value:
                raise ConfigError(
                    f"data.{key}={value}: must be {'0' if key == 'crop' else 'false'}, as this "
                    f"data is {source.kind}, no images"
                )
    mixing = (config.method.mixing or {}).get("_target_", "").rpartition(".")[2]
    if mixing and (source.kind == "tokens" or (mixing == "CutMix" and not source.is_image)):
        raise ConfigError(
            f"method/mixing={mixing.lower()}: has no meaning for this data, which is {source.kind}"
        )
    rows = np.arange(min(2, len(source.train_labels)))
    inputs = source.train_images[rows]
    _check_transform(config, source, inputs)
    mean, std = mean_and_std(data.normalise, source)
    _check_weights(config, source, network, mean, std)
    _check_logits(config, source, network, len(rows))


def _check_logits(config: RunConfig, source: Source, network: nn.Module, samples: int) -> None:
    """Let a network classify, in the mode of evaluations and in that of training."""
    named = config.model.get("name", config.model["_target_"])
    for training in (False, True):
        try:
            with torch.no_grad():
                found = network.train(training)(
                    first_inputs(config.data.normalise, source, samples)
                )
        except Exception as error:  # whatever a layer says of inputs that it cannot take
            if training and ONE_VALUE in str(error):  # `check_batches` asks that
                continue
            reason = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"model={named}: cannot take this data, which is {source.kind} of shape "
                f"{list(source.input_shape)} ({reason}); made for it: {NETWORKS[source.kind]}"
            ) from error
        finally:
            network.train()
        what = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        if not isinstance(found, Tensor) or found.shape != (samples, len(source.class_names)):
            mode = "training" if training else "eval"
            raise ConfigError(
                f"model={named}: gives {what} for {samples} samples in {mode} mode; must give "
                f"logits, a tensor of shape [{samples}, {len(source.class_names)}]"
            )


def _check_transform(config: RunConfig, source: Source, inputs: Any) -> None:
    part = config.data.transform
    transform = build_transform(part, source)
    if part is None or transform is None:
        return
    try:
        PerImage(transform, config.order_seed)(inputs, 0)
    except Exception as error:  # of many kinds
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"data.transform._target_={part['_target_']}: {reason}") from error


def _check_weights(
    config: RunConfig, source: Source, network: nn.Module, mean: list[float], std: list[float]
) -> None:
    """Hold the data against what pre-trained weights were trained with."""
    wants = getattr(network, "weights_want", None)
    if wants is None:
        return
    name = f"model.weights={config.model.get('weights')}"
    if source.input_shape[0] != wants.size or source.input_shape[1] != wants.size:
        height, width = source.input_shape[:2]
        raise ConfigError(
            f"{name}: was trained with images of {wants.size} x {wants.size}, and these are "
            f"{height} x {width}; set data.source.image_size={wants.size}, or model.as_trained="
            "false to train on from other images"
        )
    if source.input_shape[2] != len(wants.mean):
        return  # grey images have no scale that would be that of colours
    if not np.allclose([*mean, *std], [*wants.mean, *wants.std], atol=1e-3):
        imagenet = np.allclose([*wants.mean, *wants.std], [*IMAGENET_MEAN, *IMAGENET_STD])
        said = (
            "imagenet" if imagenet else f"[{list(wants.mean)},{list(wants.std)}]".replace(" ", "")
        )
        raise ConfigError(
            f"{name}: was trained with images that were normalised otherwise; set "
            f"data.normalise={said}, or model.as_trained=false"
        )
