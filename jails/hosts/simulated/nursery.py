"""`--nursery`: a process that has loaded the tools already and forks one child for each command, of whatever host.

A command then costs a fork instead of the start of an interpreter. Whoever started it asks on standard input, a socket
of packets: one message with the host's folder and the words of the command as JSON, and with four descriptors: its
standard input, output and error, and a pipe. To that pipe go the pid of the child and, when it has ended, its wait
status, each as four bytes (`NUMBER`). A child leads a session of its own, so it outlives the nursery as well as whoever
asked.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

from . import tools
from .host import Host

NUMBER = struct.Struct("=i")
DESCRIPTORS = 4
LARGEST = 1 << 17
"""Bytes of a request: less than a socket of packets takes at once."""
IDLE = float(os.environ.get("CELLBLOCK_SIMULATED_IDLE") or 5)
"""Seconds without a request or a child after which it ends; whoever needs another one starts it."""
_SELDOM = f"{tools.__name__}.foreign"
"""Loaded by the child that runs it."""


def serve() -> int:
    import_module("jails.hosts.simulated.shell")
    for module in walk_packages(tools.__path__, f"{tools.__name__}."):
        if not module.name.startswith(_SELDOM):
            import_module(module.name)
    # What is loaded stays shared with the children: collecting garbage would touch, and so copy, all of it.
    gc.freeze()
    requests = socket.socket(fileno=os.dup(0))
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([requests.fileno(), wake], [], [], None if children else IDLE)
        if wake in ready:
            os.read(wake, 4096)
            _reap(children)
        if requests.fileno() in ready:
            data, descriptors = _receive(requests)
            if not data:
                return 0
            _start(json.loads(data), descriptors, children, (requests.fileno(), wake, waker))
        elif not ready and not children:
            return 0


def _receive(requests: socket.socket) -> tuple[bytes, list[int]]:
    descriptors = array.array("i")
    room = socket.CMSG_SPACE(DESCRIPTORS * descriptors.itemsize)
    data, ancillary, _, _ = requests.recvmsg(LARGEST, room)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)


def _start(request: list[Any], descriptors: list[int], children: dict[int, int], own: tuple[int, ...]) -> None:
    directory, words = request
    *standard, report = descriptors
    pid = os.fork()
    if pid == 0:
        _run(Host(directory), words, standard, (report, *children.values(), *own))
    for descriptor in standard:
        os.close(descriptor)
    children[pid] = report
    _tell(report, pid)


def _run(host: Host, words: list[str], standard: list[int], others: tuple[int, ...]) -> None:
    from . import __main__, faults

    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.chdir(host.directory)  # by which others of that host know it
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
        for descriptor in {*standard, *others} - {0, 1, 2}:
            os.close(descriptor)
        faults.lead()
        status = __main__.run(host, words)
        sys.stdout.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _reap(children: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            report = children.pop(pid, None)
            if report is not None:
                _tell(report, status)
                os.close(report)


def _tell(report: int, number: int) -> None:
    # Nobody may be there to read it any more.
    with contextlib.suppress(OSError):
        os.write(report, NUMBER.pack(number))
