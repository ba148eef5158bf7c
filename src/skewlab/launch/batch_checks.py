"""Whether the batches of an epoch can be trained on."""

from torch import nn

from skewlab.config.schema import RunConfig
from skewlab.data.sources import Source
from skewlab.data.transforms import first_inputs
from skewlab.errors import ConfigError

# What PyTorch says of batch normalisation in training mode that has one value for a channel.
ONE_VALUE = "more than 1 value per channel"


def check_batches(
    config: RunConfig,
    rows: int,
    source: Source,
    network: nn.Module,
    processes: int = 1,
) -> None:
    """Refuse an epoch without a batch, and batches of a single sample for a network that cannot be
    trained on one, such as one with batch normalisation after its last pooling.

    Args:
        config: the run.
        rows: training samples of an epoch.
        source: its data.
        network: as the model's part builds it.
        processes: that share each batch, and normalise their shares by themselves.

    Raises:
        ConfigError: says what to change.
    """
    size, least = config.data.batch_size, 2 * processes
    if config.data.drop_last and rows < size:
        raise ConfigError(
            f"data.drop_last=true: leaves no batch of {size} from {rows} training samples; set "
            f"data.batch_size to at most {rows}"
        )
    if not _has_single(config, rows, size, least) or _trains_on_one(config, source, network):
        return
    others = sorted(range(least, max(2 * size, rows) + least), key=lambda other: abs(other - size))
    better = next((other for other in others if not _has_single(config, rows, other, least)), None)
    ways = [] if better is None else [f"set data.batch_size={better}"]
    if not config.data.drop_last and rows >= size >= least:
        ways.append("set data.drop_last=true, which leaves out the smaller last batch of an epoch")
    raise ConfigError(
        f"data.batch_size={size}: makes a batch with a single one of the {rows} training samples, "
        f"and the network's batch normalisation needs two; {', or '.join(ways)}"
    )


def _has_single(config: RunConfig, rows: int, size: int, least: int) -> bool:
    """Whether a batch of an epoch that is trained on has less than the least number of samples."""
    batches, rest = divmod(rows, size)
    limit = config.trainer.arguments().get("limit_train_batches")
    reached = limit is None or (
        limit > batches if isinstance(limit, int) else int(limit * (batches + 1)) > batches
    )
    return (batches > 0 and size < least) or (
        0 < rest < least and reached and not config.data.drop_last
    )


def _trains_on_one(config: RunConfig, source: Source, network: nn.Module) -> bool:
    """Whether the network can be trained on one sample: PyTorch refuses to normalise one value."""
    try:
        network.train()(first_inputs(config.data.normalise, source, 1))
    except ValueError as error:
        return ONE_VALUE not in str(error)
    except Exception:  # for another reason: that is not asked here
        return True
    return True
