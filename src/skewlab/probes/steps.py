"""Which training steps are looked at."""


def log_spaced(last: int, points: int) -> set[int]:
    """Steps spaced evenly on a log scale from 1 to the last; where rounding makes two of them one,
    there are fewer than `points`."""
    if not points or last < 1:
        return set()
    return {round(last ** (place / max(points - 1, 1))) for place in range(points)}
