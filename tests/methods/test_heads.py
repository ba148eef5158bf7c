import torch
from torch import nn

from skewlab.methods.heads import CosineHead
from skewlab.methods.losses import LDAM


def test_logits_are_scaled_cosines() -> None:
    linear = nn.Linear(8, 3)
    head = CosineHead(linear, scale=16.0)
    features = torch.randn(5, 8) * 100
    cosines = torch.cosine_similarity(features[:, None], linear.weight[None], dim=2)
    torch.testing.assert_close(head(features), 16 * cosines, rtol=1e-5, atol=1e-5)
    before = head(features)
    head.weight.data *= torch.tensor([[0.1], [1.0], [20.0]])
    torch.testing.assert_close(head(features), before, rtol=1e-5, atol=1e-5)


def test_with_ldam_it_is_the_papers_loss() -> None:
    """scale * (cosine - margin) for the true class, scale * cosine for the others."""
    counts, labels = torch.tensor([50, 5, 1]), torch.tensor([0, 1, 2, 2, 0])
    head = CosineHead(nn.Linear(8, 3), scale=30.0)
    features = torch.randn(5, 8)
    cosines = head(features) / 30
    margins = 0.5 * (1 / counts) ** 0.25
    cosines[torch.arange(5), labels] -= margins[labels]
    expected = nn.functional.cross_entropy(30 * cosines, labels)
    loss = LDAM(counts, max_margin=0.5, scale=30.0)(head(features), labels)
    torch.testing.assert_close(loss, expected)


def test_new_directions_have_length_1() -> None:
    head = CosineHead(nn.Linear(8, 3))
    before = head.weight.clone()
    head.reset_parameters()
    torch.testing.assert_close(head.weight.norm(dim=1), torch.ones(3))
    assert not torch.allclose(head.weight, before)
