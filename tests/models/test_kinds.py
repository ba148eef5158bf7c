"""Networks for tables, series and tokens, and networks with pre-trained weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import refused
from torch import nn
from torchvision import models

from skewlab.models.network import Network, build_network, trained_parameters
from skewlab.models.pretrained import without_weights
from skewlab.models.series import cnn_1d
from skewlab.models.small import mlp
from skewlab.models.tables import tabular_resnet
from skewlab.models.timm import timm_classifier
from skewlab.models.tokens import embedding_bag, token_transformer
from skewlab.models.torchvision import torchvision_classifier


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


TOKENS = torch.tensor([[3, 4, 5, 0, 0], [3, 4, 5, 6, 7], [0, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (mlp((5,), 4), torch.randn(3, 5)),
        (mlp((6, 2), 4), torch.randn(3, 2, 6)),
        (tabular_resnet((5,), 4), torch.randn(3, 5)),
        (cnn_1d((6, 2), 4), torch.randn(3, 2, 6)),
        (embedding_bag((5,), 4, vocabulary=9), TOKENS),
        (token_transformer((5,), 4, vocabulary=9), TOKENS),
    ],
    ids=["mlp rows", "mlp series", "tabular_resnet", "cnn_1d", "embedding_bag", "transformer"],
)
def test_features_and_head_are_the_network(network: Network, inputs: torch.Tensor) -> None:
    network.eval()
    features, logits = network.features(inputs), network(inputs)
    assert logits.shape == (3, 4)
    assert logits.isfinite().all()
    torch.testing.assert_close(features @ network.head.weight.T + network.head.bias, logits)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_tabular_resnet_has_the_parameters_of_its_layers() -> None:
    block = 2 * 8 + (8 + 1) * 16 + (16 + 1) * 8
    network = tabular_resnet((5,), 3, blocks=2, width=8, hidden=16)
    assert parameters(network) == (5 + 1) * 8 + 2 * block + 2 * 8 + (8 + 1) * 3


def test_cnn_1d_has_the_parameters_of_its_layers() -> None:
    convolutions = 8 * 2 * 128 + 5 * 128 * 256 + 3 * 256 * 128
    assert parameters(cnn_1d((40, 2), 10)) == convolutions + 2 * (128 + 256 + 128) + 129 * 10


@pytest.mark.parametrize("make", [embedding_bag, token_transformer])
def test_what_fills_up_a_text_has_no_say(make: Any) -> None:
    torch.manual_seed(0)
    network = make((5,), 4, vocabulary=9).eval()
    short = network(TOKENS[:1])
    if make is embedding_bag:  # a bag: places have no say either
        torch.testing.assert_close(network(torch.tensor([[0, 5, 0, 4, 3]])), short)
        vectors = network.body.vectors.weight[[3, 4, 5]].mean(0)
        torch.testing.assert_close(network.features(TOKENS[:1])[0], vectors)
    with torch.no_grad():
        network.body.vectors.weight[0] = 100.0
        if make is token_transformer:
            network.body.places[3:] = 50.0
    torch.testing.assert_close(network(TOKENS[:1]), short)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: tabular_resnet((4, 4, 1), 2), "model=tabular_resnet: needs a table"),
        (lambda: cnn_1d((5,), 2), "model=cnn_1d: needs series"),
        (lambda: cnn_1d((5, 1), 2, widths=[4]), "model.kernels=[8, 5, 3]: must have one for each"),
        (lambda: embedding_bag((4, 4, 1), 2, 9), "model=embedding_bag: needs tokens"),
        (lambda: token_transformer((5,), 2, 9, width=10), "must be a multiple of model.heads=4"),
    ],
)
def test_other_kinds_of_inputs_are_refused(make: Any, said: str) -> None:
    assert said in refused(make)


def test_the_vocabulary_is_given_to_networks_that_take_it() -> None:
    bag = {"_target_": "skewlab.models.tokens.embedding_bag", "name": "embedding_bag", "width": 8}
    assert parameters(build_network(bag, [5], 4, 9)) == 9 * 8 + 9 * 4
    assert refused(lambda: build_network(bag, [5], 4, None)) == (
        "model=embedding_bag: takes tokens, and this data has none"
    )


# Pre-trained weights.


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of torchvision's form: a whole network with 1,000 classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    network = models.resnet18(num_classes=1000)
    network.bn1.running_mean += 0.5
    torch.save(network.state_dict(), path)
    return path


def test_published_weights_give_the_published_features(published: Path) -> None:
    network = torchvision_classifier((64, 64, 3), 5, "resnet18", weights=str(published)).eval()
    whole = models.resnet18(num_classes=1000)
    whole.load_state_dict(torch.load(published))
    whole.fc = nn.Identity()  # type: ignore[assignment]
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network.features(images), whole.eval()(images))
    assert network.head.out_features == 5
    grey = torchvision_classifier((64, 64, 1), 5, "resnet18", weights=str(published)).eval()
    one = images[:, :1]
    torch.testing.assert_close(grey.features(one), network.features(one.expand(-1, 3, -1, -1)))


def test_a_frozen_body_stays_and_a_rate_of_its_own(published: Path) -> None:
    arguments = {"architecture": "resnet18", "weights": str(published)}
    frozen = torchvision_classifier((64, 64, 3), 5, freeze="body", **arguments)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in frozen.body.state_dict().items()}
    optimizer = torch.optim.SGD(trained_parameters(frozen, frozen, {"lr": 0.1}), lr=0.1)
    frozen.train()(torch.randn(4, 3, 64, 64)).square().sum().backward()
    optimizer.step()
    for name, value in frozen.body.state_dict().items():
        assert torch.equal(value, before[name]), name
    slow = torchvision_classifier((64, 64, 3), 5, body_rate=0.1, **arguments)  # type: ignore[arg-type]
    groups = torch.optim.SGD(trained_parameters(slow, slow, {"lr": 0.5}), lr=0.5).param_groups
    assert [group["lr"] for group in groups] == [0.5, 0.05]
    assert sum(p.numel() for group in groups for p in group["params"]) == parameters(slow)
    assert "needs optimizer.lr" in refused(lambda: trained_parameters(slow, slow, {}))


def test_a_trained_network_needs_no_weights_file() -> None:
    model = {"architecture": "resnet18", "weights": "gone.pth", "stem": None, "as_trained": True}
    ours = torchvision_classifier((32, 32, 3), 5, **without_weights(model))
    assert ours.body.conv1.kernel_size == (7, 7)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "IMAGENET9K"}, "must be a file, or one of IMAGENET1K_V1, DEFAULT"),
        ({"weights": "/nowhere/x.pth"}, "must be a file of weights that torch.load reads"),
        ({"freeze": "head"}, "model.freeze=head: must be body, or null"),
        ({"body_rate": 0.0}, "model.body_rate=0.0: must be a number above 0"),
        ({"stem": "small"}, "model.stem=small: must be fitted, published, or null"),
        ({"architecture": "resnet34", "weights": ""}, "are of another network"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, Any], said: str, published: Path
) -> None:
    arguments = {"architecture": "resnet18", "weights": None, **change}
    if arguments["weights"] == "":
        arguments["weights"] = str(published)
    assert said in refused(lambda: torchvision_classifier((64, 64, 3), 5, **arguments))


@pytest.mark.parametrize("channels", [1, 3])
def test_timms_networks_and_local_weights(channels: int, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    whole = timm.create_model("test_resnet", num_classes=1000)
    torch.save(whole.state_dict(), path := tmp_path / "mine.pth")
    shape = (160, 160, channels)
    network = timm_classifier(shape, 5, "test_resnet", weights=str(path)).eval()
    whole.reset_classifier(0)
    images = torch.randn(2, 1, 160, 160).expand(-1, 3, -1, -1)
    torch.testing.assert_close(
        network.features(images[:, :channels]), whole.eval()(images), atol=1e-4, rtol=1e-4
    )
    assert network(images[:, :channels]).shape == (2, 5)
    assert network.weights_want.size == 160
    assert timm_classifier((32, 32, 3), 5, "test_vit")(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert "unknown to timm" in refused(lambda: timm_classifier(shape, 5, "test_resnot"))
