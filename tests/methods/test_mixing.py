import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skewlab.methods.mixing import CutMix, Mixed, Mixup, Remix
from skewlab.methods.objective import Objective

COUNTS = torch.tensor([100, 50, 10])
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
# Each image is one number everywhere: its place in the batch.
IMAGES = torch.arange(8.0)[:, None, None, None].expand(8, 1, 6, 10).contiguous()


def pairs(mixed: Mixed, share: float) -> list[int]:
    """The partner of each image, found from the pixels: share * own + (1 - share) * partner."""
    value = mixed.images[:, 0, 0, 0]
    partner = (value - share * torch.arange(8)) / (1 - share)
    return [round(place) for place in partner.tolist()]


def test_mixup_by_hand() -> None:
    for seed in range(5):
        mixed = Mixup(COUNTS)(IMAGES, LABELS, seed)
        share = float(mixed.own[0])
        assert (mixed.own == share).all()
        partners = pairs(mixed, share)
        assert sorted(partners) == list(range(8)), "everyone is somebody's partner once"
        assert mixed.partners.tolist() == LABELS[partners].tolist()
        again = Mixup(COUNTS)(IMAGES, LABELS, seed)
        assert torch.equal(mixed.images, again.images)


def test_shares_are_beta_distributed() -> None:
    shares = [float(Mixup(COUNTS, 0.4)(IMAGES, LABELS, seed).own[0]) for seed in range(800)]
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)).
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)
    assert np.var(shares) == pytest.approx(1 / (4 * 1.8), abs=0.015)


def test_the_loss_of_mixed_labels_is_that_of_soft_ones() -> None:
    """l CE(a) + (1 - l) CE(b) is the cross-entropy of the soft label, with class weights too."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 3))
    parts = {
        "loss": {"_target_": "skewlab.methods.losses.CrossEntropy"},
        "mixing": {"_target_": "skewlab.methods.mixing.Mixup"},
    }
    loss, weight = Objective(parts, network, COUNTS)(network, IMAGES, LABELS, 1, 2)
    assert weight is None
    mixed = Mixup(COUNTS)(IMAGES, LABELS, 2)
    soft = mixed.own[:, None] * F.one_hot(LABELS, 3)
    soft = soft + (1 - mixed.own[:, None]) * F.one_hot(mixed.partners, 3)
    assert loss.item() == pytest.approx(F.cross_entropy(network(mixed.images), soft).item())
    parts["weights"] = {"_target_": "skewlab.methods.weights.InverseFrequency"}
    objective = Objective(parts, network, COUNTS)
    objective.begin(0, 10, torch.device("cpu"))
    loss, weight = objective(network, IMAGES, LABELS, 1, 2)
    weights = (1 / COUNTS) / (1 / COUNTS).mean()
    log_p = F.log_softmax(network(mixed.images), 1)
    expected = -(soft * weights * log_p).sum() / (soft * weights).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert weight is not None
    assert weight.item() == pytest.approx((soft * weights).sum().item(), rel=1e-5)


def test_remix_gives_the_rarer_class_the_label() -> None:
    """The three cases of the paper's rule, for every pair of 100, 50 and 10 samples."""
    seen = set()
    for seed in range(60):
        mixed = Remix(COUNTS, kappa=3.0, tau=0.5)(IMAGES, LABELS, seed)
        share = float(Mixup(COUNTS)(IMAGES, LABELS, seed).own[0])
        assert torch.equal(mixed.images, Mixup(COUNTS)(IMAGES, LABELS, seed).images)
        for label, partner, own in zip(LABELS, mixed.partners, mixed.own, strict=True):
            ratio = COUNTS[label].item() / COUNTS[partner].item()
            if ratio >= 3 and share < 0.5:
                expected = 0.0
            elif ratio <= 1 / 3 and 1 - share < 0.5:
                expected = 1.0
            else:
                expected = share
            seen.add(expected if expected in (0.0, 1.0) else "shared")
            assert own.item() == pytest.approx(expected)
    assert seen == {0.0, 1.0, "shared"}


def test_cutmix_pastes_what_its_labels_say() -> None:
    areas = []
    for seed in range(40):
        mixed = CutMix(COUNTS)(IMAGES, LABELS, seed)
        order = np.random.RandomState(seed)
        order.beta(1.0, 1.0)
        partners = torch.from_numpy(order.permutation(8))
        for place in range(8):
            image = mixed.images[place, 0]
            own, other = image == place, image == partners[place]
            assert (own | other).all()
            if partners[place] != place:
                assert own.double().mean().item() == pytest.approx(mixed.own[place].item())
                rows, columns = torch.nonzero(other, as_tuple=True)
                if len(rows):
                    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
                    assert box == len(rows), "one rectangle"
        areas.append(float(mixed.own[0]))
    assert torch.equal(IMAGES[:, 0, 0, 0], torch.arange(8.0)), "the batch itself is left alone"
    assert min(areas) < 0.6
    assert max(areas) > 0.95


def test_cutmix_leaves_the_batches_that_it_does_not_mix() -> None:
    mixed = [CutMix(COUNTS, probability=0.3)(IMAGES, LABELS, seed) for seed in range(300)]
    whole = [torch.equal(one.images, IMAGES) for one in mixed]
    # A few of the others have a rectangle of no pixel.
    assert np.mean(whole) == pytest.approx(0.7, abs=0.1)
    assert all((one.own == 1).all() for one, left in zip(mixed, whole, strict=True) if left)
    with pytest.raises(ValueError, match=r"probability=1\.5"):
        CutMix(COUNTS, probability=1.5)


@pytest.mark.parametrize("kind", [Mixup, Remix, CutMix])
def test_an_alpha_of_0_is_refused(kind: type[Mixup]) -> None:
    with pytest.raises(ValueError, match="alpha=0"):
        kind(COUNTS, alpha=0)


def test_mixing_takes_nothing_from_torchs_random_numbers() -> None:
    before: Tensor = torch.get_rng_state()
    CutMix(COUNTS)(IMAGES, LABELS, 3)
    assert torch.equal(before, torch.get_rng_state())


def test_remix_counts_a_ratio_of_exactly_kappa() -> None:
    """30 and 10 samples at kappa = 3: the rarer class has the whole label, from either side."""
    labels = torch.tensor([0, 1])
    seen = set()
    for seed in range(40):
        mixed = Remix(torch.tensor([30, 10]), kappa=3.0, tau=0.5)(IMAGES[:2], labels, seed)
        share = float(Mixup(COUNTS)(IMAGES[:2], labels, seed).own[0])
        if mixed.partners.tolist() == [1, 0]:
            expected = (0.0, share) if share < 0.5 else (share, 1.0)
            assert mixed.own.tolist() == pytest.approx(expected)
            seen.add(share < 0.5)
    assert seen == {False, True}
