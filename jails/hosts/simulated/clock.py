"""The time of a simulated host: the machine's, or ahead of it where a transcript is run faster than it was recorded."""

from __future__ import annotations

import os
import time

_ahead = 0.0
_hasty = False


def now() -> float:
    """Unix time."""
    return time.time() + _ahead


def sleep(seconds: float) -> None:
    """sleep(3) of a tool; where time is hurried along, the clock is put forward instead."""
    if _hasty:
        forward(seconds)
    else:
        time.sleep(seconds)


def forward(seconds: float) -> None:
    """Let time go by for everything in this process."""
    global _ahead
    _ahead += seconds


def hurry() -> None:
    """From now on this process does not wait in `sleep`. A process it forks does: it must be there as long as asked."""
    global _hasty
    _hasty = True
    os.register_at_fork(after_in_child=_be_patient)


def _be_patient() -> None:
    global _hasty
    _hasty = False
