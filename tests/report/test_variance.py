"""Where the variance comes from, on a grid of seeds whose parts are known."""

from pathlib import Path

import numpy as np
import pytest
from made_up import make_run, rises

from skewlab.report.read import read_runs
from skewlab.report.sections.variance import REST, SECTION, TEST, components, rows, shares
from skewlab.report.settings import Setting, by_setting
from skewlab.report.thresholds import Thresholds

OF_SUBSET, OF_ORDER = (-0.1, 0.02, 0.08), (-0.01, 0.0, 0.01)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """The recall is 0.5, and more or less by the subset and the order; weights make no
    difference."""
    for data, subset in enumerate(OF_SUBSET):
        for init in range(2):
            for order, moved in enumerate(OF_ORDER):
                make_run(
                    tmp_path, ratio=10, seed=0, seeds=(data, init, order), epochs=1,
                    test=(rises(1), rises(1, 0.5 + subset + moved)), predicted=True,
                )  # fmt: skip
    (found,) = by_setting(read_runs([tmp_path]).finished)
    return found


def test_each_draw_has_its_own_part(setting: Setting) -> None:
    found = components(setting.of(), "minority")
    assert found is not None
    assert found["training subset"] == pytest.approx(np.var(OF_SUBSET, ddof=1), rel=1e-3)
    assert found["order"] == pytest.approx(np.var(OF_ORDER, ddof=1), rel=1e-3)
    assert found["initial weights"] == found[REST] == pytest.approx(0, abs=1e-9)
    # 1,000 samples: that of the mean recall, less what is not the same in all runs.
    assert 0 < found[TEST] < 0.5 * 0.5 / 1000


def test_they_are_a_table_and_a_figure(setting: Setting) -> None:
    majority, minority = rows(setting, Thresholds())
    assert minority["training subset"] == f"{np.std(OF_SUBSET, ddof=1):.4f}"
    assert majority["training subset"] == "0.0000"
    made = shares(setting, Thresholds())
    assert made is not None
    assert made[1].name == "variance"


def test_seeds_that_move_together_cannot_be_told_apart(tmp_path: Path) -> None:
    for seed in range(4):
        make_run(tmp_path, ratio=10, seed=seed, epochs=1)
    (setting,) = by_setting(read_runs([tmp_path]).finished)
    assert components(setting.of(), "minority") is None
    assert SECTION.subjects([setting], []) == []
    assert shares(setting, Thresholds()) is None


def test_draws_that_move_together_are_named_together(tmp_path: Path) -> None:
    for data in range(2):
        for seed in range(2):
            make_run(tmp_path, ratio=10, seed=0, seeds=(data, seed, seed), epochs=1)
    (setting,) = by_setting(read_runs([tmp_path]).finished)
    found = components(setting.of(), "minority")
    assert found is not None
    assert set(found) == {"training subset", "initial weights and order", REST, TEST}
