"""Running an operation, whatever happens to the worker that does.

There is no clean way to stop and none is needed: what is to be done next follows from the rows, and every worker that
takes an operation starts by reading them. Before a command its step is RUNNING in the database, after it DONE. A step
found RUNNING was interrupted: once no command of it runs any more on the host, its *done when* decides whether it is
done or is cleared and run again. When a step fails, what this operation made is undone, last first.

The order of things in `Run`: begin or resume, then forward through the steps, then finish or roll back.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, NoReturn
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from jails import approvals, audit, plans, policy
from jails.freebsd import fstat
from jails.freebsd.command import Pipeline
from jails.hosts.connection import CommandTimeout, Connection, HostUnavailable, Result, Unavailable
from jails.hosts.facts import Missing
from jails.models import AuditEntry, Host, Operation, OperationStep
from jails.operations import checks, effects, kind, locks, noted, queue, seal
from jails.operations.lease import Lease, LeaseLost, Pulse, claim
from jails.operations.step import (
    VERSION,
    Action,
    BootList,
    Plan,
    Run,
    Step,
    Undo,
    plan_from_data,
    step_from_data,
    to_data,
)
from jails.operations.transcript import Transcript, safe

log = logging.getLogger(__name__)

TRANSIENT = (OperationalError, InterfaceError)
"""The database does not answer: the lease runs out, and the operation is taken again when it does."""

Status = Operation.Status
StepStatus = OperationStep.Status
KEPT = StepStatus.KEPT
UNDOABLE = frozenset({StepStatus.RUNNING, StepStatus.DONE, StepStatus.FAILED, StepStatus.UNDOING})
GIVEN_UP = frozenset({StepStatus.FAILED, StepStatus.UNDOING, StepStatus.UNDONE, KEPT})
"""States of an independent step while its operation still goes forward: its subject has failed."""
SIGNALLED = 128
"""Statuses from here on tell of a command that was killed."""


@dataclass(frozen=True)
class Timing:
    """How long, in seconds. `patience`: how long a worker stands waiting before it lets go of the operation;
    `park`: after which it is tried again, at first, and `longest`, in the end; `unreachable`: how long a host may not
    answer before it is given up."""

    lease: float = 30
    heartbeat: float = 10
    patience: float = 5
    poll: float = 0.2
    park: float = 5
    longest: float = 30
    unreachable: float = 3600
    backoff: float = 3
    grace: float = 20
    output: float = 0.5
    progress: float = 1


@dataclass(frozen=True)
class Clock:
    now: Callable[[], datetime] = timezone.now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Outcome:
    """What became of one call of `run`: the operation's status, or `busy`, `lost`; when to try again, in seconds."""

    state: str
    again_in: float | None = None


Connect = Callable[[Host], Connection]
Gather = Callable[[Connection, Host], Any]


def run(
    operation_id: UUID | str,
    *,
    worker: str,
    connect: Connect | None = None,
    gather: Gather | None = None,
    timing: Timing | None = None,
    clock: Clock | None = None,
) -> Outcome:
    """Take the operation, if it is open and nobody has it, and go on with it as far as possible."""
    timing, clock = timing or Timing(), clock or Clock()
    lease = claim(UUID(str(operation_id)), worker, timing.lease, clock.now)
    if lease is None:
        return Outcome("busy")
    with Pulse(lease, timing.heartbeat, timing.progress) as pulse:
        gathers = (gather or _gather, gather or _gather_without_zfs)
        return _Run(lease, pulse, connect or _connect, gathers, timing, clock).go()


def _connect(host: Host) -> Connection:
    from jails.hosts.connect import connection

    return connection(host)


def _gather(connection: Connection, host: Host) -> Any:
    from jails.hosts.facts import gather

    return gather(connection, jail_root=host.jail_root)


def _gather_without_zfs(connection: Connection, host: Host) -> Any:
    from jails.hosts.facts import gather

    return gather(connection, jail_root=host.jail_root, zfs=False)


class _Parked(Exception):
    """It has to wait for something: the worker gives it back."""

    def __init__(self, words: str, seconds: float) -> None:
        super().__init__(words)
        self.words, self.seconds = words, seconds


class _Ended(Exception):
    """It has ended; what there was to write is written."""


class _Failed(Exception):
    """It cannot go on: roll back. The message is a sentence."""


class _Cancelled(Exception):
    """Somebody wants it stopped, and this is between two steps."""


class _Stuck(Exception):
    """It can neither go on nor back: somebody must look."""


class _Interrupted(Exception):
    """A command was refused by the host's lock before it began."""


@dataclass(frozen=True)
class _Step:
    """A step with its row, and its name in sentences."""

    row: OperationStep
    step: Step

    @property
    def name(self) -> str:
        return f"Step {self.row.index + 1} “{self.step.purpose}”"


