"""Output that nobody reads any more: `manage.py … | head -1`."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STATUS = 128 + signal.SIGPIPE
"""What a shell says of a program that SIGPIPE has ended."""
OUTPUTS = (1, 2)


@contextmanager
def ending_quietly() -> Iterator[None]:
    """Exit with STATUS, and no traceback, once standard output or error is a pipe whose reader has gone.

    SIGPIPE itself stays ignored, as Python has it: a connection that breaks is an error of its own, told as one.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        gone = [descriptor for descriptor in OUTPUTS if _is_unread(descriptor)]
        if not gone:
            raise
        # What is still buffered would be written at the end, and fail again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in gone:
            os.dup2(nowhere, descriptor)
        sys.exit(STATUS)


def _is_unread(descriptor: int) -> bool:
    """Linux says POLLERR of such a pipe, FreeBSD POLLHUP."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    with suppress(OSError):
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return False
