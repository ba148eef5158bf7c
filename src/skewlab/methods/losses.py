"""Training losses. Each is built from the training counts, then called on logits and labels.

Losses that change the logits (by margins, prior or temperatures) do so inside the loss only. The
network returns unchanged logits, and the curves evaluate these.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Loss(nn.Module):
    """The mean, or weighted mean, of the samples' losses.

    Class weights, mixed labels and gradients of single classes need the loss of each sample. A loss
    with the method `each` can be combined with all of them.
    """

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Every sample's loss, float, shape [batch], of logits [batch, classes] and labels
        [batch]."""
        raise NotImplementedError

    def forward(self, logits: Tensor, labels: Tensor, shares: Tensor | None = None) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: shape [batch, classes].
            labels: shape [batch].
            shares: weight of each sample, shape [batch]; the loss is the weighted mean. None
                where all samples have the same weight.
        """
        each = self.each(logits, labels)
        return each.mean() if shares is None else (shares * each).sum() / shares.sum()


class CrossEntropy(Loss):
    """Mean cross-entropy over the batch, without any change for imbalance.

    Args:
        counts: training samples of each class, shape [classes]; not used by this loss.
    """

    def __init__(self, counts: Tensor) -> None:
        super().__init__()

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none")

    def forward(self, logits: Tensor, labels: Tensor, shares: Tensor | None = None) -> Tensor:
        if shares is None:  # the same gradient with one operation less
            return F.cross_entropy(logits, labels)
        return super().forward(logits, labels, shares)


class Focal(Loss):
    """(1 - p)^gamma * -log p, with p the probability of the true class (after Lin et al., ICCV
    2017, whose probabilities are sigmoids: `SigmoidFocal`).

    p is the softmax of the logits; class weights multiply the loss and do not change p.

    Args:
        counts: not used by this loss.
        gamma: 0 is cross-entropy.
    """

    def __init__(self, counts: Tensor, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss = F.cross_entropy(logits, labels, reduction="none")
        # 1 - p without cancellation. At 1 - p = 0 and gamma below 1 the slope is infinite, so 1 - p
        # is at least the smallest positive number.
        other = -torch.expm1(-loss)
        return other.clamp_min(torch.finfo(other.dtype).tiny) ** self.gamma * loss


class SigmoidFocal(Loss):
    """sum_c (1 - p_c)^gamma * -log p_c over all classes, where p_c is the sigmoid of the true
    class's logit, and of minus the logit for each other class (Lin et al., ICCV 2017, as Cui et
    al., CVPR 2019, use it for many classes).

    Args:
        counts: not used by this loss.
        gamma: 0 is the binary cross-entropy, summed over classes.
    """

    def __init__(self, counts: Tensor, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        signs = 2 * F.one_hot(labels, logits.shape[1]).to(logits.dtype) - 1
        right = signs * logits
        # (1 - p)^gamma as a power of e, which stays precise where 1 - p is almost 0.
        factors = torch.exp(self.gamma * F.logsigmoid(-right))
        return -(factors * F.logsigmoid(right)).sum(dim=1)


class LDAM(Loss):
    """Cross-entropy after the true class's logit is lowered by scale * margin_c, with margin_c
    proportional to n_c^(-1/4) (Cao et al., NeurIPS 2019).

    Args:
        counts: training samples of each class, shape [classes].
        max_margin: the margin of the rarest class; 0 is cross-entropy.
        scale: of the logits. Where the logits are scale * cosine, this is the paper's
            scale * (cosine - margin). Use 1 for a linear head.
    """

    margins: Tensor

    def __init__(self, counts: Tensor, max_margin: float = 0.5, scale: float = 1.0) -> None:
        super().__init__()
        raw = counts.double() ** -0.25
        self.register_buffer("margins", (scale * max_margin * raw / raw.max()).float())

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        lowered = F.one_hot(labels, logits.shape[1]) * self.margins
        return F.cross_entropy(logits - lowered, labels, reduction="none")


class VectorScaling(Loss):
    """Cross-entropy of Delta_c z_c + tau log pi_c, with Delta_c = (n_c / n_max)^gamma and pi the
    training prior (VS loss, Kini et al., NeurIPS 2021).

    Args:
        counts: training samples of each class, shape [classes].
        gamma: of the factors; 0 is logit adjustment.
        tau: of the prior; 0 is class-dependent temperatures.
    """

    factors: Tensor
    offsets: Tensor

    def __init__(self, counts: Tensor, gamma: float = 0.15, tau: float = 1.25) -> None:
        super().__init__()
        n = counts.double()
        self.register_buffer("factors", ((n / n.max()) ** gamma).float())
        self.register_buffer("offsets", (tau * (n / n.sum()).log()).float())

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        changed = self.factors * logits + self.offsets
        return F.cross_entropy(changed, labels, reduction="none")


class LogitAdjustment(VectorScaling):
    """Cross-entropy of z_c + tau log pi_c (Menon et al., ICLR 2021).

    Args:
        counts: training samples of each class, shape [classes].
        tau: 0 is cross-entropy, 1 is consistent for the balanced error.
    """

    def __init__(self, counts: Tensor, tau: float = 1.0) -> None:
        super().__init__(counts, gamma=0.0, tau=tau)


class BalancedSoftmax(LogitAdjustment):
    """Cross-entropy of the softmax n_c exp(z_c) / sum_j n_j exp(z_j) (Ren et al., NeurIPS 2020):
    the same as logit adjustment with tau 1.

    Args:
        counts: training samples of each class, shape [classes].
    """

    def __init__(self, counts: Tensor) -> None:
        super().__init__(counts, tau=1.0)


class ClassDependentTemperature(VectorScaling):
    """Cross-entropy of z_c / a_c, with a_c = (n_max / n_c)^gamma (CDT, Ye et al. 2020).

    Args:
        counts: training samples of each class, shape [classes].
        gamma: 0 is cross-entropy.
    """

    def __init__(self, counts: Tensor, gamma: float = 0.2) -> None:
        super().__init__(counts, gamma=gamma, tau=0.0)


class LabelSmoothing(Loss):
    """Cross-entropy against 1 - e + e / C for the true class and e / C for each other one, with C
    the number of classes (Szegedy et al., CVPR 2016), as `F.cross_entropy(label_smoothing=e)`.

    Args:
        counts: not used by this loss.
        smoothing: e; 0 is cross-entropy.

    Raises:
        ValueError: a smoothing that is not at least 0 and below 1.
    """

    def __init__(self, counts: Tensor, smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing={smoothing} must be at least 0 and below 1")
        self.smoothing = smoothing

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)


class LabelAwareSmoothing(Loss):
    """Cross-entropy against 1 - e_y for the true class and e_y / (C - 1) for each other one, where
    e_y grows with the class's count (Zhong et al., CVPR 2021, its concave form):

    e_y = tail + (head - tail) sin(pi / 2 * (n_y - n_min) / (n_max - n_min)).

    This is the paper's equation. Its code spreads e_y over all C classes, the true one too, which
    is this loss with e_y (C - 1) / C.

    Args:
        counts: training samples of each class, shape [classes]. Where all are equal, every class
            has `head`.
        head, tail: e of the most and of the least frequent class; both 0 give cross-entropy.

    Raises:
        ValueError: head or tail is not at least 0 and below 1.
    """

    smoothing: Tensor

    def __init__(self, counts: Tensor, head: float = 0.3, tail: float = 0.0) -> None:
        super().__init__()
        if not (0 <= head < 1 and 0 <= tail < 1):
            raise ValueError(f"head={head} and tail={tail} must be at least 0 and below 1")
        n = counts.double()
        spread = n.max() - n.min()
        place = (n - n.min()) / spread if spread else torch.ones_like(n)
        smoothing = tail + (head - tail) * torch.sin(math.pi / 2 * place)
        self.register_buffer("smoothing", smoothing.float())

    def each(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_p = F.log_softmax(logits, dim=1)
        true = log_p.gather(1, labels[:, None]).squeeze(1)
        smoothing = self.smoothing.to(log_p.dtype)[labels]
        others = (log_p.sum(dim=1) - true) / (logits.shape[1] - 1)
        return -(1 - smoothing) * true - smoothing * others
