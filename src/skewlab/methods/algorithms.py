"""Methods that own their network or what a training step minimises: several heads or experts,
several views of a sample, a memory.

Each is built as `target(new_network, counts, **keys)` and takes the network's place: its `forward`
gives the logits that are evaluated, its `loss` what a step minimises. The method's loss and class
weights reach it as `criterion`; the sampler, optimiser and schedule are the run's as ever.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skewlab.config.parts import Part, build
from skewlab.errors import ConfigError
from skewlab.methods import deferral
from skewlab.models.network import has_parts, network_offers
from skewlab.seeding import mixed_seed

# The method's loss with the class weights of the epoch: logits [batch, classes] and labels [batch]
# to a scalar.
Criterion = Callable[[Tensor, Tensor], Tensor]
NEEDS_HEAD = "needs a network with a `body` and a linear `head`, as skewlab.models.network has"


class Algorithm(nn.Module):
    """The base of all methods that own their network. What one remembers from step to step it keeps
    in buffers, which are part of a checkpoint."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape [batch, classes], of normalised images [batch, channels, height, width]."""
        raise NotImplementedError

    def begin(self, epoch: int, max_epochs: int) -> None:
        """Called at the beginning of each epoch, counted from 0, and where a run goes on."""

    def loss(self, images: Tensor, labels: Tensor, criterion: Criterion, seed: int) -> Tensor:
        """What a training step minimises, a scalar.

        Args:
            images: normalised, as the data's own augmentation left them.
            labels: shape [batch].
            criterion: the method's loss, with its class weights.
            seed: of what is random in the step. The streams that dropout draws from are seeded
                already.
        """
        raise NotImplementedError


def trained_network(
    model: Part,
    method: Mapping[str, Any],
    input_shape: Sequence[int],
    counts: Tensor,
    vocabulary: int | None = None,
    built: Callable[..., Any] = build,
) -> nn.Module:
    """The network that a method trains: the model with the method's head, or the algorithm that has
    taken its place.

    Args:
        model, method: their configuration.
        input_shape: of one input as it is stored.
        counts: training samples of each class, shape [classes].
        vocabulary: number of tokens, where inputs are tokens.
        built: builds a part.

    Raises:
        ConfigError: a head or an algorithm that the model's network is not fit for.
    """

    def new_network() -> nn.Module:
        given = network_offers(model, vocabulary)
        network: nn.Module = built(model, tuple(input_shape), len(counts), key="model", **given)
        if method.get("head"):
            if not (isinstance(getattr(network, "head", None), nn.Linear) and has_parts(network)):
                raise ConfigError(f"method.head: {NEEDS_HEAD}; {model['_target_']} gives none")
            network.head = built(method["head"], network.head, key="method.head")
        return network

    if not method.get("algorithm"):
        return new_network()
    algorithm: nn.Module = built(method["algorithm"], new_network, counts, key="method.algorithm")
    return algorithm


