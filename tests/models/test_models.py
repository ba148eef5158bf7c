import numpy as np
import pytest
import torch
from helpers import refused
from torch import nn

from skewlab.models.network import Network
from skewlab.models.resnet import BasicBlock, resnet
from skewlab.models.small import mlp, small_cnn
from skewlab.models.torchvision import torchvision_classifier

GRAY, COLOUR = (28, 28, 1), (32, 32, 3)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def images_of(shape: tuple[int, int, int], batch: int = 3) -> torch.Tensor:
    height, width, channels = shape
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(0))


# What every network promises.


@pytest.mark.parametrize("shape", [GRAY, COLOUR])
@pytest.mark.parametrize(
    ("make", "width"),
    [(mlp, 128), (small_cnn, None), (lambda *fit: resnet(*fit, depth=20), 64)],
    ids=["mlp", "small_cnn", "resnet20"],
)
def test_features_and_head_are_the_network(
    make: type[Network], width: int | None, shape: tuple[int, int, int]
) -> None:
    network = make(shape, 7).eval()
    images = images_of(shape)
    features, logits = network.features(images), network(images)
    assert logits.shape == (3, 7)
    assert features.shape == (3, width or 64 * (shape[0] // 8) ** 2)
    torch.testing.assert_close(network.head(features), logits)
    torch.testing.assert_close(features @ network.head.weight.T + network.head.bias, logits)


# Small networks.


def test_mlp_has_the_parameters_of_its_layers() -> None:
    assert parameters(mlp(GRAY, 10, hidden=(256, 128))) == 785 * 256 + 257 * 128 + 129 * 10
    assert parameters(mlp(COLOUR, 10, hidden=())) == 3073 * 10


def test_small_cnn_has_the_parameters_of_its_layers() -> None:
    convolutions = 9 * (1 * 16 + 16 * 32 + 32 * 64)
    norms = 2 * (16 + 32 + 64)
    assert parameters(small_cnn(GRAY, 10)) == convolutions + norms + (3 * 3 * 64 + 1) * 10


def test_small_cnn_needs_a_pixel_for_its_last_block() -> None:
    assert small_cnn((8, 9, 1), 10)(images_of((8, 9, 1))).shape == (3, 10)
    message = refused(lambda: small_cnn((7, 9, 1), 10))
    assert message.startswith("model.widths=[16, 32, 64]:")
    assert "at least 8 pixels a side, not 7 x 9" in message
    assert "not 9 x 7" in refused(lambda: small_cnn((9, 7, 1), 10))


# ResNets for CIFAR.


@pytest.mark.parametrize(
    ("depth", "published"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)]
)
def test_resnet_has_the_published_number_of_parameters(depth: int, published: int) -> None:
    assert parameters(resnet(COLOUR, 10, depth)) == published


@pytest.mark.parametrize(("channels", "classes", "depth"), [(1, 10, 8), (3, 100, 32), (1, 2, 14)])
def test_resnet_has_the_parameters_of_its_layers(channels: int, classes: int, depth: int) -> None:
    blocks = (depth - 2) // 6
    total = 9 * channels * 16 + 2 * 16 + 65 * classes
    for before, width in ((16, 16), (16, 32), (32, 64)):
        # Two convolutions a block, all from `width` channels but the stage's first.
        total += 9 * width * (before + (2 * blocks - 1) * width) + 2 * blocks * 2 * width
    assert parameters(resnet((28, 28, channels), classes, depth)) == total


@pytest.mark.parametrize("depth", [-4, 2, 18, 33])
def test_resnet_of_another_depth_is_refused(depth: int) -> None:
    assert refused(lambda: resnet(COLOUR, 10, depth)).startswith(f"model.depth={depth}: must be 6")


def without_residual(block: BasicBlock) -> BasicBlock:
    """The block with its convolutions silenced: what remains is the shortcut."""
    nn.init.zeros_(block.norm2.weight)
    nn.init.zeros_(block.norm2.bias)
    return block.eval()


def test_shortcut_takes_every_second_pixel_and_pads_channels_on_both_sides() -> None:
    images = images_of((6, 5, 4))
    result = without_residual(BasicBlock(4, 8, stride=2))(images)
    expected = np.zeros((3, 8, 3, 3), np.float32)
    for row in range(3):
        for column in range(3):
            expected[:, 2:6, row, column] = images[:, :, 2 * row, 2 * column].clamp(min=0)
    np.testing.assert_array_equal(result.detach().numpy(), expected)


def test_shortcut_of_a_block_that_keeps_the_size_is_the_identity() -> None:
    images = images_of((6, 5, 4))
    result = without_residual(BasicBlock(4, 4, stride=1))(images)
    torch.testing.assert_close(result, images.clamp(min=0))


def test_block_adds_its_convolutions_to_the_shortcut() -> None:
    block = BasicBlock(1, 1, stride=1).eval()
    for convolution in (block.convolution1, block.convolution2):
        nn.init.zeros_(convolution.weight)
    # The first convolution takes twice the pixel above, the second the pixel on the left.
    with torch.no_grad():
        block.convolution1.weight[0, 0, 0, 1] = 2.0
        block.convolution2.weight[0, 0, 1, 0] = 1.0
    images = images_of((4, 4, 1))
    expected = images.clone()
    expected[:, :, 1:, 1:] += 2 * images[:, :, :-1, :-1].clamp(min=0)
    expected = expected.clamp(min=0)
    torch.testing.assert_close(block(images), expected, rtol=1e-4, atol=1e-4)


def test_resnet_shrinks_the_image_twice() -> None:
    network = resnet(COLOUR, 10, depth=8).eval()
    pooling = next(m for m in network.body.modules() if isinstance(m, nn.AdaptiveAvgPool2d))
    seen: list[torch.Size] = []
    pooling.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    network(images_of(COLOUR))
    assert seen == [(3, 64, 8, 8)]


def test_convolutions_of_resnet_start_from_hes_normal_distribution() -> None:
    torch.manual_seed(0)
    convolutions = [m for m in resnet(COLOUR, 10).modules() if isinstance(m, nn.Conv2d)]
    weights = convolutions[-1].weight.detach()
    assert weights.shape == (64, 64, 3, 3)
    # 36,864 weights: the standard deviation is known to 0.4 %, the share beyond 2 to 0.1 points.
    expected = (2 / (64 * 9)) ** 0.5
    assert weights.std().item() == pytest.approx(expected, rel=0.02)
    assert (weights.abs() > 2 * expected).float().mean().item() == pytest.approx(0.0455, abs=0.005)


# Torchvision's networks.


@pytest.mark.parametrize(
    ("architecture", "published"), [("resnet18", 11_689_512), ("mobilenet_v2", 3_504_872)]
)
def test_large_images_meet_torchvisions_own_network(architecture: str, published: int) -> None:
    network = torchvision_classifier((224, 224, 3), 1000, architecture)
    assert parameters(network) == published
    stem = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    assert stem.stride == (2, 2)


def test_stem_of_resnet_keeps_small_images() -> None:
    network = torchvision_classifier(COLOUR, 10, "resnet18").eval()
    stem = network.body.conv1
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (1, 1), (1, 1))
    assert not any(isinstance(module, nn.MaxPool2d) for module in network.modules())
    # The number that is usual for ResNet-18 on CIFAR-10, e.g. in kuangliu/pytorch-cifar.
    assert parameters(network) == 11_173_962
    assert network.body.layer1(stem(images_of(COLOUR))).shape == (3, 64, 32, 32)


