"""TensorBoard, for those who look at runs on their own machine or cluster."""

import shutil
import socket
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

from skewlab.config.schema import RunConfig
from skewlab.loggers.charts import PROBE_CHARTS, RANKING_TITLES
from skewlab.loggers.ending import CLASSES, COLUMNS, CONFUSION, Ending
from skewlab.runs.folder import DONE, RunFolder

# Charts of several curves, on the page CUSTOM SCALARS: by section, title and the curves' names.
CHARTS = {
    "minority and majority": {
        f"{metric} on {split}": ["Multiline", [f"^{split}/{metric}/(majority|minority)$"]]
        for metric in ("recall", "loss")
        for split in ("train", "test")
    },
    "gaps": {
        "recall, train minus test": ["Multiline", ["^gap/generalisation/recall/"]],
        "recall, majority minus minority": ["Multiline", ["^gap/group/recall/"]],
    },
}
RANKING_CHARTS = {
    "rankings": {
        f"{title} on {split}": ["Multiline", [f"^{split}/{metric}/(majority|minority)$"]]
        for metric, title in RANKING_TITLES.items()
        for split in ("train", "test")
    }
}
# What the page HPARAMS compares runs by.
COMPARED = ("test/recall/majority", "test/recall/minority", "train/recall/minority")


class TensorBoardRun(TensorBoardLogger):
    """TensorBoard files in `<run>/tensorboard`; open with `tensorboard --logdir logs`.

    Besides the rows they hold charts of both groups and of the probes that are on, and at the end
    the class table, the confusion matrix, the pictures, and a row on the page HPARAMS.
    """

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        shutil.rmtree(folder.path / "tensorboard", ignore_errors=True)
        super().__init__(save_dir=folder.path, name="", version="tensorboard")
        of_probes = {
            probe: {
                title: ["Multiline", [f"^{name}$" for name in names]]
                for title, names in PROBE_CHARTS.get(probe, {}).items()
            }
            for probe in config.curves.probes
        }
        rankings = RANKING_CHARTS if config.curves.rankings else {}
        self.experiment.add_custom_scalars(CHARTS | rankings | of_probes)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `end` writes the run's only row of HPARAMS, with its results. A second one would
        hide the first."""

    def end(self, ending: Ending) -> None:
        if ending.has_results:
            self._log_results(ending)
        self.experiment.close()
        for path in ending.path.glob("tensorboard/*tfevents*"):  # it puts the machine's name there
            path.rename(path.with_name(path.name.replace(f".{socket.gethostname()}.", ".")))

    def _log_results(self, ending: Ending) -> None:
        board, step = self.experiment, ending.step
        rows = [COLUMNS, ["---"] * len(COLUMNS), *ending.classes]
        lines = ("| " + " | ".join(map(str, row)) + " |" for row in rows)
        board.add_text(CLASSES, "\n".join(lines), step)
        if (counts := ending.confusion) is not None:
            from skewlab.report.run_figure import draw_confusion

            names = [row.name for row in ending.classes]
            board.add_figure(CONFUSION, draw_confusion(counts, names), step)
        for name, path in ending.pictures().items():
            with Image.open(path) as image:
                board.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
        if ending.state == DONE:
            self._log_choices(ending)

    def _log_choices(self, ending: Ending) -> None:
        """A row of HPARAMS: what was chosen, and the last values of curves."""
        from torch.utils.tensorboard.summary import hparams

        writer = self.experiment._get_file_writer()
        compared = {name: ending.summary[name] for name in COMPARED}
        for summary in hparams(ending.choices, compared):  # type: ignore[no-untyped-call]
            writer.add_summary(summary)
