"""Methods that own their network and their step, against their papers' losses written anew."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from skewlab.errors import ConfigError
from skewlab.methods.algorithms import RIDE, BalancedContrastive, RandomViews
from skewlab.methods.losses import CrossEntropy
from skewlab.methods.objective import Objective
from skewlab.models.network import Network
from skewlab.models.small import small_cnn

Array = NDArray[np.float64]
COUNTS = torch.tensor([60, 30, 10])


def new_network() -> Network:
    return small_cnn((8, 8, 1), 3, widths=(4, 8))


def ride(**keys: float) -> RIDE:
    torch.manual_seed(0)
    return RIDE(new_network, COUNTS, **keys)  # type: ignore[arg-type]


def contrastive(views: Callable[[Tensor, int], Tensor], **keys: float) -> BalancedContrastive:
    torch.manual_seed(0)
    return BalancedContrastive(new_network, COUNTS, views, **keys)  # type: ignore[arg-type]


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rides_loss(
    z: Array, mean: Array, y: Array, deferred: bool, diversity: float, weights: Array
) -> float:
    """Wang et al., ICLR 2021, and their code, for LDAM without margins: sample after sample."""
    n = COUNTS.numpy()
    t = np.ones(3)
    if not deferred:
        u = 1 - 0.05 + 0.05 * 3 * n / n.sum()
        t = u / u.max()
    total = 0.0
    for expert in z:
        loss = sum(-weights[c] * np.log(softmax(row)[c]) for row, c in zip(expert, y, strict=True))
        total += loss / sum(weights[c] for c in y)
        for row, common in zip(expert, mean, strict=True):
            p, q = softmax(common / t), softmax(row / t)
            total -= diversity * t.mean() ** 2 * (p * np.log(p / q)).sum() / len(y)
    return total


@pytest.mark.parametrize("deferred", [True, False])
def test_rides_loss_and_gradient_on_fixed_numbers(deferred: bool) -> None:
    """The gradient is held against finite differences of the formula, in which the mean that the
    experts are compared with stays where it is."""
    random = np.random.default_rng(0)
    z, y = random.normal(size=(3, 5, 3)) * 2, random.integers(0, 3, 5)
    weights = np.array([0.5, 0.7, 1.8])
    algorithm = ride(diversity=0.3).double()
    algorithm.begin(0 if deferred else 8, 10)
    logits = torch.from_numpy(z).requires_grad_()
    loss = algorithm.loss_of_logits(
        logits,
        torch.from_numpy(y),
        lambda own, labels: F.cross_entropy(own, labels, torch.from_numpy(weights)),
    )
    mean = z.mean(axis=0)
    assert loss.item() == pytest.approx(rides_loss(z, mean, y, deferred, 0.3, weights), rel=1e-6)
    loss.backward()
    numeric = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        ends = []
        for step in (1e-5, -1e-5):
            moved = z.copy()
            moved[place] += step
            ends.append(rides_loss(moved, mean, y, deferred, 0.3, weights))
        numeric[place] = (ends[0] - ends[1]) / 2e-5
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), numeric, atol=1e-7)


def test_rides_experts_share_the_first_modules_and_decide_by_their_mean() -> None:
    algorithm = ride(shared=0.5).eval()
    shared, own = dict(algorithm.shared.named_parameters()), algorithm.experts
    assert len(shared) == 3  # convolution and batch normalisation of the first block
    assert len(own) == 3
    first, second = (next(expert.parameters()) for expert in (own[0], own[1]))
    assert not torch.equal(first, second), "each expert begins elsewhere"
    images = torch.randn(4, 1, 8, 8)
    z = [expert(algorithm.shared(images)) for expert in own]
    torch.testing.assert_close(algorithm(images), (z[0] + z[1] + z[2]) / 3)


def test_rides_criterion_has_the_methods_loss_and_weights() -> None:
    algorithm = ride(diversity=0.0)
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 0, 0, 1, 1, 2])
    method = {
        "loss": {"_target_": "skewlab.methods.losses.BalancedSoftmax"},
        "weights": {"_target_": "skewlab.methods.weights.InverseFrequency"},
    }
    objective = Objective(method, algorithm, COUNTS)
    objective.begin(0, 10, torch.device("cpu"))
    found, _ = objective(algorithm, images, labels, 0, 0)
    algorithm.zero_grad()
    prior = (COUNTS / COUNTS.sum()).log()
    weights = (1 / COUNTS) / (1 / COUNTS).mean()
    features = algorithm.shared(images)
    each = [F.cross_entropy(e(features) + prior, labels, weights) for e in algorithm.experts]
    assert found.item() == pytest.approx(sum(loss.item() for loss in each), rel=1e-5)


def contrast(v: Array, y: Array, centres: Array, t: float) -> float:
    """Equation 7 of Zhu et al., CVPR 2022, view after view."""
    everything, of_all = np.concatenate([v, centres]), np.concatenate([y, np.arange(len(centres))])
    losses = []
    for i in range(len(v)):
        similar = np.exp(everything @ v[i] / t)
        others = [k for k in range(len(everything)) if k != i]
        below = sum(
            np.mean([similar[k] for k in others if of_all[k] == c]) for c in range(len(centres))
        )
        own = [k for k in others if of_all[k] == y[i]]
        losses.append(np.mean([-np.log(similar[k] / below) for k in own]))
    return float(np.mean(losses))


def test_the_contrastive_loss_and_its_gradient_on_fixed_numbers() -> None:
    random = np.random.default_rng(0)
    v, centres = random.normal(size=(8, 5)), random.normal(size=(3, 5))
    v, centres = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (v, centres))
    y = np.array([0, 0, 1, 0, 0, 0, 1, 0])  # class 2 is there as a prototype only
    algorithm = contrastive(lambda images, seed: images, temperature=0.2)
    labels = torch.from_numpy(y)
    given = [torch.from_numpy(x).requires_grad_() for x in (v, centres)]
    found = algorithm.contrastive_loss(given[0], labels, given[1])
    assert found.item() == pytest.approx(contrast(v, y, centres, 0.2), rel=1e-10)
    assert torch.autograd.gradcheck(
        lambda a, b: algorithm.contrastive_loss(a, labels, b), tuple(given)
    )


def test_the_whole_loss_of_balanced_contrastive_learning() -> None:
    """The criterion on the first third of one pass over the batch and two views of it."""
    seeds: list[int] = []

    def brighter(images: Tensor, seed: int) -> Tensor:
        seeds.append(seed)
        return images + seed % 7

    algorithm = contrastive(brighter, contrast=0.6)
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 0, 0, 1, 1, 2])
    found = algorithm.loss(images, labels, CrossEntropy(COUNTS), 3)
    assert len(set(seeds)) == 2
    views = [images, *(images + seed % 7 for seed in seeds)]
    features = algorithm.network.body(torch.cat(views))
    logits = algorithm.network.head(features[:6])
    projected = (algorithm.projection(features[6:]), algorithm.prototypes(algorithm.head.weight))
    v, centres = (F.normalize(x, dim=1).detach().double().numpy() for x in projected)
    expected = contrast(v, labels.repeat(2).numpy(), centres, 0.1)
    whole = F.cross_entropy(logits, labels).item() + 0.6 * expected
    assert found.item() == pytest.approx(whole, rel=1e-4)
    algorithm.eval()
    torch.testing.assert_close(algorithm(images), algorithm.head(algorithm.features(images)))


def test_views_are_a_function_of_the_seed() -> None:
    images = torch.randn(5, 3, 7, 9)
    before = torch.get_rng_state()
    first, second, again = (RandomViews()(images, seed) for seed in (0, 1, 0))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state()), "nothing is taken from torch's own stream"


def test_a_view_shows_a_part_of_the_image_mirrored_or_not() -> None:
    """A ramp from left to right stays one, of a slope that is at most the image's, and lies within
    its values."""
    ramp = torch.linspace(-1, 1, 32).expand(200, 1, 32, 32).contiguous()
    views = RandomViews(area=0.3, flip=True, jitter=0.0)(ramp, 5)
    assert views.min() >= -1 - 1e-6
    assert views.max() <= 1 + 1e-6
    assert torch.allclose(views, views[:, :, :1], atol=1e-6), "rows are alike"
    slope = (views[:, 0, 0, 20] - views[:, 0, 0, 12]) / (ramp[:, 0, 0, 20] - ramp[:, 0, 0, 12])
    share = slope.abs()
    assert 0.4 < (slope > 0).double().mean() < 0.6
    # The width of the smallest part is sqrt(0.3 * 3 / 4) of the image's.
    assert share.min() >= 0.3**0.5 * 0.75**0.5 - 1e-3
    assert share.max() <= 1 + 1e-3
    assert torch.equal(views, RandomViews(area=0.3, flip=True, jitter=0.0)(ramp, 5))


def test_jitter_changes_contrast_and_brightness_of_each_image_alone() -> None:
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)]).repeat(100, 1, 1, 1)
    views = RandomViews(area=1.0, jitter=0.4)(images, 0)[:, 0]
    assert torch.allclose(views, views[:, :1, :1], atol=1e-6), "a plain image stays plain"
    brightness = views[::2, 0, 0]
    assert brightness.abs().max() <= 0.4
    assert brightness.std() == pytest.approx(0.8 / 12**0.5, abs=0.03)
    assert (views[1::2, 0, 0] - 1).abs().max() <= 0.8


def test_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"RIDE needs a model whose `body`"):
        RIDE(lambda: nn.Linear(3, 3), COUNTS)
    with pytest.raises(ConfigError, match="BalancedContrastive needs a model with"):
        BalancedContrastive(lambda: nn.Linear(3, 3), COUNTS, RandomViews())
    with pytest.raises(ValueError, match="experts=1"):
        ride(experts=1)
    with pytest.raises(ValueError, match="area=0"):
        RandomViews(area=0)
