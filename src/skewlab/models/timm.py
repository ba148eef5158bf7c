"""Any classifier of timm (PyTorch Image Models)."""

from typing import Any

from torch import nn

from skewlab.errors import ConfigError, installed_by, suggestion
from skewlab.models.network import Network, expect_images
from skewlab.models.pretrained import Wants, fine_tuned, is_file


def timm_classifier(
    image_shape: tuple[int, int, int],
    classes: int,
    architecture: str = "resnet18",
    weights: str | None = None,
    freeze: str | None = None,
    body_rate: float = 1.0,
    as_trained: bool = True,
) -> Network:
    """A classifier of timm by name. Its head is a new linear layer on the pooled features.

    Args:
        image_shape: (height, width, channels) of the input.
        classes: number of logits.
        architecture: its name in timm, without a tag.
        weights: `DEFAULT`, or a tag such as `a1_in1k`, which is downloaded; or a local file.
        freeze: `body` trains the head alone; None trains all.
        body_rate: factor of the body's learning rate.
        as_trained: whether images must have the size and the normalisation of the weights.

    Raises:
        ConfigError: timm is not installed, the architecture is unknown, or the weights are not
            there or of another network.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigError(f"model=timm: needs timm: {installed_by('timm')}") from error
    known = timm.list_models()
    if architecture not in known:
        raise ConfigError(
            f"model.architecture={architecture}: unknown to timm" + suggestion(architecture, known)
        )
    arguments: dict[str, Any] = {}
    if weights is not None:
        arguments = {"pretrained": True}
        if is_file(weights):
            arguments["pretrained_cfg_overlay"] = {"file": weights}
        elif weights != "DEFAULT":
            architecture = f"{architecture}.{weights}"
    expect_images(image_shape, "timm")
    height, width, channels = image_shape
    arguments |= {"num_classes": 0, "in_chans": channels}
    # Networks that cut images into patches are told their size; others take any, and no argument.
    size = {"img_size": (height, width)} if weights is None or not as_trained else {}
    try:
        try:
            body: nn.Module = timm.create_model(architecture, **size, **arguments)
        except TypeError:
            body = timm.create_model(architecture, **arguments)
    except Exception as error:  # of many kinds
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"model.architecture={architecture}: cannot be built with model.weights="
            f"{weights or 'null'} ({reason})"
        ) from error
    features: Any = getattr(body, "head_hidden_size", None) or body.num_features
    network = Network(body, nn.Linear(int(features), classes))
    wants = None
    if weights is not None and as_trained:
        config: Any = body.pretrained_cfg
        wants = Wants(int(config["input_size"][1]), tuple(config["mean"]), tuple(config["std"]))
    return fine_tuned(network, freeze, body_rate, wants)