class RIDE(Algorithm):
    """Several experts that share the first modules of the body; their mean logits decide (Wang et
    al., ICLR 2021, without its routing of samples to experts and without distillation).

    The loss is the sum over experts of

        criterion(z_i) - diversity * T^2 * KL(softmax(mean_j z_j / t) || softmax(z_i / t)),

    where no gradient flows through the mean, as in the authors' code. t is a temperature for each
    class, t_c = `temperature` * u_c / max_j u_j with u_c = 1 - balance + balance * C pi_c, and T
    its mean. Until `deferred_until` every t_c is `temperature`.

    Differences to the authors' network: each expert has the model's full width, not three quarters.

    Args:
        new_network: makes a network of a sequential `body` and a `head`, each time with new initial
            weights.
        counts: training samples of each class, shape [classes].
        experts: how many.
        shared: share of the body's modules, from the input on, that all experts have in common.
        diversity: weight of the divergence from the mean.
        temperature: see above.
        balance: see above; 0 gives all classes one temperature.
        deferred_until: see `deferral.first_epoch`.

    Raises:
        ConfigError: a network without a sequential body.
        ValueError: keys out of their range.
    """

    prior: Tensor

    def __init__(
        self,
        new_network: Callable[[], nn.Module],
        counts: Tensor,
        experts: int = 3,
        shared: float = 0.4,
        diversity: float = 0.2,
        temperature: float = 1.0,
        balance: float = 0.05,
        deferred_until: float = 0.8,
    ) -> None:
        super().__init__()
        if experts < 2:
            raise ValueError(f"experts={experts} must be at least 2")
        if not (0 <= shared <= 1 and 0 <= balance < 1 and temperature > 0):
            raise ValueError(
                f"shared={shared}, balance={balance} and temperature={temperature} must be from 0 "
                "to 1, from 0 to below 1, and above 0"
            )
        networks: list[Any] = [new_network() for _ in range(experts)]
        if not isinstance(getattr(networks[0], "body", None), nn.Sequential):
            raise ConfigError(
                "method.algorithm: RIDE needs a model whose `body` is a torch.nn.Sequential, such "
                "as mlp, small_cnn and resnet32"
            )
        common = round(shared * len(networks[0].body))
        self.shared = networks[0].body[:common]
        self.experts = nn.ModuleList(
            nn.Sequential(*network.body[common:], network.head) for network in networks
        )
        self.deferred_until = deferred_until
        self._diversity, self._temperature, self._balance = diversity, temperature, balance
        self._by_class = False
        self.register_buffer("prior", (counts.double() / counts.sum()).float())

    def begin(self, epoch: int, max_epochs: int) -> None:
        self._by_class = epoch >= deferral.first_epoch(self.deferred_until, max_epochs)

    def logits_of_experts(self, images: Tensor) -> Tensor:
        """Shape [experts, batch, classes]."""
        features = self.shared(images)
        return torch.stack([expert(features) for expert in self.experts])

    def forward(self, images: Tensor) -> Tensor:
        return self.logits_of_experts(images).mean(dim=0)

    def loss(self, images: Tensor, labels: Tensor, criterion: Criterion, seed: int) -> Tensor:
        return self.loss_of_logits(self.logits_of_experts(images), labels, criterion)

    def loss_of_logits(self, logits: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
        """The loss of the experts' logits, shape [experts, batch, classes]."""
        t = torch.full_like(self.prior, self._temperature)
        if self._by_class:
            u = 1 - self._balance + self._balance * len(self.prior) * self.prior
            t = t * u / u.max()
        mean = F.softmax(logits.mean(dim=0).detach() / t, dim=1)
        total = torch.zeros((), dtype=logits.dtype, device=logits.device)
        for own in logits:
            apart = F.kl_div(F.log_softmax(own / t, dim=1), mean, reduction="batchmean")
            total = total + criterion(own, labels) - self._diversity * t.mean() ** 2 * apart
        return total


class BalancedContrastive(Algorithm):
    """Balanced contrastive learning, BCL: the criterion on the batch, and a contrastive loss on two
    more views of it, in which every class counts the same (Zhu et al., CVPR 2022).

    A projection maps the features of both views, and another one the head's class weights, to unit
    vectors; the latter are the classes' prototypes. For a view i of class y, with A the other views
    and all prototypes, and A_c those of class c, the loss is the mean over p in A_y of

        -log( exp(v_i v_p / t) / sum_c mean_{k in A_c} exp(v_i v_k / t) ).

    Their code pairs this with logit adjustment as the criterion and a cosine head, as
    `configs/method/balanced_contrastive.yaml` does.

    Args:
        new_network: makes a network with `features` and a linear `head`.
        counts: training samples of each class, shape [classes]; not used.
        image_views: makes a view, `(images, seed)` to images; see `RandomViews`.
        contrast: weight of the contrastive loss.
        temperature: t.
        width: of the unit vectors.

    Raises:
        ConfigError: a network without these parts.
    """

    def __init__(
        self,
        new_network: Callable[[], nn.Module],
        counts: Tensor,
        image_views: Callable[[Tensor, int], Tensor],
        contrast: float = 0.35,
        temperature: float = 0.1,
        width: int = 128,
    ) -> None:
        super().__init__()
        self.network: Any = new_network()
        head = getattr(self.network, "head", None)
        if not (isinstance(head, nn.Linear) and hasattr(self.network, "features")):
            raise ConfigError(
                "method.algorithm: BalancedContrastive needs a model with `features` and a linear "
                "`head`, as skewlab.models.network has"
            )
        self._views, self._contrast, self._temperature = image_views, contrast, temperature
        self.projection = _projection(head.in_features, width)
        self.prototypes = _projection(head.in_features, width)

    @property
    def head(self) -> nn.Module:
        """The classifier's head, for probes."""
        head: nn.Module = self.network.head
        return head

    def features(self, images: Tensor) -> Tensor:
        """The features that the head is given, shape [batch, width]."""
        features: Tensor = self.network.features(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits

    def loss(self, images: Tensor, labels: Tensor, criterion: Criterion, seed: int) -> Tensor:
        views = [self._views(images, mixed_seed(seed, view)) for view in range(2)]
        # One pass, so that batch normalisation sees them together, as in the authors' code.
        features = self.features(torch.cat([images, *views]))
        own, others = features[: len(labels)], features[len(labels) :]
        vectors = F.normalize(self.projection(others), dim=1)
        centres = F.normalize(self.prototypes(self.network.head.weight), dim=1)
        contrast = self.contrastive_loss(vectors, labels.repeat(2), centres)
        return criterion(self.head(own), labels) + self._contrast * contrast

    def contrastive_loss(self, vectors: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
        """The loss above, its mean over the views.

        Args:
            vectors: of all views, of length 1, shape [views, width].
            labels: of each, shape [views].
            centres: the prototypes, of length 1, shape [classes, width].
        """
        classes = torch.arange(len(centres), device=labels.device)
        of_all = torch.cat([labels, classes])
        z = vectors @ torch.cat([vectors, centres]).T / self._temperature
        itself = torch.eye(*z.shape, dtype=torch.bool, device=z.device)
        same = (labels[:, None] == of_all[None, :]) & ~itself
        # |A_c| as seen from each view: its own class has itself less.
        sizes = torch.bincount(of_all)[of_all][None, :] - same.long()
        weighted = (z - sizes.to(z.dtype).log()).masked_fill(itself, -math.inf)
        log_p = z - weighted.logsumexp(dim=1, keepdim=True)
        return -((same * log_p).sum(dim=1) / same.sum(dim=1)).mean()


def _projection(features: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, features),
        nn.BatchNorm1d(features),
        nn.ReLU(),
        nn.Linear(features, width),
    )


class RandomViews:
    """Views of a batch, each image changed at random by itself: a part of it, enlarged to its size,
    mirrored or not, with another contrast and brightness.

    It stands for the stronger augmentation of contrastive learning (`RandomResizedCrop`, flip and
    colour jitter), for the whole batch at once and on the device. Random numbers are drawn on the
    CPU, so that they do not depend on the device.

    Args:
        area: the smallest share of the image that a view shows.
        flip: whether to mirror with probability 1/2.
        jitter: contrast is multiplied by 1 - jitter to 1 + jitter, and up to jitter standard
            deviations are added to all pixels.

    Raises:
        ValueError: an area that is not above 0 and at most 1, or a jitter not from 0 to below 1.
    """

    def __init__(self, area: float = 0.2, flip: bool = False, jitter: float = 0.4) -> None:
        if not (0 < area <= 1 and 0 <= jitter < 1):
            raise ValueError(f"area={area} and jitter={jitter} must be above 0, and below 1")
        self._area, self._flip, self._jitter = area, flip, jitter

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """A view of normalised images [batch, channels, height, width]."""
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(7, len(images), generator=generator)
        area = self._area + (1 - self._area) * drawn[0]
        stretch = (math.log(4 / 3) * (2 * drawn[1] - 1)).exp()
        width, height = ((area * s).sqrt().clamp(max=1) for s in (stretch, 1 / stretch))
        mirrored = torch.where(drawn[2] < 0.5, -1.0, 1.0) if self._flip else torch.ones(len(images))
        # Where a point of the view lies in the image: sides from -1 to 1.
        place = torch.zeros(len(images), 2, 3)
        place[:, 0, 0], place[:, 1, 1] = mirrored * width, height
        place[:, 0, 2] = (1 - width) * (2 * drawn[3] - 1)
        place[:, 1, 2] = (1 - height) * (2 * drawn[4] - 1)
        contrast = 1 + self._jitter * (2 * drawn[5] - 1)
        brightness = self._jitter * (2 * drawn[6] - 1)
        place, contrast, brightness = (
            part.to(images.device, images.dtype, non_blocking=True)
            for part in (place, contrast, brightness)
        )
        grid = F.affine_grid(place, list(images.shape), align_corners=False)
        views = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return contrast[:, None, None, None] * views + brightness[:, None, None, None]
