"""What a kind of operation is: one module in this folder turns a wish and facts into a plan.

A kind never runs a command. It refuses what cannot be (`Refused`), plans, and keeps the panel's own rows in step with
what the plan does: `reserve` when it is confirmed, `finish` when it is done, `release` when it was undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from jails.operations.step import Plan

if TYPE_CHECKING:
    from jails.hosts.facts import HostFacts
    from jails.models import Host, Jail, Operation, Tenant, User
    from jails.plans import Growth


class Refused(Exception):
    """The wish cannot be: `errors` maps a field of the form (or "" for the whole) to what is wrong and what to do."""

    def __init__(self, errors: Mapping[str, str] | str) -> None:
        self.errors = {"": errors} if isinstance(errors, str) else dict(errors)
        super().__init__("; ".join(f"{field}: {text}" if field else text for field, text in self.errors.items()))


@dataclass(frozen=True)
class Request:
    """A wish: what planning starts from. The same request and the same facts give the same plan, byte for byte.

    `operation_id` is part of the plan: it marks what the operation makes as its own.
    """

    operation_id: str
    parameters: Mapping[str, Any]
    host: Host
    facts: HostFacts
    tenant: Tenant | None = None


class Kind:
    """One kind of operation. Subclasses are stateless; `get` finds them by name.

    name: as Operation.kind stores it, and the module's name. action: what policy.py is asked for.
    """

    name: ClassVar[str]
    action: ClassVar[str]

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        """The panel's jails it is about: what the policy is asked about, and where the operation is listed."""
        return []

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        """Whose log it belongs to: that of its jails when they all have the same one."""
        owners = {jail.tenant for jail in self.jails(host, parameters)}
        return owners.pop() if len(owners) == 1 else None

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        """What it does, in a few words: `Start www1`."""
        raise NotImplementedError

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, complete and checked one by one without looking at any host. Raises Refused."""
        raise NotImplementedError

    def plan(self, request: Request) -> Plan:
        """Raises Refused when it cannot be done on this host as it is now. May read the database; changes nothing."""
        raise NotImplementedError

    def widens(self, host: Host, parameters: Mapping[str, Any]) -> list[str]:
        """Parameters of jail(8) that the wish sets to what only an administrator may set; policy.py asks."""
        return []

    def actions_of(self, user: User, host: Host, parameters: Mapping[str, Any], usual: str) -> tuple[str, ...]:
        """What the policy is asked for on each of its jails, where that depends on what is wished for. LookupError."""
        return (usual,)

    def why_not_the_panel(self, host: Host, parameters: Mapping[str, Any]) -> str:
        """Why the panel may not do it of its own accord, with nobody asking: a sentence, or "". LookupError."""
        return "The person who asked for it may no longer sign in."

    def why_not_by_itself(self, host: Host, parameters: Mapping[str, Any]) -> str:
        """Why a tenant may not do it without staff: a sentence, or "". Asked only where it has no jail yet."""
        return f"Only staff may do this on {host}."

    def why_not_for(self, user: User, host: Host, parameters: Mapping[str, Any]) -> str:
        """What else the policy has against this person: a sentence, or ""."""
        return ""

    def also(self, parameters: Mapping[str, Any]) -> str:
        """What the policy is asked for on its host beside `action`; "" for nothing more."""
        return ""

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> Growth | None:
        """What it makes a tenant's, or more of: its plan must have room for it. None: nothing."""
        return None

    def replaces(self, operation: Operation) -> Iterable[Operation]:
        """Others that are not to be done once it is confirmed, where no worker has begun them: locked, as they are now.

        In the transaction that confirms it. LookupError.
        """
        return ()

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        """Before and after of what it has done, for the log: what its jails' rows do not tell. Asked before `finish`.

        Nothing of the host, unless the operation is nobody's: tenants read it. Looks for no row that may be gone.
        """
        return {}, {}

    def reserve(self, operation: Operation) -> None:
        """In the transaction that confirms it. Raises Refused or IntegrityError when somebody else was first."""

    def finish(self, operation: Operation, plan: Plan) -> None:
        """In the transaction that ends it as done."""

    def release(self, operation: Operation) -> None:
        """In the transaction that ends it as undone, refused or discarded: gives back what `reserve` took."""


KINDS = (
    "host_setup",
    "host_fix",
    "orphans_remove",
    "release_fetch",
    "release_remove",
    "jail_create",
    "jail_start",
    "jail_stop",
    "jail_restart",
    "service_change",
    "jail_change",
    "jail_rename",
    "jail_destroy",
    "jail_give",
    "snapshot_create",
    "snapshot_destroy",
    "snapshot_hold",
    "snapshot_release",
    "jail_rollback",
    "sandbox_create",
    "sandbox_end",
    "tenant_limits",
    "file_restore",
    "drift_repair",
    "drift_accept",
    "jail_adopt",
    "jail_unadopt",
    "template_create",
    "template_publish",
    "template_remove",
    "keys_change",
)


SNAPSHOT_FIRST: Mapping[str, str] = {
    "jail_change": "change",
    "drift_repair": "repair",
    "file_restore": "restore",
    "keys_change": "keys",
}
"""Kind of operation that takes a snapshot of its jail first → the word for it in the snapshot's name.

By what can be lost: jail_change and drift_repair where they stop the jail for another configuration; file_restore where
it puts something in the place of what is there; keys_change where it puts keys in, which writes below a home. Not what
only starts, stops, renames or resizes a jail, for that writes nothing in it. Not where keys are taken out: nothing may
hinder that. Not template_publish: the snapshot that a template is made of is how it was, and goes once the cleaned one
is there, for another would still show what is taken out. Not jail_rollback: `zfs rollback -r` would destroy it at once.
Not what destroys the jail or only reads it.
"""


def get(name: str) -> Kind:
    """The kind of that name. Raises LookupError for any other name, whatever a row or a message says."""
    if name not in KINDS:
        raise LookupError(f"no kind of operation is called {name!r}")
    module = f"jails.operations.{name}"
    try:
        kind: Kind = import_module(module).kind
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise LookupError(f"this release has no kind of operation called {name!r}") from error
    return kind


def is_by_itself(name: str) -> bool:
    """Whether the panel does it of its own accord, with nobody asking."""
    try:
        return type(get(name)).why_not_the_panel is not Kind.why_not_the_panel
    except LookupError:
        return False