class _Run:
    """One worker's turn with one operation."""

    def __init__(
        self, lease: Lease, pulse: Pulse, connect: Connect, gathers: tuple[Gather, Gather], timing: Timing, clock: Clock
    ) -> None:
        self.lease, self.pulse, self.timing, self.clock = lease, pulse, timing, clock
        self._connect = connect
        self._gather, self._gather_for_boot = gathers
        self._connection: Connection | None = None
        self.operation = Operation.objects.select_related("host", "tenant", "confirmed_by").get(pk=lease.operation_id)
        self.steps: list[_Step] = []
        self.captured: dict[str, str] = {}
        self.secrets: tuple[str, ...] = ()
        self.stuck: dict[int, str] = {}

    # The way through

    def go(self) -> Outcome:
        try:
            self._go()
        except _Ended:
            return Outcome(self.operation.status)
        except _Parked as parked:
            return self._park(parked.words, parked.seconds)
        except HostUnavailable as unavailable:
            return self._unreachable(unavailable)
        except CommandTimeout as late:
            return self._unreachable(HostUnavailable(Unavailable.TIMED_OUT, f"a question to it is {late}"))
        except LeaseLost:
            log.warning("operation %s: the lease is lost, another worker has it", self.operation.pk)
            return Outcome("lost")
        raise AssertionError("an operation that goes on without end")

    def _go(self) -> NoReturn:
        try:
            if self.operation.status == Status.QUEUED:
                self._begin()
            else:
                self._resume()
            if self.operation.status == Status.RUNNING:
                self._forward()
            self._roll_back()
        except _Stuck as stuck:
            self._end(Status.STUCK, self._with_what_is_left(str(stuck)))
        except (_Ended, _Parked, HostUnavailable, CommandTimeout, LeaseLost, *TRANSIENT):
            raise
        except Exception as error:
            log.exception("operation %s", self.operation.pk)
            self._end_after(error)

    def _end_after(self, error: Exception) -> NoReturn:
        """A fault of ours, which another try would only meet again."""
        words = f"Cellblock has met a fault of its own: {type(error).__name__}. The log of the worker has more."
        if self.operation.status == Status.QUEUED:
            self._end(Status.FAILED, f"{words} Nothing was changed.")
        self._end(Status.STUCK, self._with_what_is_left(words))

    def _forward(self) -> None:
        try:
            self._stop_if_cancelled()
            self._skip_what_is_so()
            for item in self.steps:
                if not self._is_given_up(item):
                    self._stop_if_cancelled()
                    self._perform_one(item)
            self._finish_partly()
            self._finish()
        except _Failed as failed:
            self._turn(str(failed))
        except _Cancelled:
            self._turn("")

    # Beginning

    def _begin(self) -> None:
        operation = self.operation
        rows = list(operation.steps.order_by("index"))
        if rows or operation.sealed:
            # A worker has begun it: whoever says that it only waits wants what was done forgotten.
            self._refuse_forged(rows, "it is said to wait, but was begun")
        if operation.cancel_requested_at:
            self._end(Status.CANCELLED, operation.error)  # who has replaced it has said by what
        why = self._why_not()
        if why:
            self._end(*((Status.CANCELLED, "") if self._cancel_is_wanted() else (Status.REFUSED, why)))
        self._lock_operation()
        facts = self._gather(self.connection, self._host)
        request = kind.Request(str(operation.pk), operation.parameters, self._host, facts, operation.tenant)
        try:
            plan = self._kind.plan(request)
        except (kind.Refused, Missing) as refused:
            self._end(
                Status.REFUSED,
                f"On {operation.host_name} as it is now this cannot be done: {str(refused).rstrip('.')}.",
            )
        if plan.digest() != operation.confirmed_digest:
            self._stale(plan)
        if list(plan.resources) != operation.plan["resources"]:
            self._end(Status.REFUSED, "Its stored plan is not the one that was confirmed.")
        self._store(plan)
        try:
            self._prepare()
        except _Failed as failed:
            self._end(Status.FAILED, f"{failed} Nothing was changed.")

    def _why_not(self) -> str:
        """Why it may not run at all, by what the rows say now; "" when it may."""
        operation = self.operation
        if operation.host is None:
            return f"{operation.host_name} is no longer a host of this panel."
        try:
            kind.get(operation.kind)
        except LookupError as error:
            return f"It cannot be run: {error}."
        entries = AuditEntry.objects.filter(operation=str(operation.pk), outcome="done")
        confirmed = entries.filter(
            action="operation.confirm", plan_digest=operation.confirmed_digest, actor_id=operation.confirmed_by_id
        )
        at = confirmed.order_by("-sequence").values_list("sequence", flat=True).first()
        if not operation.confirmed_digest or at is None:
            return "The log does not know that anybody confirmed this plan."
        if self._has_ended_since(at):
            return "The log says that it has ended already."
        why = policy.why_not_operation(operation.confirmed_by, operation)
        return why or approvals.why_not_begin(operation) or self._why_no_room()

    def _why_no_room(self) -> str:
        """The plan of its tenant may have become smaller since it was confirmed."""
        operation = self.operation
        try:
            plans.refuse(self._kind, self._host, operation.parameters, operation=operation.pk)
        except kind.Refused as refused:
            return " ".join(refused.errors.values())
        except LookupError as error:
            return f"What it is about is gone: {error}."
        return ""

    def _has_ended_since(self, sequence: int) -> bool:
        ends = Q(source="worker") | Q(action="operation.cancel", outcome="done")
        return AuditEntry.objects.filter(ends, operation=str(self.operation.pk), sequence__gt=sequence).exists()

    def _lock_operation(self) -> None:
        """What the confirmed plan says it changes; that it is the confirmed one shows when it is made again."""
        resources = self.operation.plan.get("resources") if isinstance(self.operation.plan, dict) else None
        if not isinstance(resources, list) or not all(isinstance(name, str) for name in resources):
            self._end(Status.REFUSED, "Its stored plan cannot be read.")
        older = locks.older_claim(self.operation, resources)
        if older is not None:
            raise _Parked(f"“{older.title}” to go first", self._growing_pause())
        try:
            with self.lease.writing():
                locks.take(self.operation, resources)
        except locks.Held as held:
            raise _Parked(held.words, self._growing_pause()) from held
        if looking := locks.looked_at(self.operation, resources):
            raise _Parked(looking, self.timing.park)

    def _growing_pause(self) -> float:
        """It is told when it can go on, so that asking is for the case that nobody does."""
        waited = (self.clock.now() - (self.operation.confirmed_at or self.clock.now())).total_seconds()
        return min(self.timing.longest, max(self.timing.park, waited / 4))

    def _stale(self, plan: Plan) -> NoReturn:
        try:
            with self.lease.writing(
                status=Status.STALE, plan=to_data(plan), digest=plan.digest(), title=plan.title[:300], **self._idle
            ):
                if self._cancel_is_wanted():
                    raise _Cancelled
                self._kind.release(self.operation)
                locks.release(self.operation)
                self._audit("stale", f"{self.operation.host_name} has changed: the plan would be another one.")
        except _Cancelled:
            self._end(Status.CANCELLED, "")
        self._after(Status.STALE)

    def _store(self, plan: Plan) -> None:
        operation = self.operation
        operation.plan, operation.title = json.loads(json.dumps(to_data(plan))), plan.title[:300]
        operation.status, operation.started_at = Status.RUNNING, self.clock.now()
        operation.sealed = seal.of_operation(operation, len(plan.steps))
        operation.was = noted.picture(operation.jails.values_list("pk", flat=True), operation.tenant_id)
        rows = [self._sealed_row(index, step) for index, step in enumerate(plan.steps)]
        with self.lease.writing(
            status=Status.RUNNING,
            title=plan.title[:300],
            plan=operation.plan,
            was=operation.was,
            sealed=operation.sealed,
            started_at=operation.started_at,
            waiting_for="",
            unreachable_since=None,
        ):
            OperationStep.objects.filter(operation=operation).delete()
            OperationStep.objects.bulk_create(rows)
        self._load()

    def _sealed_row(self, index: int, step: Step) -> OperationStep:
        data = {"version": VERSION, **to_data(step)}
        row = OperationStep(
            operation=self.operation,
            index=index,
            data=data,
            seal=seal.of_step(self.operation.pk, index, data),
            progress_total=step.progress_total or None,
        )
        row.state_seal = seal.of_state(row)
        return row

    # Going on where another worker left

    def _resume(self) -> None:
        """Believe nothing that is not sealed; then wait until nothing of this operation runs on the host."""
        rows = list(self.operation.steps.order_by("index"))
        try:
            seal.verify(self.operation, rows)
            kind.get(self.operation.kind)
        except seal.Newer as newer:
            raise _Parked(f"a worker of a newer release: {newer}", self.timing.longest) from newer
        except (seal.Forged, LookupError) as error:
            self._refuse_forged(rows, str(error))
        if self.operation.host is None:
            raise _Stuck(f"{self.operation.host_name} is no longer a host of this panel.")
        self._load()
        if self.operation.status == Status.UNDOING and self._point_of_no_return() is not None:
            self._refuse_forged(rows, "it is said to be undone, past a step that cannot be")
        self._let_go_of_ended_steps()
        if self.operation.resumed_at is not None:
            self._require_resumption()
            self._lock_operation()
            self.operation.sealed = seal.of_operation(self.operation, len(self.steps))
            self.lease.write(sealed=self.operation.sealed)
        try:
            self._prepare()
        except _Failed as failed:
            raise _Stuck(str(failed)) from failed
        if self.operation.resumed_at is not None and self.operation.status == Status.RUNNING:
            self._take_up_again(self.operation.resumed_at)

    def _require_resumption(self) -> None:
        """Somebody who may must have asked for it since a worker last let go of it, and the log must know."""
        operation = self.operation
        entries = AuditEntry.objects.filter(operation=str(operation.pk))
        let_go = entries.filter(source="worker").order_by("-sequence").values_list("sequence", flat=True).first()
        asked = entries.filter(
            action="operation.resume", actor_id=operation.resumed_by_id, outcome="done", sequence__gt=let_go or 0
        )
        if not asked.exists():
            raise _Stuck("The log does not know that anybody wanted it taken up again.")
        why = policy.why_not_resume(operation.resumed_by, operation)
        if why:
            raise _Stuck(why)

    def _take_up_again(self, at: datetime) -> None:
        """To its end where there is no way back or little left to do, else back."""
        ended = all(item.row.status in (StepStatus.DONE, StepStatus.SKIPPED) for item in self.steps)
        independent = any(item.step.independent for item in self.steps)
        if not (ended or independent or self._point_of_no_return()):
            words = next((item.row.error for item in self.steps if item.row.error), "")
            self._turn(words or "It was taken up again to be undone.")
            return
        for item in self.steps:
            row = item.row
            if row.status == StepStatus.FAILED and row.finished_at and row.finished_at < at and not independent:
                self._mark(row, StepStatus.RUNNING, rc=None, error="", finished_at=None)

    def _refuse_forged(self, rows: Sequence[OperationStep], why: str) -> NoReturn:
        """The rows cannot be believed, so neither can what they say of what was done."""
        log.error("operation %s is not resumed: %s", self.operation.pk, why)
        begun = any(row.status != StepStatus.PENDING for row in rows)
        words = f"Its record was changed by somebody who is not a worker: {why}. Nothing more was run."
        self.steps = []  # the host is not asked about them either
        # Not given back either way: what `release` frees may be in use on the host.
        self._end(Status.STUCK if begun else Status.REFUSED, words, release=False)

    def _let_go_of_ended_steps(self) -> None:
        """A worker may have died between the end of a step and giving back what was taken for it."""
        under_way = (StepStatus.RUNNING, StepStatus.UNDOING)
        with self.lease.writing():
            for item in self.steps:
                if item.row.status not in under_way:
                    locks.release(self.operation, step=item.row.index)

    def _load(self) -> None:
        rows = self.operation.steps.order_by("index")
        self.steps = [_Step(row, step_from_data(row.data)) for row in rows]
        self.captured = {name: value for item in self.steps for name, value in item.row.captured.items()}
        self.secrets = tuple(secret for item in self.steps for secret in _secrets(item.step))

    def _prepare(self) -> None:
        """Shut out older workers, once no command of this operation runs on the host any more."""
        running = next((i for i in self.steps if i.row.status in (StepStatus.RUNNING, StepStatus.UNDOING)), None)
        name = running.name if running else "An earlier command"

        def alone() -> bool:
            result = self.connection.run(effects.fence(self.operation.pk, self.lease.token), timeout=60)
            if result.rc == effects.HELD:
                self._give_up_waiting(running)
                return False
            if result.rc == effects.OVERTAKEN:
                self.lease.renew()  # raises when it is so
                raise _Stuck(f"{effects.lock_file(self.operation.pk)} names a worker that the database does not know.")
            if not result.ok:
                raise _Failed(f"{self.operation.host_name} could not be prepared: {self._first_line(result)}.")
            return True

        self._wait(f"{name} to end: its command still runs on {self.operation.host_name}", alone)
        if self.operation.unreachable_since is not None:
            self.lease.write(unreachable_since=None, waiting_for="")
            self.operation.unreachable_since = None

    def _give_up_waiting(self, item: _Step | None) -> None:
        if item is None or item.row.started_at is None:
            return
        limit = item.step.attempts * (item.step.seconds + effects.KILL_AFTER) + self.timing.unreachable
        if (self.clock.now() - item.row.started_at).total_seconds() > limit:
            raise _Stuck(f"{item.name} still runs on {self.operation.host_name}, long after its time limit.")

    def _skip_what_is_so(self) -> None:
        """The steps that come first and only make sure of something are asked for in one request.

        What is not so, or cannot be told, is left to its own turn.
        """
        pending = [item for item in self.steps if item.row.status == StepStatus.PENDING]
        first = list(takewhile(lambda item: _only_makes_sure(item.step), pending))
        if len(first) < 2:
            return
        index = first[0].row.index
        try:
            with self.lease.writing():
                locks.take(self.operation, {name for item in first for name in self._resources_of(item)}, step=index)
        except locks.Held:
            return
        try:
            claims = checks.ask(self.connection, [check for item in first for check in item.step.done_when])
        except (checks.Unanswered, CommandTimeout, KeyError):
            claims = []
        answers = iter(claims)
        with self.lease.writing():
            for item in first if claims else ():
                holds = [next(answers) for _ in item.step.done_when]
                if all(holds):
                    self._mark(item.row, StepStatus.SKIPPED, finished_at=self.clock.now())
            locks.release(self.operation, step=index)

    # Subjects of their own

    def _perform_one(self, item: _Step) -> None:
        try:
            self._perform(item)
        except _Failed as failed:
            if not item.step.independent:
                raise
            if item.row.status != StepStatus.FAILED:
                self._mark(item.row, StepStatus.FAILED, error=str(failed), finished_at=self.clock.now())
            self._give_up(item.step.subject)

    def _is_given_up(self, item: _Step) -> bool:
        """Whether the subject of a step has failed; and then goes on with undoing what was done for it."""
        if not item.step.independent:
            return False
        begun = any(other.row.status in GIVEN_UP for other in self._steps_of(item.step.subject))
        if begun:
            self._give_up(item.step.subject)
        return begun

    def _give_up(self, subject: str) -> None:
        """Undo what was done for one subject. What cannot be undone stays UNDOING, and is told of at the end."""
        items = self._steps_of(subject)
        passed = self._point_of_no_return(items)
        if passed is not None:
            raise _Failed(next(item.row.error for item in items if item.row.error))
        for item in reversed(items):
            if item.row.index in self.stuck:
                return
            if item.row.status not in UNDOABLE:
                continue
            try:
                with self._holding(item):
                    self._undo_step(item)
            except _Stuck as stuck:
                self.stuck[item.row.index] = str(stuck)
                return

    def _steps_of(self, subject: str) -> list[_Step]:
        return [item for item in self.steps if item.step.independent and item.step.subject == subject]

    def _finish_partly(self) -> None:
        """End an operation of which some subjects have failed."""
        subjects = list(dict.fromkeys(item.step.subject for item in self.steps if item.step.independent))
        failed = [one for one in subjects if any(item.row.status in GIVEN_UP for item in self._steps_of(one))]
        if not failed:
            return
        errors = [item.row.error for one in failed for item in self._steps_of(one) if item.row.error]
        kept = [item.step.purpose for one in failed for item in self._steps_of(one) if item.row.status == KEPT]
        words = f"{len(failed)} of {len(subjects)} failed: {', '.join(failed)}. {' '.join(errors)}"
        if kept:
            words += f" Left as it is: {', '.join(kept)}."
        if self.stuck:
            raise _Stuck(f"{words} {' '.join(self.stuck.values())}")
        self._end(Status.FAILED, words)

    # A step

    def _perform(self, item: _Step) -> None:
        row, step = item.row, item.step
        if row.status in (StepStatus.DONE, StepStatus.SKIPPED):
            return
        if row.status == StepStatus.FAILED:
            raise _Failed(row.error)
        with self._holding(item):
            if row.status == StepStatus.RUNNING:
                self._remove_drafts(item)
            if row.status == StepStatus.RUNNING and self._is_done(item):
                self._mark(row, StepStatus.DONE, rc=0, finished_at=self.clock.now())
                return
            if row.status == StepStatus.PENDING and step.ensure and self._is_done(item):
                self._mark(row, StepStatus.SKIPPED, finished_at=self.clock.now())
                return
            self._try(item)

    def _is_done(self, item: _Step) -> bool:
        """By what the host says. Values that only the command's output had are not known to have been made."""
        if not item.step.done_when or (_captures(item.step.action) and not item.row.captured):
            return False
        try:
            return checks.all_hold(self.connection, item.step.done_when, self.captured)
        except (checks.Unanswered, CommandTimeout, KeyError) as error:
            raise _Failed(f"{item.name} failed: its state could not be found out: {error}.") from error

    def _try(self, item: _Step) -> None:
        """Run it, as often as it may be tried. What is half done is cleared before each further time."""
        row, step = item.row, item.step
        attempt = interrupted = 0
        if row.status == StepStatus.RUNNING:
            self._clear(item)
        while True:
            if unmet := self._unmet(item):
                self._fail(item, f"{item.name} failed: it needs that {unmet}, and that is not so.")
            self._mark(row, StepStatus.RUNNING, rc=None, error="", started_at=row.started_at or self.clock.now())
            try:
                self._attempt(item)
                return
            except _Interrupted:
                interrupted += 1
                self._prepare()
                if interrupted > 3:
                    self._fail(item, f"{item.name} failed: its command is refused by the lock of this operation.")
            except _Failed as failed:
                attempt += 1
                if attempt >= step.attempts:
                    self._fail(item, f"{failed}{self._in_use(step)}")
                self.clock.sleep(self.timing.backoff)
            if self._is_done(item):
                self._mark(row, StepStatus.DONE, rc=0, finished_at=self.clock.now())
                return
            self._clear(item)

    def _unmet(self, item: _Step) -> str:
        """The first claim without which it must not be run, and that does not hold; or ""."""
        try:
            answers = checks.ask(self.connection, item.step.requires, self.captured)
        except (checks.Unanswered, CommandTimeout, KeyError) as error:
            raise _Failed(f"{item.name} failed: whether it may be run could not be found out: {error}.") from error
        wrong = [checks.words(c) for c, holds in zip(item.step.requires, answers, strict=True) if not holds]
        return wrong[0] if wrong else ""

    def _in_use(self, step: Step) -> str:
        """Who keeps the step's file system from going: a sentence, or ""."""
        if not step.in_use:
            return ""
        try:
            result = self.connection.run(Pipeline.of(fstat.same_file_system(step.in_use)), timeout=30)
        except (HostUnavailable, CommandTimeout):
            return ""
        holders = fstat.parse(result.stdout, step.in_use)
        return f" {step.in_use} is in use by {', '.join(map(str, holders[:5]))}." if holders else ""

    def _fail(self, item: _Step, words: str) -> NoReturn:
        words = safe(words)
        self._mark(item.row, StepStatus.FAILED, error=words, finished_at=self.clock.now())
        raise _Failed(words)

    def _remove_drafts(self, item: _Step) -> None:
        """Its worker has died, and its command too, it may be, with the host. They are in nobody's way if they stay."""
        step = item.step
        pipeline = effects.remove_drafts((step.action, *(undo.action for undo in step.undo)), self.operation.pk)
        if pipeline is not None:
            with suppress(_Failed, _Interrupted):
                self._command(item, pipeline)

    def _clear(self, item: _Step) -> None:
        for undo in item.step.again:
            try:
                self._undo(item, undo)
            except _Stuck as stuck:
                raise _Failed(str(stuck)) from stuck

    def _attempt(self, item: _Step) -> None:
        row, step = item.row, item.step
        try:
            result = self._act(item, step.action)
        except KeyError as error:
            raise _Failed(f"{item.name} failed: it needs {error}, which no step has found out.") from error
        except Missing as unknown:
            raise _Failed(f"{item.name} failed: {str(unknown).rstrip('.')}.") from unknown
        row.rc = result.rc
        if not result.ok:
            raise _Failed(f"{item.name} failed: {self._why(result, step)}.")
        captured = self._capture(item, result)
        self.captured |= captured
        missing = self._missing(item)
        if missing:
            raise _Failed(f"{item.name} failed: the command reported no error, but it is not so that {missing}.")
        self._mark(row, StepStatus.DONE, rc=0, captured=captured, finished_at=self.clock.now(), error="")

    def _why(self, result: Result, step: Step) -> str:
        if result.rc == effects.TIMED_OUT:
            return f"it was ended after its time limit of {step.seconds} s"
        return self._first_line(result)

    def _capture(self, item: _Step, result: Result) -> dict[str, str]:
        captured = {}
        for name, pattern in _captures(item.step.action):
            match = re.search(pattern, result.text, re.MULTILINE)
            if match is None:
                raise _Failed(f"{item.name} failed: its output does not say {name}.")
            captured[name] = match[1]
        return captured

    def _missing(self, item: _Step) -> str:
        """The first claim of *done when* that does not hold although the command has ended well, or ""."""
        try:
            answers = checks.ask(self.connection, item.step.done_when, self.captured)
        except (checks.Unanswered, CommandTimeout, KeyError) as error:
            raise _Failed(f"{item.name} failed: whether it is done could not be found out: {error}.") from error
        wrong = [checks.words(c) for c, holds in zip(item.step.done_when, answers, strict=True) if not holds]
        return wrong[0] if wrong else ""

    # Commands

    def _act(self, item: _Step, action: Action) -> Result:
        """Run an action's commands one after the other, until one fails. KeyError: it names what was not captured."""
        if isinstance(action, BootList):
            pipelines = self._boot_commands(item, action)
        else:
            pipelines = [effects.pipeline(action, self.operation.pk, self.captured)]
        result = Result(0)
        for pipeline in pipelines:
            result = self._command(item, pipeline)
            if not result.ok:
                break
        return result

    def _boot_commands(self, item: _Step, action: BootList) -> list[Pipeline]:
        """Made from the host's rc.conf as it is now, which nobody else writes while this step holds its lock."""
        facts = self._gather_for_boot(self.connection, self._host)
        try:
            commands = effects.boot_commands(action, facts)
        except ValueError as error:
            raise _Failed(f"{item.name} failed: {str(error).rstrip('.')}.") from error
        shown = "\n".join(Run((argv,)).shown() for argv in commands)
        with self.lease.writing():
            OperationStep.objects.filter(pk=item.row.pk).update(command=shown)
        return [Pipeline.of(argv) for argv in commands]

    def _command(self, item: _Step, pipeline: Pipeline) -> Result:
        seconds = item.step.seconds
        transcript = _Output(self, item.row)
        fenced = effects.fenced(pipeline, self.operation.pk, self.lease.token, seconds)
        limit = seconds + effects.KILL_AFTER + self.timing.grace
        with self._watching(item):
            try:
                result = self.connection.run(fenced, timeout=limit, on_output=transcript.feed)
            except CommandTimeout as error:
                transcript.finish()
                self.lease.raise_token()  # it may not even have begun: then it must not
                self._prepare()
                raise _Failed(f"{item.name} failed: it did not end within {seconds} s.") from error
            except HostUnavailable:
                transcript.finish()
                raise
        transcript.finish()
        if self._was_kept_out(result):
            raise _Interrupted
        return result

    def _was_kept_out(self, result: Result) -> bool:
        """Whether the lock refused the command before it began. A command's own status may be the same number."""
        if result.rc in (effects.HELD, effects.OVERTAKEN):
            return not result.stdout and not result.stderr
        if result.rc == effects.NO_FOLDER:
            return not checks.all_hold(self.connection, [checks.directory_exists(effects.LOCK_DIRECTORY)])
        return False

    def _first_line(self, result: Result) -> str:
        """The first thing a failed command said, or its status, without the full stop."""
        for text in (result.stderr, result.stdout):
            lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
            if lines:
                return Transcript(self.secrets).clean(lines[0])[:300].rstrip(".")
        return f"exit status {result.rc}"

    @contextmanager
    def _watching(self, item: _Step) -> Iterator[None]:
        """While its command runs, the size of the step's file is its progress."""
        path = item.step.progress
        if not path:
            yield
            return
        total = self.captured.get(item.step.progress_of, "")
        if re.fullmatch(r"[0-9]{1,18}", total):
            with self.lease.writing():
                OperationStep.objects.filter(pk=item.row.pk).update(progress_total=int(total))
        seen = [-1]

        def look() -> None:
            try:
                result = self.connection.run(Pipeline.of(("stat", "-f", "%z", path)), timeout=10)
            except (HostUnavailable, CommandTimeout):
                return
            if result.ok and result.text.strip().isdigit() and int(result.text) != seen[0]:
                seen[0] = int(result.text)
                with self.lease.writing():
                    OperationStep.objects.filter(pk=item.row.pk).update(progress=seen[0])

        with self.pulse.meanwhile(look):
            yield
        look()

    # Rolling back

    def _stop_if_cancelled(self) -> None:
        if self._cancel_is_wanted() and not self._point_of_no_return():
            raise _Cancelled

    def _cancel_is_wanted(self) -> bool:
        return Operation.objects.filter(pk=self.operation.pk, cancel_requested_at__isnull=False).exists()

    def _point_of_no_return(self, items: Sequence[_Step] | None = None) -> _Step | None:
        steps = self.steps if items is None else items
        begun = [i for i in steps if i.row.status not in (StepStatus.PENDING, StepStatus.SKIPPED) and _was_begun(i.row)]
        return next((item for item in begun if item.step.irreversible), None)

    def _turn(self, words: str) -> None:
        passed = self._point_of_no_return()
        if passed is not None:
            raise _Stuck(
                f"{words} It cannot be rolled back: {passed.step.irreversible.rstrip('.')}. "
                "Once the cause is gone, resume it: it goes on with what is left."
            )
        words = safe(words)
        self.lease.write(status=Status.UNDOING, error=words)
        self.operation.status, self.operation.error = Status.UNDOING, words

    def _roll_back(self) -> NoReturn:
        for item in reversed(self.steps):
            if item.row.status not in UNDOABLE:
                continue
            with self._holding(item):
                self._undo_step(item)
        kept = [item.step.purpose for item in self.steps if item.row.status == KEPT and item.step.changes]
        undone = f"Left as it is: {', '.join(kept)}." if kept else "Everything it had made was removed."
        status = Status.FAILED if self.operation.error else Status.CANCELLED
        self._end(status, f"{self.operation.error} {undone}".strip() if self.operation.error else "")

    def _undo_step(self, item: _Step) -> None:
        row, step = item.row, item.step
        half_done = row.rc != 0 or bool(row.error)
        if row.status in (StepStatus.RUNNING, StepStatus.UNDOING):
            self._remove_drafts(item)
        self._mark(row, StepStatus.UNDOING)
        failed_itself = row.rc is not None and 0 < row.rc < SIGNALLED and row.rc != effects.TIMED_OUT
        if not _was_begun(row):
            self._mark(row, StepStatus.UNDONE)
            return
        kept = step.changes and not step.undo and not failed_itself
        for undo in (*(step.again if half_done else ()), *step.undo):
            if undo.after_failure or not failed_itself:
                kept |= not self._undo(item, undo)
        self._mark(row, StepStatus.KEPT if kept else StepStatus.UNDONE)

    def _undo(self, item: _Step, undo: Undo) -> bool:
        """Whether nothing of it is left. Raises _Stuck where that must be but could not be reached."""
        problem = ""
        for attempt in range(max(item.step.attempts, 3)):
            if attempt:
                self.clock.sleep(self.timing.backoff)
            try:
                if not checks.all_hold(self.connection, undo.only_if, self.captured):
                    return True
                result = self._act(item, undo.action)
            except KeyError:
                return True  # what it would undo was never captured: `again` looks after that
            except _Interrupted:
                self._prepare()
                continue
            except (checks.Unanswered, CommandTimeout, Missing, _Failed) as error:
                problem = str(error).rstrip(".")
                continue
            if result.ok:
                return True
            problem = self._why(result, item.step)
        if undo.tolerant:
            return False
        raise _Stuck(f"{self.operation.error} Undoing {item.name[0].lower()}{item.name[1:]} failed: {problem}.".strip())

    # Ends

    def _finish(self) -> NoReturn:
        plan = plan_from_data(self.operation.plan)
        self._remove_lock()
        facts = self._facts_afterwards()
        try:
            with self.lease.writing(
                status=Status.DONE, finished_at=self.clock.now(), error="", sealed="", **self._idle
            ):
                self._store_facts(facts)
                self.operation.refresh_from_db()
                by_kind = self._kind.noted(self.operation, plan)
                self._kind.finish(self.operation, plan)
                locks.release(self.operation)
                self._audit("done", "", by_kind)
        except (LeaseLost, *TRANSIENT):
            raise
        except Exception as error:
            log.exception("operation %s: finish", self.operation.pk)
            raise _Stuck(
                f"All steps are done on {self.operation.host_name}, but the panel could not note it down: {error}."
            ) from error
        self._after(Status.DONE)

    def _facts_afterwards(self) -> Any:
        """So that the next plan is made from the host as this operation leaves it; None where it does not answer."""
        if self.operation.host is None:
            return None
        begun = self.clock.now()
        try:
            return begun, self._gather(self.connection, self.operation.host)
        except (HostUnavailable, CommandTimeout):
            return None
        except Exception:
            # The operation has ended either way, and the next refresh tells.
            log.exception("operation %s: facts afterwards", self.operation.pk)
            return None

    def _store_facts(self, gathered: Any) -> None:
        from jails.hosts.refresh import store_facts

        if gathered is not None:
            store_facts(self._host, gathered[1], gathered[0])

    def _end(self, status: str, words: str, *, release: bool | None = None) -> NoReturn:
        """Any end but a good one. What was reserved is given back unless something is, or may be, left on the host."""
        words = safe(words)
        if release is None:
            release = status != Status.STUCK
        facts = None
        if self.steps:
            self._remove_lock()
            facts = self._facts_afterwards()
        sealed = ""
        if status == Status.STUCK:
            # Where its record was not believed, it is left as it is.
            sealed = self.operation.sealed
            if self.steps:
                sealed = seal.of_operation(self.operation, len(self.steps), stuck=True)
        with self.lease.writing(status=status, finished_at=self.clock.now(), error=words, sealed=sealed, **self._idle):
            self._store_facts(facts)
            if release:
                self._release()
            locks.release(self.operation)
            self._audit(str(status), words)
        self._after(status)

    def _release(self) -> None:
        try:
            wanted = self._kind
        except LookupError:
            return
        self.operation.refresh_from_db()
        wanted.release(self.operation)

    def _after(self, status: str) -> NoReturn:
        self.operation.status = status
        try:
            queue.wake(self.operation.host_id, but=self.operation.pk)
            if self.operation.host is not None and self.steps:
                queue.send_refresh(self.operation.host)
        except Exception:
            # It has ended all the same, and the sweeper tells the others.
            log.exception("operation %s: those that wait for its end were not told", self.operation.pk)
        raise _Ended

    def _remove_lock(self) -> None:
        if self.operation.host is None:
            return
        try:
            self.connection.run(effects.remove_lock(self.operation.pk, self.lease.token), timeout=30)
        except (HostUnavailable, CommandTimeout):
            log.info("operation %s: its lock file stays until the host is restarted", self.operation.pk)

    def _with_what_is_left(self, words: str) -> str:
        left = [
            f"{item.row.index + 1}. {item.step.purpose}"
            for item in self.steps
            if item.step.changes
            and _was_begun(item.row)
            and item.row.status not in (StepStatus.PENDING, StepStatus.SKIPPED, StepStatus.UNDONE)
        ]
        return f"{words} Begun or done, and not undone: {'; '.join(left)}." if left else words

    def _audit(
        self, outcome: str, detail: str, by_kind: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})
    ) -> None:
        """With what has changed, where it was begun at all: also what is left of one that did not end well."""
        try:
            action = self._kind.action
        except LookupError:
            action = "operation.run"
        begun = self.operation.started_at is not None
        before, after = noted.told(self.operation, noted.of(self.operation), by_kind) if begun else (None, None)
        audit.record(
            action,
            actor=self.operation.confirmed_by or audit.PANEL,
            outcome=outcome,
            operation=self.operation,
            before=before,
            after=after,
            plan_digest=self.operation.confirmed_digest,
            detail=detail,
            source="worker",
        )

    # Waiting

    def _park(self, words: str, seconds: float, unreachable_since: datetime | None = None) -> Outcome:
        """Hold no worker while it waits; and while nothing has begun, hold nothing at all."""
        try:
            with transaction.atomic():
                self.lease.give_back(waiting_for=safe(words)[:300], unreachable_since=unreachable_since)
                if self.operation.status == Status.QUEUED:
                    locks.release(self.operation)
        except LeaseLost:
            return Outcome("lost")
        return Outcome("waiting", seconds)

    def _unreachable(self, error: HostUnavailable) -> Outcome:
        now = self.clock.now()
        since = self.operation.unreachable_since or now
        waited = (now - since).total_seconds()
        where = self.operation.host_name
        if waited > self.timing.unreachable:
            words = f"{where} has not answered since {since:%Y-%m-%d %H:%M} UTC: {error.message}."
            try:
                if all(item.row.status == StepStatus.PENDING for item in self.steps):
                    self._end(Status.FAILED, f"{words} Nothing was changed.")
                self._end(Status.STUCK, self._with_what_is_left(words))
            except _Ended:
                return Outcome(self.operation.status)
            except LeaseLost:
                return Outcome("lost")
        words = f"{where}, which does not answer since {since:%H:%M} UTC: {error.message}"
        return self._park(words, min(120.0, max(self.timing.park, waited / 4)), since)

    def _wait(self, words: str, ready: Callable[[], bool]) -> None:
        """Stand waiting for a moment, then let go."""
        if ready():
            return
        self.lease.write(waiting_for=safe(words)[:300])
        end = self.clock.monotonic() + self.timing.patience
        pause = self.timing.poll
        while self.clock.monotonic() < end:
            self.clock.sleep(pause)
            pause = min(2 * pause, max(1.0, self.timing.poll))
            if ready():
                self.lease.write(waiting_for="")
                return
        raise _Parked(words, self.timing.park)

    @contextmanager
    def _holding(self, item: _Step) -> Iterator[None]:
        """The locks of one step. They are kept when the step is interrupted: whoever goes on with it has them."""
        resources = self._resources_of(item)
        if not resources:
            yield
            return
        held: list[locks.Held] = []

        def take() -> bool:
            held.clear()
            try:
                with self.lease.writing():
                    locks.take(self.operation, resources, step=item.row.index)
            except locks.Held as error:
                held.append(error)
            return not held

        if not take():
            self._wait(held[0].words, take)
        try:
            yield
        except _Failed:
            self._let_go(item)
            raise
        self._let_go(item)

    def _resources_of(self, item: _Step) -> list[str]:
        resources = list(item.step.resources)
        if isinstance(item.step.action, BootList) or any(isinstance(u.action, BootList) for u in item.step.undo):
            resources.append(f"host:{self.operation.host_id}/rc.conf")
        return resources

    def _let_go(self, item: _Step) -> None:
        with self.lease.writing():
            locks.release(self.operation, step=item.row.index)

    # Rows

    def _mark(self, row: OperationStep, status: str, **fields: Any) -> None:
        row.status = status
        for name, value in fields.items():
            setattr(row, name, value)
        row.state_seal = seal.of_state(row)
        fields |= {"status": status, "state_seal": row.state_seal, "rc": row.rc}
        with self.lease.writing():
            OperationStep.objects.filter(pk=row.pk).update(**fields)

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect(self._host)
        return self._connection

    @property
    def _host(self) -> Host:
        if self.operation.host is None:
            raise _Stuck(f"{self.operation.host_name} is no longer a host of this panel.")
        return self.operation.host

    @property
    def _kind(self) -> kind.Kind:
        return kind.get(self.operation.kind)

    @property
    def _idle(self) -> dict[str, Any]:
        return {"waiting_for": "", "unreachable_since": None, "lease_owner": "", "lease_expires_at": None}


