"""Doing what a fleet's plan says: rows of the panel by its own forms, everything on hosts by ordinary operations.

Each operation is planned, confirmed by the named administrator, run by the host's worker, and waited for. Whoever stops
this in the middle leaves an ordinary operation that goes on, and can apply the file again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.forms import ModelForm, model_to_dict
from django.utils import timezone

from jails import audit, policy
from jails.models import Host, Network, Operation, OperationStep, Release, Tenant, User, Worker
from jails.models.release import Base
from jails.operations import lifecycle, queue
from jails.operations.kind import Refused
from panel.fleet.plan import Change, Gone, Plan
from panel.views.hosts import want_access, want_refresh

SOURCE = "command line"
POLL = 0.5
"""Seconds between two looks at an operation."""
REFRESH_PATIENCE = timedelta(minutes=5)
TRIES = 3
"""How often a plan is made anew because its host has changed since it was last looked at."""

pause = time.sleep
Say = Callable[[str], object]
Status = Operation.Status


class Failed(Exception):
    """A change could not be made: a sentence."""


class Apply:
    def __init__(self, user: User, say: Say, *, keep_going: bool = False) -> None:
        self.user, self.say, self.keep_going = user, say, keep_going
        self.done = self.failed = 0

    def run(self, plan: Plan) -> bool:
        """Whether all of it was done. Stops at the first failure unless it is to keep going."""
        looked_at: dict[str, str] = {}
        for change in plan.changes:
            try:
                if change.host and change.host not in looked_at:
                    looked_at[change.host] = self._look_at(change.host)
                if problem := looked_at.get(change.host):
                    raise Failed(problem)
                self._make(change)
                self.done += 1
            except Failed as failed:
                self.failed += 1
                self.say(f"  FAILED: {failed}")
                if not self.keep_going:
                    return False
        return not self.failed

    def _make(self, change: Change) -> None:
        self.say(f"{change.host or 'panel'}: {change.words}")
        try:
            if change.form is not None:
                self._save(change, change.form())
            else:
                self._operate(change)
        except Gone as gone:
            raise Failed(str(gone)) from gone
        except Refused as refused:
            raise Failed(str(refused)) from refused
        except PermissionDenied as denied:
            raise Failed(str(denied) or "You may not do this.") from denied
        except LookupError as error:
            raise Failed(f"what it is about is gone: {error}.") from error

    # Rows of the panel

    def _save(self, change: Change, form: ModelForm) -> None:
        if not policy.allowed(self.user, change.action):
            with transaction.atomic():
                audit.record(change.action, actor=self.user, outcome="refused", source=SOURCE, detail=change.words)
            raise Failed(f"{self.user} may not do this ({change.action}).")
        before = facts_of(type(form.instance).objects.get(pk=form.instance.pk)) if form.instance.pk else None
        if not form.is_valid():
            raise Failed("; ".join(f"{key}: {' '.join(errors)}" for key, errors in form.errors.items()))
        try:
            with transaction.atomic():
                self._write(change, form, before)
        except IntegrityError as error:
            raise Failed("somebody has just added one of that name.") from error

    def _write(self, change: Change, form: ModelForm, before: dict[str, Any] | None) -> None:
        row, old_key = form.save(commit=False), getattr(form.instance, "host_key", "")
        for name, value in change.columns.items():
            setattr(row, name, value)
        if before is None:
            row.save()
        else:
            if _is_moved(row, before) or row.host_key != old_key:
                row.offered_key = ""
            # A refresh writes the other columns, perhaps right now.
            row.save(update_fields=[*form.fields, *change.columns, "offered_key", "changed_at"])
        if isinstance(row, Host):
            _want_looks(row, before)
        if before != facts_of(row):
            after = facts_of(row)
            audit.record(change.action, actor=self.user, obj=row, before=before, after=after, source=SOURCE)
        if isinstance(row, Host) and row.host_key != old_key:
            keys = {"before": {"host_key": old_key}, "after": {"host_key": row.host_key}}
            audit.record("host.pin", actor=self.user, obj=row, source=SOURCE, **keys)

    # Hosts

    def _look_at(self, name: str) -> str:
        """Have its worker refresh a host, so that plans are made of what it is like now. Why it cannot be, or ""."""
        host = Host.objects.filter(name=name).first()
        if host is None:
            return f"there is no host {name}."
        if problem := why_no_worker(host):
            return problem
        asked = timezone.now()
        self.say(f"{name}: looking at it")
        queue.send_refresh(host)
        while timezone.now() - asked < REFRESH_PATIENCE:
            host.refresh_from_db()
            if host.refreshed_at is not None and host.refreshed_at >= asked:
                return ""
            if host.offered_key:
                return f"{name} shows a key that nobody has compared yet: pin it on the host's page, or as host_key."
            if host.unavailable_since is not None and _has_failed_since(host, asked):
                return f"{name} does not answer: {host.unavailable_reason}"
            pause(POLL)
        return f"{name} was not looked at within {REFRESH_PATIENCE.seconds // 60} minutes; see the worker's log."

    # Operations

    def _operate(self, change: Change) -> None:
        assert change.resolve is not None
        host = Host.objects.get(name=change.host)
        for _ in range(TRIES):
            draft = lifecycle.draft(change.kind, change.resolve(), host=host, user=self.user, source=SOURCE)
            operation = lifecycle.confirm(draft, draft.digest, user=self.user, source=SOURCE)
            self._wait_for(operation)
            if operation.status != Status.STALE:
                break
            # What was confirmed is the file, not this one plan.
            lifecycle.discard(operation, user=self.user, source=SOURCE)
            self.say(f"  {host} has changed meanwhile: planned anew")
            if problem := self._look_at(host.name):
                raise Failed(problem)
        if operation.status != Status.DONE:
            words = operation.error or operation.get_status_display().lower()
            raise Failed(f"{words} (operation {operation.short_id})")
        if change.kind == "release_fetch":
            _require_release(host, operation)

    def _wait_for(self, operation: Operation) -> None:
        shown, warned = "", False
        while operation.is_open:
            words = self._progress(operation)
            if words and words != shown:
                self.say(f"  {words}")
                shown = words
            assert operation.host is not None
            if not warned and (problem := why_no_worker(operation.host)):
                self.say(f"  {problem} It waits.")
                warned = True
            pause(POLL)
            operation.refresh_from_db()

    def _progress(self, operation: Operation) -> str:
        if operation.waiting_for:
            return f"waits for {operation.waiting_for}"
        current = operation.steps.filter(status__in=[OperationStep.Status.RUNNING, OperationStep.Status.UNDOING])
        step = current.order_by("index").values_list("index", "data__purpose").first()
        if step is None:
            return ""
        undoing = "rolling back: " if operation.status == Status.UNDOING else ""
        return f"{undoing}step {step[0] + 1} of {operation.steps.count()}: {step[1]}"


def _is_moved(host: Host, before: dict[str, Any]) -> bool:
    return (host.address, host.port) != (before["address"], before["port"])


def _want_looks(host: Host, before: dict[str, Any] | None) -> None:
    """As the pages do: its worker looks at it, and at what it may do there where that may be another answer now."""
    want_refresh(host)
    if before is None:
        if host.kind != Host.Kind.SSH or host.host_key:
            want_access(host)
    elif _is_moved(host, before) or any(
        before[name] != getattr(host, name) for name in ("username", "become", "worker")
    ):
        want_access(host, forget=True)


def _require_release(host: Host, operation: Operation) -> None:
    """A fetch of what nobody has vouched for ends as done, and has only read the digest."""
    wish = operation.parameters
    rows = Release.objects.filter(host=host, name=wish["release"], architecture=wish["architecture"])
    if not rows.filter(state=Base.State.READY).exists():
        raise Failed(
            f"nobody has vouched for this MANIFEST of {wish['release']} yet: compare its digest on the page of "
            "releases, confirm it, and apply the file again."
        )


def _has_failed_since(host: Host, at: datetime) -> bool:
    return host.changed_at >= at


def why_no_worker(host: Host) -> str:
    worker = Worker.objects.filter(pk=queue.worker_of(host)).first()
    if worker is None or worker.is_silent:
        return f"no worker {queue.worker_of(host)} is running, which serves {host}: start it."
    return ""


FACTS: dict[type, tuple[str, ...]] = {
    Tenant: ("name",),
    Network: ("cidr", "interface"),
    Host: ("kind", "address", "port", "username", "become", "directory", "pool", "jail_root", "interface", "worker"),
}
"""What the log says of each, as the panel's pages do."""


def facts_of(row: Tenant | Network | Host) -> dict[str, object]:
    return model_to_dict(row, fields=FACTS[type(row)])


def administrator(name: str) -> User:
    """Who wants it: that administrator, or without a name the only one there is. Raises Failed."""
    people = User.objects.filter(role=User.Role.ADMINISTRATOR, is_active=True).order_by("username")
    if name:
        person = people.filter(username=name).first()
        if person is None:
            raise Failed(f"{name!r} is no administrator of this panel.")
        return person
    if len(people) != 1:
        raise Failed("there are several administrators: say which one with --user NAME." if people else NOBODY_YET)
    return people[0]


NOBODY_YET = "there is no administrator yet: make the first one with `manage.py signin_link`."
