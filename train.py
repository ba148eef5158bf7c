"""Train one network per imbalance ratio: python train.py -m ratio=1,10,100"""

import hydra
from omegaconf import DictConfig

from skewlab.sweep import command_line, run_job


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> None:
    """One job, as Hydra composed it."""
    run_job(config)


if __name__ == "__main__":
    command_line(main)
