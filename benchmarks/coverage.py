"""Do the report's intervals and verdicts have the error rates that they state?

    python benchmarks/coverage.py          # minutes on one core; docs/report.md has its tables

Made-up studies with a known truth go through the report's own functions: how often the 95% interval
holds the truth, and how often a verdict is decided although the truth lies on the threshold.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from skewlab.report.statistics import Seeds, band, estimate, holm, on_test
from skewlab.report.thresholds import Thresholds
from skewlab.report.verdicts import REFUTED, SUPPORTED, judge

Array = NDArray[np.float64]
RANDOM = np.random.RandomState(0)
STUDIES = 100_000
# Truths by their name: draws of mean 0.
TRUTHS: dict[str, Callable[[tuple[int, ...]], Array]] = {
    "normal": lambda shape: RANDOM.normal(size=shape),
    "recalls near 1 (beta 8, 1)": lambda shape: RANDOM.beta(8, 1, size=shape) - 8 / 9,
    "exponential": lambda shape: 1 - RANDOM.exponential(size=shape),
}
METHODS, VERDICTS, NOISE_STUDIES = 30, 6, 1000


def alike(n: int) -> list[Seeds]:
    """Seeds that move together."""
    return [(k, k, k) for k in range(n)]


def rates(values: Array, seeds: list[Seeds]) -> tuple[float, float, float]:
    """Of studies, a column each: the share whose interval holds 0, lies above, and lies below."""
    low, high = band(values, seeds)
    above, below = float((low > 0).mean()), float((high < 0).mean())
    return 1 - above - below, above, below


def crossed(sizes: tuple[int, ...], sds: tuple[float, ...]) -> tuple[Array, list[Seeds]]:
    """Studies on a grid of draws with these standard deviations, the last of single runs."""
    values = sds[-1] * RANDOM.normal(size=(*sizes, STUDIES))
    for axis, sd in enumerate(sds[:-1]):
        shape = [1] * len(sizes)
        shape[axis] = sizes[axis]
        values = values + sd * RANDOM.normal(size=(*shape, STUDIES))
    cells = [(*cell, 0, 0)[:3] for cell in np.ndindex(*sizes)]
    return values.reshape(-1, STUDIES), cells


def tested(seeds: int, samples: int, paired: bool) -> float:
    """Coverage where a test sample that all seeds share is drawn with each study: of a recall, or
    of the difference of two runs of the same seeds."""
    inside, studies = 0, 2000
    labels, n = np.zeros(samples, dtype=np.int64), np.asarray([float(samples)])
    for _ in range(studies):
        hard = RANDOM.beta(1.4, 0.6, size=samples)  # of mean 0.7
        other = np.clip(hard + 0.15 * RANDOM.uniform(size=samples) * (1 - hard), 0, 1)
        truth = 0.7 if not paired else -0.15 / 2 * 0.3
        values, test = {}, {}
        for key in alike(seeds):
            shift = 0.02 * RANDOM.normal()
            right = [
                RANDOM.uniform(size=samples) < np.clip(chance + shift, 0, 1)
                for chance in ((hard, other) if paired else (hard,))
            ]
            found = [on_test(np.ones(1), one.mean(keepdims=True), n, one, labels) for one in right]
            values[key] = float(right[0].mean() - (right[1].mean() if paired else 0.0))
            test[key] = found[0].minus(found[1]) if paired else found[0]
        low, high = estimate(values, test).interval()
        inside += low <= truth <= high
    return inside / studies


def noise(draw: Callable[[tuple[int, ...]], Array], seeds: int) -> list[float]:
    """One study of pure noise.

    Returns:
        Whether any of 30 methods is clear of `ce` after the correction; how many are without it;
        whether any of 6 verdicts is decided with the truth on its threshold; and the shares of
        these that are decided above and below it.
    """
    limits, keys = Thresholds(), alike(seeds)
    ce = draw((seeds,))
    differences = [
        estimate(dict(zip(keys, draw((seeds,)) - ce, strict=True))).p_value(0)
        for _ in range(METHODS)
    ]
    measured = [
        estimate(dict(zip(keys, 0.25 + draw((seeds,)), strict=True))) for _ in range(VERDICTS)
    ]
    family = holm(one.p_value(0.25) for one in measured)
    said = [judge(one, 0.25, False, limits, p)[0] for one, p in zip(measured, family, strict=True)]
    above, below = said.count(SUPPORTED), said.count(REFUTED)
    return [
        min(holm(differences)) < limits.level,
        sum(p < limits.level for p in differences),
        above + below > 0,
        above / VERDICTS,
        below / VERDICTS,
    ]


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a Markdown table."""
    lines = [[*heads], *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    print("\n".join(f"| {' | '.join(line)} |" for line in lines), end="\n\n")


def main() -> None:
    """Print all tables."""
    rows: list[list[object]] = []
    for name, draw in TRUTHS.items():
        for n in (3, 5, 10):
            held, above, below = rates(draw((n, STUDIES)), alike(n))
            rows.append([name, n, f"{held:.3f}", f"{above:.3f}", f"{below:.3f}"])
    table(("truth", "seeds", "coverage", "decided above", "decided below"), rows)

    designs = [
        ("3 x 3, all alike", (3, 3), (1, 1, 1)),
        ("3 x 3, mostly subset", (3, 3), (1, 0.3, 0.3)),
        ("3 x 3, chance alone", (3, 3), (0, 0, 1)),
        ("5 x 5, all alike", (5, 5), (1, 1, 1)),
        ("3 x 3 x 3, all alike", (3, 3, 3), (1, 1, 1, 1)),
    ]
    rows = []
    for name, sizes, sds in designs:
        values, seeds = crossed(sizes, sds)
        as_if = rates(values, alike(len(seeds)))[0]
        rows.append([name, f"{rates(values, seeds)[0]:.3f}", f"{as_if:.3f}"])
    outer = np.repeat(RANDOM.normal(size=(4, STUDIES)), 3, axis=0)
    values = outer + RANDOM.normal(size=(12, STUDIES))
    seeds = [(k // 3, k, k) for k in range(12)]
    rows.append(
        ["4 subsets, 3 weights in each", f"{rates(values, seeds)[0]:.3f}",
         f"{rates(values, alike(12))[0]:.3f}"]
    )  # fmt: skip
    table(("crossed and nested seeds", "coverage", "as if independent"), rows)

    table(
        ("test sample", "seeds", "coverage of a recall", "of a paired difference"),
        [
            [samples, seeds, *(f"{tested(seeds, samples, both):.3f}" for both in (False, True))]
            for samples in (50, 500)
            for seeds in (3, 5, 10)
        ],
    )  # fmt: skip

    rows = []
    for name, draw in TRUTHS.items():
        for n in (3, 5):
            found = [noise(draw, n) for _ in range(NOISE_STUDIES)]
            any_method, clear, any_verdict, above, below = np.mean(found, axis=0)
            rows.append(
                [name, n, f"{any_method:.3f}", f"{clear:.1f}", f"{any_verdict:.3f}",
                 f"{above:.3f}", f"{below:.3f}"]
            )  # fmt: skip
    heads = ("any of 30 methods", "clear alone", "any of 6 verdicts", "one above", "one below")
    table(("pure noise", "seeds", *heads), rows)


if __name__ == "__main__":
    main()
