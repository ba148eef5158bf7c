"""MLflow: a local database, or a tracking server."""

import logging
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock
from pytorch_lightning.loggers import MLFlowLogger

from skewlab.config.schema import RunConfig
from skewlab.runs.folder import RunFolder

# MLflow takes no more numbers at once; 100 classes have more.
MOST_AT_ONCE = 1000
# The tag that tells a run that goes on from another one of the same name.
BEGUN = "skewlab.begun"


class MLflowRun(MLFlowLogger):
    """Lightning's MLflow logger: a study is an experiment, a run has its folder's name.

    It holds the rows and the configuration. A run that goes on after an interruption is a new
    MLflow run; the earlier one is deleted (MLflow shows it under *Deleted*).

    Args:
        config: of the run.
        folder: of the run.
        tracking_uri: a database, such as `sqlite:///logs/mlflow.db`, or a server's address.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, *, tracking_uri: str) -> None:
        import mlflow  # noqa: F401 - which sets the level of its log

        # Below it says how it makes its tables.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        # The first job makes the tables, and the first of a study the experiment. Jobs that start
        # at the same time would all try, and all but one would fail.
        with FileLock(Path(config.logs_dir) / ".mlflow.lock"):
            super().__init__(
                experiment_name=config.study,
                run_name=folder.name,
                tracking_uri=tracking_uri,
                tags={BEGUN: folder.created},
            )
            client = self.experiment
        same = f"attributes.run_name = '{folder.name}' and tags.`{BEGUN}` = '{folder.created}'"
        for run in client.search_runs([self.experiment_id], same):
            if run.info.run_id != self.run_id:
                client.delete_run(run.info.run_id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        names = list(metrics)
        for first in range(0, len(names), MOST_AT_ONCE):
            part = names[first : first + MOST_AT_ONCE]
            super().log_metrics({name: metrics[name] for name in part}, step)
