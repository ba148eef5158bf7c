"""What is kept of a pass for probes: what the network makes of each sample, in order."""

import numpy as np
import pytest
import torch
from probe_cases import NOISY, classifier_of, data_of, everything
from torch import nn

from skewlab.distributed import ALONE
from skewlab.probes.outputs import Gathered

COUNTS = (12, 5, 2)
BARE = {"_target_": "probe_cases.WithoutParts"}
SHADOWED = {"_target_": "test_outputs.Shadowed"}


class Shadowed(nn.Module):
    """As torchvision's Swin: a part `features` and a `head`, and more than the two in between."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.features, self.head = nn.Flatten(), nn.Linear(16, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(nn.functional.layer_norm(self.features(images), (16,)))
        return logits


@pytest.mark.parametrize(("model", "width"), [(NOISY, 8), (BARE, 0), (SHADOWED, 0)])
def test_logits_are_those_of_the_network_and_samples_in_their_order(
    model: dict[str, str], width: int
) -> None:
    module, data = classifier_of(COUNTS, model).eval(), data_of(COUNTS)
    seen = Gathered()
    with torch.inference_mode():
        for batch in reversed(list(data.evaluation_batches("train"))):
            logits = seen.add(module, batch.images, batch.labels, batch.rows)
            assert torch.equal(logits, module(batch.images))
        whole = seen.whole(ALONE)
        expected = module(everything(data).images).numpy()
    assert whole is not None
    assert whole.features.shape == (19, width)
    np.testing.assert_array_equal(whole.rows, np.arange(19))
    np.testing.assert_array_equal(whole.labels, data.labels("train"))
    np.testing.assert_allclose(whole.logits, expected, rtol=1e-5, atol=1e-6)
    if width:
        head = module.network.head
        again = whole.features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
        np.testing.assert_allclose(whole.logits, again, rtol=1e-4, atol=1e-5)
