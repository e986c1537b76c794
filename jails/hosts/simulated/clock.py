"""The time of a simulated host: the machine's, or one that only moves when told to, where a transcript is run faster
than it was recorded."""

from __future__ import annotations

import os
import time

_ahead = 0.0
_still: float | None = None
_prepared = False


def now() -> float:
    """Unix time."""
    return time.time() + _ahead if _still is None else _still


def sleep(seconds: float) -> None:
    """sleep(3) of a tool; where time is hurried along, the clock is put forward instead."""
    if _still is None:
        time.sleep(seconds)
    else:
        forward(seconds)


def forward(seconds: float) -> None:
    """Let time go by for everything in this process."""
    global _ahead, _still
    if _still is None:
        _ahead += seconds
    else:
        _still += seconds


def hurry() -> None:
    """From now on this process does not wait in `sleep`. A process it forks does: it must be there as long as asked."""
    global _still, _prepared
    _still = now()
    if not _prepared:
        os.register_at_fork(after_in_child=_be_patient)
    _prepared = True


def hurried() -> bool:
    return _still is not None


def go_on(moment: float) -> None:
    """For a fork that its parent waits for: as hasty as the parent is, from then on. For that parent afterwards: the
    time which the fork came to."""
    global _still
    _still = max(now(), moment)


def _be_patient() -> None:
    global _ahead, _still
    if _still is not None:
        _ahead, _still = _still - time.time(), None
