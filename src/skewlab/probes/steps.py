"""The training steps at which probes measure."""


def log_spaced(last: int, points: int) -> set[int]:
    """Steps from 1 to the last, evenly spaced on a log scale. Where rounding makes two of them
    equal, there are fewer than `points`."""
    if not points or last < 1:
        return set()
    return {round(last ** (place / max(points - 1, 1))) for place in range(points)}
