"""Charts as numbers for SVG: where a line goes, where nothing is known, what stands on the axes. No colour is needed to
read one, and no script to draw it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

WIDTH, HEIGHT = 600, 160
"""Of the drawing; the page scales it."""
ROWS = 24
"""Of the table that says the same."""


@dataclass(frozen=True)
class Point:
    """`value` of None: it was there, and did not run or its value is not known."""

    at: datetime
    value: float | None


@dataclass(frozen=True)
class Tick:
    place: float
    """Across or from the top, in units of the drawing."""
    label: str


@dataclass(frozen=True)
class Chart:
    """`lines` and `areas`: what `points` and `d` of SVG take. `gaps`: (x, width) where nobody measured. `limit`: its
    place from the top, None where there is none in sight."""

    lines: tuple[str, ...]
    areas: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    gaps: tuple[tuple[float, float], ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    limit: float | None
    limit_label: str
    rows: tuple[tuple[datetime, str], ...]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def is_empty(self) -> bool:
        return not self.lines and not self.dots


def chart(
    points: Sequence[Point],
    start: datetime,
    end: datetime,
    *,
    gap: timedelta,
    shown: Callable[[float], str],
    binary: bool = False,
    limit: float | None = None,
    least: float = 1.0,
) -> Chart:
    """Points in the order of time. Those further apart than `gap` are not joined. `shown`: a value with its unit.

    `binary`: the axis goes by powers of two, for bytes. `least`: the axis ends no lower.
    """
    values = [point.value for point in points if point.value is not None]
    top = _top(max([*values, least, limit or 0.0]), binary)
    runs = _runs(points, gap)

    def x(at: datetime) -> float:
        return round(WIDTH * (at - start) / (end - start), 1)

    def y(value: float) -> float:
        return round(HEIGHT * (1 - min(value, top) / top), 1)

    drawn = [[(x(point.at), y(point.value or 0.0)) for point in run] for run in runs]
    return Chart(
        lines=tuple(" ".join(f"{left},{above}" for left, above in run) for run in drawn if len(run) > 1),
        areas=tuple(_area(run) for run in drawn if len(run) > 1),
        dots=tuple(run[0] for run in drawn if len(run) == 1),
        gaps=tuple((x(since), round(x(until) - x(since), 1)) for since, until in _gaps(points, start, end, gap)),
        across=tuple(_across(start, end)),
        up=tuple(Tick(y(top * part), shown(top * part)) for part in (0.5, 1.0)),
        limit=y(limit) if limit else None,
        limit_label=shown(limit) if limit else "",
        rows=_rows(points, shown),
        summary=_summary(values, shown),
    )


def _runs(points: Sequence[Point], gap: timedelta) -> list[list[Point]]:
    """Points that belong together: neither a gap nor an unknown value between them."""
    runs: list[list[Point]] = []
    before: Point | None = None
    for point in points:
        if point.value is not None:
            if before is None or before.value is None or point.at - before.at > gap:
                runs.append([])
            runs[-1].append(point)
        before = point
    return runs


def _gaps(points: Sequence[Point], start: datetime, end: datetime, gap: timedelta) -> list[tuple[datetime, datetime]]:
    moments = [start, *(point.at for point in points if start <= point.at <= end), end]
    return [(since, until) for since, until in pairwise(moments) if until - since > gap]


def _area(run: Sequence[tuple[float, float]]) -> str:
    inner = " ".join(f"L{left},{above}" for left, above in run)
    return f"M{run[0][0]},{HEIGHT} {inner} L{run[-1][0]},{HEIGHT} Z"


def _top(value: float, binary: bool) -> float:
    """The next round number: 1, 2 or 5 times a power of ten, or 1, 2, 4, … times a power of 1024."""
    if binary:
        return float(2 ** math.ceil(math.log2(max(value, 1.0))))
    power = 10 ** math.floor(math.log10(value))
    return next(float(step * power) for step in (1, 2, 5, 10) if step * power >= value * 0.999999)


STEPS = (600, 3600, 3 * 3600, 6 * 3600, 86400, 5 * 86400)


def _across(start: datetime, end: datetime) -> list[Tick]:
    length = (end - start).total_seconds()
    step = next((step for step in STEPS if length / step <= 8), STEPS[-1])
    at = datetime.fromtimestamp(math.ceil(start.timestamp() / step) * step, start.tzinfo)
    found = []
    while at <= end:
        place = WIDTH * (at - start) / (end - start)
        if WIDTH * 0.03 <= place <= WIDTH * 0.97:
            found.append(Tick(round(place, 1), f"{at:%H:%M}" if step < 86400 else f"{at:%b} {at.day}"))
        at += timedelta(seconds=step)
    return found


def _rows(points: Sequence[Point], shown: Callable[[float], str]) -> tuple[tuple[datetime, str], ...]:
    """Some of them, evenly spread, the newest first."""
    every = max(1, math.ceil(len(points) / ROWS))
    chosen = list(reversed(points))[::every]
    return tuple((point.at, "not running" if point.value is None else shown(point.value)) for point in chosen)


def _summary(values: Sequence[float], shown: Callable[[float], str]) -> str:
    if not values:
        return "nothing measured"
    return f"now {shown(values[-1])}, at most {shown(max(values))}, on average {shown(sum(values) / len(values))}"


DAY_WIDTH, STRIP_HEIGHT = 10, 64
LEAST_BAR, MARK = 5, 4


@dataclass(frozen=True)
class Bar:
    """One day of a strip. `mark`: some of it was not done; `words` say all of it."""

    day: date
    x: int
    y: float
    height: float
    mark: bool
    words: str


@dataclass(frozen=True)
class Strip:
    """How much was done on which day; `busy` are the days with something, the newest first, for a list that says it."""

    bars: tuple[Bar, ...]
    busy: tuple[Bar, ...]
    summary: str
    width: int
    height: int = STRIP_HEIGHT
    bar_width: int = DAY_WIDTH - 2
    day_width: int = DAY_WIDTH

    @property
    def has_marks(self) -> bool:
        return any(bar.mark for bar in self.busy)


def strip(tallies: Mapping[date, tuple[int, int]], last: date, days: int) -> Strip:
    """tallies: day → how many entries, and how many of them tell of what was not done.

    A bar grows with the square root, so that a day with one entry is still to be seen beside one with thousands.
    """
    most = max([1, *(entries for entries, _ in tallies.values())])
    bars = []
    for number in range(days):
        day = last - timedelta(days=days - 1 - number)
        entries, not_done = tallies.get(day, (0, 0))
        room = STRIP_HEIGHT - MARK - 2
        height = round(LEAST_BAR + (room - LEAST_BAR) * math.sqrt(entries / most), 1) if entries else 0
        words = f"{day:%a} {day.day} {day:%b}: {counted(entries, not_done)}"
        bars.append(Bar(day, number * DAY_WIDTH + 1, STRIP_HEIGHT - height, height, bool(not_done), words))
    busy = tuple(bar for bar in reversed(bars) if bar.height)
    return Strip(tuple(bars), busy, _summary_of_days(tallies, bars, days), days * DAY_WIDTH)


def counted(entries: int, not_done: int) -> str:
    """`12 entries, 2 not done`."""
    words = "nothing" if not entries else "1 entry" if entries == 1 else f"{entries:,} entries"
    return f"{words}, {not_done:,} not done" if not_done else words


def _summary_of_days(tallies: Mapping[date, tuple[int, int]], bars: Sequence[Bar], days: int) -> str:
    seen = {bar.day: tallies[bar.day] for bar in bars if bar.height}
    if not seen:
        return f"Nothing in the last {days} days."
    total, not_done = (sum(column) for column in zip(*seen.values(), strict=True))
    most = max(seen, key=lambda day: (seen[day][0], day))
    on_days = "1 day" if len(seen) == 1 else f"{len(seen)} days"
    return (
        f"{counted(total, not_done)} on {on_days} of the last {days}, most on {most.day} {most:%B} ({seen[most][0]:,})."
    )
