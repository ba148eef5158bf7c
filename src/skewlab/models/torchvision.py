"""Any classifier of torchvision: with a stem that fits small images, or with published weights."""

import copy
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from skewlab.errors import ConfigError, suggestion
from skewlab.models.network import Network, expect_images
from skewlab.models.pretrained import Wants, fine_tuned, in_channels, is_file, weights_file

# Images up to this side get a stem for small images: one for 224 pixels would shrink them too much.
SMALL_SIDE = 64
# Factors by which the input is enlarged, in the order in which they are tried, for architectures
# that still halve the sides too often. 7 and 8 bring 32 and 28 pixels to the 224 that MaxViT needs.
ENLARGEMENTS = (1, 2, 4, 7, 8, 16)


class EnlargedInput(nn.Module):
    """A body whose input is first enlarged (bilinear) by a whole factor."""

    def __init__(self, body: nn.Module, factor: int) -> None:
        super().__init__()
        self.body, self.factor = body, factor

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(
            nn.functional.interpolate(images, scale_factor=self.factor, mode="bilinear")
        )
        return features


def torchvision_classifier(
    image_shape: tuple[int, int, int],
    classes: int,
    architecture: str = "resnet18",
    weights: str | None = None,
    freeze: str | None = None,
    body_rate: float = 1.0,
    as_trained: bool = True,
    stem: str | None = None,
) -> Network:
    """A classifier of `torchvision.models` by name, with pre-trained weights if asked.

    Without weights, the first convolution takes the image's channels. For images up to 64 pixels a
    side it keeps their size (stride 1; a large kernel becomes 3 x 3; patches become 2 x 2, or 4 x 4
    for ViT) and a max pooling right after it is removed, as is usual for ResNets on CIFAR. Where
    the architecture still shrinks the image to nothing, the input is enlarged by the smallest
    factor that works. With weights it stays as it was published; for grey images the weights of
    its three channels are summed.

    Args:
        image_shape: (height, width, channels) of the input.
        classes: number of logits.
        architecture: its name in torchvision.
        weights: a name, such as `DEFAULT` or `IMAGENET1K_V1`, which is downloaded; or a file of
            `torch.save`, of the published network with any number of classes.
        freeze: `body` trains the head alone; None trains all.
        body_rate: factor of the body's learning rate.
        as_trained: whether images must have the size and the normalisation that the weights were
            trained with, where they say so.
        stem: `fitted` or `published`; None for published with weights and fitted without.

    Raises:
        ConfigError: an unknown architecture, one that cannot be fitted to these images, or weights
            that are not there or of another network.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        raise ConfigError(
            f"model.architecture={architecture}: unknown to torchvision"
            + suggestion(architecture, known)
        )
    expect_images(image_shape, "torchvision")
    height, width, channels = image_shape
    if stem not in (None, "fitted", "published"):
        raise ConfigError(f"model.stem={stem}: must be fitted, published, or null")
    if weights is not None:
        state, wants = _pretrained(architecture, weights)
        network = _build(architecture, classes, height, channels, False, state, weights)
        return fine_tuned(network, freeze, body_rate, wants if as_trained else None)
    small = stem != "published" and max(height, width) <= SMALL_SIDE
    for fit_stem, factor in itertools.product([True, False] if small else [False], ENLARGEMENTS):
        try:
            network = _build(architecture, classes, height * factor, channels, fit_stem)
            if factor > 1:
                network.body = EnlargedInput(network.body, factor)
            # On the meta device only shapes are computed.
            on_meta = copy.deepcopy(network).to("meta").eval()
            on_meta(torch.empty(2, channels, height, width, device="meta"))
        except (AssertionError, RuntimeError, TypeError, ValueError):
            continue
        return fine_tuned(network, freeze, body_rate, None)
    raise ConfigError(
        f"model.architecture={architecture}: cannot be fitted to images of {height} x {width}; "
        "choose another, such as resnet18"
    )


def _pretrained(architecture: str, weights: str) -> tuple[dict[str, Tensor], Wants | None]:
    """Published weights by their name, or those of a file; and what they were trained with."""
    from torchvision import models

    if is_file(weights):
        return weights_file(weights), None
    known = models.get_model_weights(architecture)
    name = weights.rpartition(".")[2]
    if name not in known.__members__:
        raise ConfigError(
            f"model.weights={weights}: must be a file, or one of {', '.join(known.__members__)}"
        )
    found = known[name]
    try:
        state: dict[str, Tensor] = found.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # no network, or a damaged download
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"model.weights={weights}: cannot be downloaded ({reason}); give the file {found.url} "
            "as model.weights=<file>"
        ) from error
    preset = found.transforms()
    return state, Wants(preset.crop_size[0], tuple(preset.mean), tuple(preset.std))


def _build(
    architecture: str,
    classes: int,
    side: int,
    channels: int,
    fit_stem: bool,
    state: dict[str, Tensor] | None = None,
    weights: str = "",
) -> Network:
    """The architecture for square images of this side, split into body and head.

    Args:
        architecture: its name.
        classes: number of logits.
        side: of the images.
        channels: of the images.
        fit_stem: whether the first convolution is fitted to small images.
        state: of the published network; it is read before the head is replaced.
        weights: what messages call them.
    """
    from torchvision import models

    arguments: dict[str, Any] = {}
    if architecture in ("googlenet", "inception_v3"):
        arguments = {"aux_logits": False, "init_weights": True}
    elif architecture.startswith("maxvit"):
        arguments = {"input_size": (side, side)}
    elif architecture.startswith("vit"):
        # The number of patches is fixed at construction: that of patches of 4 x 4 pixels.
        patch = int(architecture.rsplit("_", 1)[1])
        arguments = {"image_size": side // 4 * patch if fit_stem else side}
    model = models.get_model(architecture, weights=None, num_classes=classes, **arguments)
    if isinstance(model, models.VisionTransformer) and fit_stem:
        if side % 4:
            raise ValueError(f"{side} pixels cannot be cut into patches of 4")
        model.image_size, model.patch_size = side, 4
    if state is None or channels != 3:
        _replace_stem(model, channels, fit_stem)

    if isinstance(model, models.SqueezeNet):  # its classifier is a convolution
        if state is not None:
            raise ConfigError(f"model.architecture={architecture}: takes no weights here")
        head = nn.Linear(512, classes)
        model.classifier = nn.AdaptiveAvgPool2d(1)
        return Network(model, head)
    name, last = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    _set_module(model, name, nn.Identity())
    if state is not None:
        _load(model, state, name, weights)
    return Network(model, last)


def _load(body: nn.Module, state: dict[str, Tensor], head: str, weights: str) -> None:
    """Give a body the weights of a published network; those of its head are left out."""
    first, stem = next((n, m) for n, m in body.named_modules() if isinstance(m, nn.Conv2d))
    kept = {
        name: in_channels(stem, value) if name == f"{first}.weight" else value
        for name, value in state.items()
        if not name.startswith((f"{head}.", "aux", "AuxLogits"))
    }
    try:
        body.load_state_dict(kept)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(f"model.weights={weights}: are of another network ({reason})") from error


def _replace_stem(model: nn.Module, channels: int, fit: bool) -> None:
    """Let the first convolution take these channels and, if asked, keep a small image's size."""
    name, stem = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    kernel, stride = stem.kernel_size[0], stem.stride[0]
    padding: Any = stem.padding
    if fit and stride > 1:
        if kernel == stride:  # patches
            kernel = stride = 4 if name == "conv_proj" else 2
        else:
            kernel, stride, padding = 3, 1, (1, 1)
            pooling = _pooling_behind(model, name)
            if pooling:
                _set_module(model, pooling, nn.Identity())
    _set_module(
        model,
        name,
        nn.Conv2d(channels, stem.out_channels, kernel, stride, padding, bias=stem.bias is not None),
    )


def _pooling_behind(model: nn.Module, stem: str) -> str | None:
    """The name of the max pooling between the stem and the next convolution; None without one."""
    behind = False
    for name, module in model.named_modules():
        if behind and isinstance(module, nn.MaxPool2d):
            return str(name)
        if behind and isinstance(module, nn.Conv2d):
            return None
        behind = behind or name == stem
    return None


def _set_module(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
