"""Checking long stretches of the log in processes of their own, each as jails.audit checks the whole.

Only what holds is taken from them: at the first stretch that does not, the one walk goes on alone and finds what is
wrong, with the words it always has.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import connections

if TYPE_CHECKING:
    from jails.audit import Walk

LENGTH = 50_000
"""Entries. A log that is not longer than two of them is walked by one."""


@dataclass(frozen=True)
class Stretch:
    first: int
    last: int
    noted: tuple[tuple[int, str], ...] = field(default=())
    """The checkpoints that are in it."""


def walk_on(walk: Walk, last: int, processes: int, length: int = LENGTH) -> None:
    """Move the walk over as many whole stretches as hold, in their order. At most two a process are under way."""
    if processes < 2 or last - walk.expected < 2 * length:
        return
    connections.close_all()  # no process may inherit one
    waiting: deque[tuple[Stretch, Future[tuple[str, str] | None]]] = deque()
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
        ahead = _stretches(walk, last, length)
        for stretch in itertools.chain(ahead, itertools.repeat(None)):
            if stretch is not None:
                waiting.append((stretch, pool.submit(ends_of, stretch)))
                if len(waiting) < 2 * processes:
                    continue
            if not waiting:
                return
            done, found = waiting.popleft()
            ends = found.result()
            if ends is None or ends[0] != walk.previous:
                pool.shutdown(cancel_futures=True)
                walk.note([one for left in (done, *(it for it, _ in waiting)) for one in left.noted])
                return
            walk.previous, walk.expected = ends[1], done.last + 1
            walk.proven = done.noted[-1][0] if done.noted else walk.proven


def _stretches(walk: Walk, last: int, length: int) -> Iterator[Stretch]:
    for first in range(walk.expected, last - length + 2, length):
        yield Stretch(first, first + length - 1, tuple(walk.noted_up_to(first + length - 1)))


def ends_of(stretch: Stretch) -> tuple[str, str] | None:
    """The hash that a stretch continues and the one it ends with; None unless all of it holds."""
    from jails import auditrows
    from jails.audit import GENESIS, Walk
    from jails.models import AuditEntry

    connections.close_all()
    before = AuditEntry.objects.filter(sequence=stretch.first - 1).values_list("hash", flat=True).first()
    begin = GENESIS if stretch.first == 1 else before or ""
    walk = Walk(stretch.first, begin, iter(stretch.noted))
    for rows in auditrows.chunks(stretch.first, stretch.last):
        if walk.over(rows):
            return None
    is_whole = walk.expected == stretch.last + 1 and walk.noted is None
    return (begin, walk.previous) if is_whole else None
