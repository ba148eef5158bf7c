"""Evaluate a trained run: python eval.py run=logs/<study>/<run name>"""

from skewlab import startup  # first: it answers Ctrl-C

# isort: split
import hydra
from omegaconf import DictConfig

from skewlab.launch.command_line import command_line, exit_on_error

startup.imported()


@hydra.main(version_base="1.3", config_path="configs", config_name="eval")
def main(config: DictConfig) -> None:
    """Evaluate one run. Hydra composes its configuration."""
    from skewlab.launch.evaluate import evaluate

    with exit_on_error():
        evaluate(config)


if __name__ == "__main__":
    command_line(main, lambda: 0)