def test_images_of_64_pixels_are_small() -> None:
    assert torchvision_classifier((64, 64, 3), 10, "resnet18").body.conv1.stride == (1, 1)


def test_stem_of_resnet_keeps_large_images_smaller() -> None:
    network = torchvision_classifier((65, 65, 1), 10, "resnet18")
    assert network.body.conv1.stride == (2, 2)
    assert any(isinstance(module, nn.MaxPool2d) for module in network.modules())


def check_small_gray_images(architecture: str) -> None:
    """One backward pass reaches every parameter; the head's input is the features."""
    torch.manual_seed(0)
    network = torchvision_classifier(GRAY, 10, architecture)
    images = images_of(GRAY)
    logits = network(images)
    assert logits.shape == (3, 10)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    network.eval()
    with torch.no_grad():
        features = network.features(images)
        assert features.shape == (3, network.head.in_features)
        torch.testing.assert_close(network.head(features), network(images))


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v2"])
def test_torchvisions_networks_learn_from_small_gray_images(architecture: str) -> None:
    check_small_gray_images(architecture)


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    [
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "mnasnet0_5",
        "regnet_y_400mf",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        "swin_t",
        "vgg11",
        "vit_b_16",
    ],
)
def test_all_kinds_of_networks_learn_from_small_gray_images(architecture: str) -> None:
    check_small_gray_images(architecture)


def test_unknown_architecture_is_refused_with_a_suggestion() -> None:
    message = refused(lambda: torchvision_classifier(COLOUR, 10, "resnet-18"))
    assert message.startswith("model.architecture=resnet-18:")
    assert "did you mean resnet18?" in message
