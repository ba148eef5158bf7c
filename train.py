"""Train one network per imbalance ratio: python train.py -m ratio=1,10,100"""

from skewlab import startup  # first: it answers Ctrl-C

# isort: split
import hydra
from omegaconf import DictConfig

from skewlab.launch.command_line import command_line
from skewlab.launch.job import run_job
from skewlab.launch.sweep import report_results

startup.imported()


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> float:
    """Train the run of one job. Hydra composes its configuration."""
    return run_job(config)


if __name__ == "__main__":
    command_line(main, report_results)
