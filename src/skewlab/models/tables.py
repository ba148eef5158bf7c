"""A network for tables."""

from torch import Tensor, nn

from skewlab.errors import ConfigError
from skewlab.models.network import Network


class ResidualBlock(nn.Module):
    """x + dropout(linear(dropout(relu(linear(norm(x)))))."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.layers(x)
        return found


def tabular_resnet(
    input_shape: tuple[int, ...],
    classes: int,
    blocks: int = 3,
    width: int = 192,
    hidden: int = 384,
    dropout: float = 0.2,
) -> Network:
    """The ResNet for tables of Gorishniy et al. (2021, "Revisiting Deep Learning Models for Tabular
    Data"): a linear layer, residual blocks of batch normalisation and two linear layers, and
    normalisation and ReLU before the head.

    Args:
        input_shape: (features,).
        classes: number of logits.
        blocks: how many.
        width: of what the blocks add to.
        hidden: of the layer inside of a block.
        dropout: probability after a block's ReLU.

    Raises:
        ConfigError: the inputs are no rows of a table.
    """
    if len(input_shape) != 1:
        raise ConfigError(
            f"model=tabular_resnet: needs a table, [features], not inputs of {list(input_shape)}"
        )
    body = nn.Sequential(
        nn.Linear(input_shape[0], width),
        *(ResidualBlock(width, hidden, dropout) for _ in range(blocks)),
        nn.BatchNorm1d(width),
        nn.ReLU(),
    )
    return Network(body, nn.Linear(width, classes))