class _Output:
    """Writes what a command prints to its step's row, at most every half second."""

    def __init__(self, run: _Run, row: OperationStep) -> None:
        self.run, self.row = run, row
        self.before = row.output
        self.transcript = Transcript(run.secrets)
        self.written_at = run.clock.monotonic()
        self.lost = False

    def feed(self, data: bytes) -> None:
        """Called while the command runs. It must not raise: the command goes on whatever happens here."""
        self.transcript.feed(data)
        if self.lost or self.run.clock.monotonic() - self.written_at < self.run.timing.output:
            return
        self.written_at = self.run.clock.monotonic()
        try:
            self._write()
        except LeaseLost:
            self.lost = True
        except DatabaseError:
            log.exception("the output of a step of operation %s could not be stored", self.run.operation.pk)

    def finish(self) -> None:
        self.transcript.finish()
        if self.transcript.text:
            self._write()

    def _write(self) -> None:
        self.row.output = (self.before + self.transcript.text)[-OUTPUT:]
        with self.run.lease.writing():
            OperationStep.objects.filter(pk=self.row.pk).update(output=self.row.output)


OUTPUT = 80_000
"""Characters kept of all the commands of one step, its attempts and its undoing."""


def _only_makes_sure(step: Step) -> bool:
    return step.ensure and bool(step.done_when) and not step.requires and not step.independent


def _was_begun(row: OperationStep) -> bool:
    """Not one that failed before its command was run, because what it requires was not so."""
    return row.started_at is not None


def _captures(action: Action) -> tuple[tuple[str, str], ...]:
    return action.captures if isinstance(action, Run) else ()


def _secrets(step: Step) -> list[str]:
    actions = [step.action, *(undo.action for undo in (*step.undo, *step.again))]
    return [action.stdin for action in actions if isinstance(action, Run) and action.stdin_is_secret]
