"""A host for tests of the engine: real processes of this machine, with the few tools of FreeBSD that it lacks.

Commands run in a session of their own and write to files, so that they go on when the worker that started them is
killed, as they do on a real host.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from django.db.models import Value
from django.db.models.functions import Concat

from jails.freebsd import sh
from jails.freebsd.command import Pipeline
from jails.hosts.connection import CommandTimeout, HostUnavailable, Result, Unavailable
from jails.operations import checks, effects
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, RemoveFile, Run, Step, Undo, WriteFile

SHIMS = {
    # lockf -k -s -t 0 FILE COMMAND...
    "lockf": 'shift 4; [ -d "${1%/*}" ] || { echo "lockf: cannot open $1" >&2; exit 73; }; exec flock -n -E 75 -o "$@"',
    "sha256": 's=$(sha256sum "$2") || exit 1; echo "${s%% *}"',
    "stat": 'case $2 in %z) f=%s;; %i) f=%i;; %Mp%Lp) f=0%a;; %Su:%Sg) f=%U:%G;; esac; exec /usr/bin/stat -c "$f" "$3"',
}


@dataclass(frozen=True)
class FakeFacts:
    """What the kinds of these tests plan from."""

    release: str = "14.2-RELEASE"
    rc_conf: str = ""
    configured = ()
    foreign_rows: ClassVar[dict[str, object]] = {}
    missing: ClassVar[dict[str, str]] = {"files": "these tests have none"}

    def to_data(self) -> dict[str, str]:
        return {"release": self.release, "rc_conf": self.rc_conf}


class ShellHost:
    """A Connection. `before` is called with each pipeline and may raise; `log` has what was asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shims = root / "shims"
        self.shims.mkdir(parents=True, exist_ok=True)
        for name, text in SHIMS.items():
            (self.shims / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.shims / name).chmod(0o755)
        self.log: list[Pipeline] = []
        self.before: Callable[[Pipeline], None] = lambda pipeline: None
        self.started: Callable[[Pipeline], None] = lambda pipeline: None
        self.after: Callable[[Pipeline], None] = lambda pipeline: None

    def run(self, pipeline, *, timeout, on_output=None, limit=1_000_000) -> Result:
        self.log.append(pipeline)
        self.before(pipeline)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as stdin:
            stdin.write(pipeline.stdin)
            stdin.seek(0)
            environment = {"PATH": f"{self.shims}:/usr/sbin:/usr/bin:/sbin:/bin"}
            process = subprocess.Popen(
                sh.argv_of(pipeline), stdin=stdin, stdout=out, stderr=err, env=environment, start_new_session=True
            )
            self.started(pipeline)
            deadline = time.monotonic() + timeout
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise CommandTimeout(timeout, Result(-1))
                time.sleep(0.002)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read())
                if on_output and texts[-1]:
                    on_output(texts[-1])
        self.after(pipeline)
        rc = process.returncode
        return Result(128 - rc if rc < 0 else rc, *texts)

    def close(self) -> None:
        pass

    def gather(self, connection: ShellHost, host: object) -> FakeFacts:
        return FakeFacts()


def is_changing(pipeline: Pipeline) -> bool:
    return pipeline.argvs[0][0] == "lockf"


def unreachable(pipeline: Pipeline) -> None:
    raise HostUnavailable(Unavailable.UNREACHABLE, "no route to host")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def journalled(journal: Path, name: str, text: str, *args: str) -> Run:
    """A command that notes in `journal` that it was run, so that a doubled effect shows."""
    return Run((("sh", "-c", f'echo {name} >>"$0" && {text}', str(journal), *args),))


class Box(Kind):
    """Makes a folder with two files in `parameters["root"]`; `fail` adds a last step that fails.

    `slow`: seconds each command takes. `sealed`: the second step is irreversible.
    """

    name = "box"
    action = "jail.power"
    reserved: list[str]
    finished: list[str]
    released: list[str]

    def __init__(self) -> None:
        self.reserved, self.finished, self.released = [], [], []
        self.change: Callable[[Plan], Plan] = lambda plan: plan

    def title(self, parameters, host) -> str:
        return "Make a box"

    def clean(self, parameters):
        if not parameters.get("root"):
            raise Refused({"root": "name a folder"})
        return dict(parameters)

    def plan(self, request: Request) -> Plan:
        return self.change(self._plan(request))

    def _plan(self, request: Request) -> Plan:
        wish = request.parameters
        root, journal = Path(wish["root"]), Path(wish["root"], "journal")
        box, one, two, old = (str(root / name) for name in ("box", "box/one", "box/two", "old"))
        wait = f"sleep {wish.get('slow', 0)}"
        write = WriteFile(one, f"made by {request.operation_id}\n")
        is_ours = checks.file_has(f"{box}/.id", request.operation_id + "\n")
        empty = '[ "$(ls -A "$1")" = .id ] && rm "$1/.id" && rmdir "$1"'
        # Made under another name first: what is found half done under it is known to be ours.
        make = f'mkdir "$1.new" && {wait} && echo "$2" >"$1.new/.id" && [ ! -e "$1" ] && mv "$1.new" "$1"'
        steps = [
            Step(
                key="box",
                purpose="Make the box",
                action=journalled(journal, "mkdir", make, box, request.operation_id),
                done_when=(is_ours,),
                undo=(Undo(Run((("sh", "-c", empty, "sh", box),)), only_if=(is_ours,)),),
                again=(Undo(Run((("rm", "-rf", f"{box}.new"),))),),
                seconds=wish.get("seconds", 20),
                attempts=wish.get("attempts", 1),
            ),
            Step(
                key="one",
                purpose="Write the first file",
                action=write,
                done_when=(checks.file_has(one, write.content),),
                undo=effects.undo_of(write),
                irreversible="what was there before is gone" if wish.get("irreversible") else "",
            ),
            Step(
                key="measure",
                purpose="Find out its inode",
                action=Run((("stat", "-f", "%i", box),), captures=(("inode", r"^(\d+)$"),)),
                changes=False,
            ),
            Step(
                key="two",
                purpose="Write the second file",
                action=journalled(journal, "two", f'{wait} && echo "$2" >"$1"', two, "${inode}"),
                done_when=(checks.inode_is(box, "${inode}"), checks.path_exists(two)),
                undo=(Undo(Run((("rm", "-f", two),)), only_if=(checks.inode_is(box, "${inode}"),)),),
            ),
            Step(
                key="old",
                purpose="Remove the old file",
                action=RemoveFile(old, "old\n"),
                done_when=(checks.file_absent(old),),
                undo=effects.undo_of(RemoveFile(old, "old\n")),
            ),
        ]
        if wish.get("fail"):
            steps.append(
                Step(
                    key="fail",
                    purpose="Do what cannot be done",
                    action=Run((("sh", "-c", "echo this cannot be. >&2; exit 3"),)),
                )
            )
        resources = tuple(wish.get("resources", (f"host:{request.host.pk}/jail:box",)))
        return Plan(title="Make a box", steps=tuple(steps), resources=resources)

    def reserve(self, operation) -> None:
        self.reserved.append(str(operation.pk))

    def finish(self, operation, plan) -> None:
        self.finished.append(str(operation.pk))
        self._note(operation, "finished")

    def release(self, operation) -> None:
        self.released.append(str(operation.pk))
        self._note(operation, "released")

    def _note(self, operation, word: str) -> None:
        """In the database too, where it shows if another process did it, and if it was done twice."""
        rows = type(operation).objects.filter(pk=operation.pk)
        rows.update(subject=Concat("subject", Value(word)))
