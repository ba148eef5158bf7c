"""Which curves of the probes belong in one chart; W&B's workspace and TensorBoard both show them.

A name with a group is the mean over the group's classes, see `curves.scalars.probe_scalars`.
"""

GROUPS = ("majority", "minority")
RANKING_TITLES = {"auroc": "AUROC", "average_precision": "average precision"}


def by_group(name: str) -> tuple[str, ...]:
    """The curves of both groups."""
    return tuple(f"{name}/{group}" for group in GROUPS)


def _heads(*names: str) -> tuple[str, ...]:
    return tuple(f"representation/recall/{name}/minority" for name in names)


# By probe and title: the curves' names.
PROBE_CHARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "initial_drop": {
        "loss after each of the first steps": by_group("initial_drop/loss"),
        "recall after each of the first steps": by_group("initial_drop/recall"),
        **{
            f"change of the {group}'s loss in a step, predicted and happened": tuple(
                f"initial_drop/{kind}/{group}" for kind in ("predicted", "happened")
            )
            for group in GROUPS
        },
    },
    "gradients": {
        "norm of a class's gradient": by_group("gradients/norm"),
        "a class's share of the update": by_group("gradients/share"),
        "cosine of two classes' gradients, between and within groups": (
            "gradients/between",
            "gradients/within_majority",
            "gradients/within_minority",
        ),
        "signal: cosine of a class's gradient in the batch with its whole one": by_group(
            "gradients/signal/batch"
        ),
        "signal of one sample of a class": by_group("gradients/signal/single"),
    },
    "geometry": {
        "NC1: within over between classes": ("geometry/nc1",),
        "NC2: equal norms, equal angles, widest angles": (
            "geometry/nc2_equinorm",
            "geometry/nc2_equiangularity",
            "geometry/nc2_widest_angles",
        ),
        "NC3: distance of the head from the class means": ("geometry/nc3",),
        "NC4: share predicted as the nearest class mean": (
            "geometry/nc4/train",
            "geometry/nc4/test",
        ),
        "norm of a class's head vector": by_group("geometry/head_norm"),
        "norm of a class's mean": by_group("geometry/mean_norm"),
        "cosine of head vectors within a group (1: minority collapse)": by_group(
            "geometry/head_cosine"
        ),
        "feature deviation, train from test": by_group("geometry/deviation"),
    },
    "calibration": {
        "calibration error on test, by true class": by_group("calibration/error/true"),
        "mean probability of a class on balanced test": by_group("calibration/mean_prediction"),
    },
    "representation": {
        "minority's test recall, heads fitted to train": _heads(
            "own_head",
            "prior_adjusted",
            "nearest_class_mean",
            "nearest_neighbours",
            "retrained_head",
        ),
        "minority's test recall, own head and probes fitted to held-out": _heads(
            "own_head", "few_probe", "balanced_probe"
        ),
    },
    "samples": {
        "forgetting events of a training sample so far": by_group("samples/forgetting"),
        "share of training samples ever learned": by_group("samples/ever_learned"),
    },
}
