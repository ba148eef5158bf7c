"""Networks for token ids; token 0 fills up short texts and has no say."""

import torch
from torch import Tensor, nn

from skewlab.errors import ConfigError
from skewlab.models.network import Network


class BagOfTokens(nn.Module):
    """The mean of the tokens' vectors."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, width, padding_idx=0)

    def forward(self, tokens: Tensor) -> Tensor:
        return mean_of_present(self.vectors(tokens), tokens != 0)


class TokenEncoder(nn.Module):
    """Vectors of tokens and of their places, layers of self-attention, the mean over tokens."""

    def __init__(
        self, length: int, vocabulary: int, width: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, width, padding_idx=0)
        self.places = nn.Parameter(torch.empty(length, width))
        nn.init.normal_(self.places, std=0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )

    def forward(self, tokens: Tensor) -> Tensor:
        present = tokens != 0
        # A text without a token would be attended to by nothing.
        hidden = ~(present | (~present.any(dim=1, keepdim=True)))
        found = self.layers(self.vectors(tokens) + self.places, src_key_padding_mask=hidden)
        return mean_of_present(found, present)


def mean_of_present(vectors: Tensor, present: Tensor) -> Tensor:
    """The mean over the tokens that are there, shape [batch, width]; 0 where there is none.

    Args:
        vectors: [batch, length, width].
        present: bool [batch, length].
    """
    weights = present.to(vectors.dtype)[..., None]
    return (vectors * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def embedding_bag(
    input_shape: tuple[int, ...], classes: int, vocabulary: int, width: int = 64
) -> Network:
    """The mean of learned token vectors and a linear head, as fastText (Joulin et al. 2017).

    Args:
        input_shape: (length,).
        classes: number of logits.
        vocabulary: number of tokens, the filling one among them.
        width: of a token's vector.
    """
    _check(input_shape, "embedding_bag")
    return Network(BagOfTokens(vocabulary, width), nn.Linear(width, classes))


def token_transformer(
    input_shape: tuple[int, ...],
    classes: int,
    vocabulary: int,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.1,
) -> Network:
    """A small transformer encoder (Vaswani et al. 2017) with normalisation first and learned
    places; the head takes the mean over tokens.

    Args:
        input_shape: (length,).
        classes: number of logits.
        vocabulary: number of tokens, the filling one among them.
        width: of a token's vector, a multiple of `heads`.
        layers, heads: of self-attention.
        dropout: probability in each layer.

    Raises:
        ConfigError: the width is no multiple of the heads.
    """
    _check(input_shape, "token_transformer")
    if width % heads:
        raise ConfigError(f"model.width={width}: must be a multiple of model.heads={heads}")
    body = TokenEncoder(input_shape[0], vocabulary, width, layers, heads, dropout)
    return Network(body, nn.Linear(width, classes))


def _check(input_shape: tuple[int, ...], name: str) -> None:
    if len(input_shape) != 1:
        raise ConfigError(f"model={name}: needs tokens, [length], not {list(input_shape)}")
