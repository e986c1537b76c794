"""Who may do what, against tables written by hand: what is not in them is denied."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import rules
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.utils import timezone

from jails import audit, breakglass, policy
from jails.models import (
    Address,
    Agreement,
    Approval,
    AuditEntry,
    AuditHead,
    AuditReview,
    BreakGlass,
    Console,
    ConsoleTicket,
    Host,
    HostFactsRecord,
    Invitation,
    Jail,
    JailKey,
    Membership,
    Network,
    Operation,
    Pool,
    Release,
    SavedSearch,
    SshKey,
    Template,
    Tenant,
    User,
    Worker,
)
from jails.operations import kind, lifecycle
from tests.panel.fleet import Fleet, add_jail, make_fleet

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
PEOPLE = {
    "A": "administrator",
    "P": "operator",  # of warden1
    "Q": "other operator",  # of warden2
    "U": "auditor",
    "O": "owner",  # of acme, as the two below
    "M": "member",
    "V": "viewer",
    "S": "stranger",  # owner of globex
    "N": "nobody",  # may sign in, and has no role
    "D": "disabled",  # an administrator, operator of warden1 and owner of acme, who is disabled
    "X": "anonymous",
}


@pytest.fixture
def fleet() -> Fleet:
    fleet = make_fleet()
    add_jail(fleet, "shop", host=fleet.ufs, storage="ufs", base=fleet.ufs_release, tenant=fleet.other)
    other = User.objects.create_user("other-operator", role="operator")
    other.operated_hosts.add(fleet.ufs)
    disabled = User.objects.create_user("disabled-person", role="administrator", is_active=False)
    disabled.operated_hosts.add(fleet.zfs)
    Membership.objects.create(tenant=fleet.acme, user=disabled, role="owner")
    fleet.people |= {
        "other operator": other,
        "disabled": disabled,
        "nobody": User.objects.create_user("nobody-person"),
        "anonymous": AnonymousUser(),
    }
    return fleet


def operation(fleet: Fleet, kind_name: str, parameters: dict[str, Any] | None = None, **fields: Any) -> Operation:
    host = fields.pop("host", fleet.zfs)
    return Operation.objects.create(
        kind=kind_name, title=kind_name, parameters=parameters or {}, host=host, host_name=host.name, **fields
    )


def things(fleet: Fleet) -> dict[str, Any]:
    """What the actions of the table are asked about. "": nothing in particular."""
    member = fleet.people["member"]
    JailKey.objects.create(jail=fleet.jails["www1"], login="web", user=fleet.people["nobody"])
    template = Template(host=fleet.ufs, name="t2", tenant=fleet.acme, published_at=timezone.now())
    return {
        "": None,
        "warden1": fleet.zfs,
        "warden2": fleet.ufs,
        "release on warden1": fleet.release,
        "release on warden2": fleet.ufs_release,
        "template on warden1": fleet.template,
        "template of acme on warden2": template,
        "network": fleet.office,
        "loghost": fleet.jails["loghost"],
        "www1": fleet.jails["www1"],
        "logdb": fleet.jails["logdb"],
        "shop": fleet.jails["shop"],
        "acme": fleet.acme,
        "globex": fleet.other,
        "member of acme": Membership.objects.get(user=fleet.people["member"]),
        "link into acme": Invitation(tenant=fleet.acme, tenant_role="viewer"),
        "link into the panel": Invitation(role="auditor"),
        "operation of acme": operation(fleet, "jail_start", tenant=fleet.acme),
        "operation on warden2": operation(fleet, "host_setup", host=fleet.ufs),
        "operation of globex": operation(fleet, "jail_start", host=fleet.ufs, tenant=fleet.other),
        "approval of acme": Approval(tenant=fleet.acme, host=fleet.zfs, side="tenant", asked_by=member),
        "approval of the host": Approval(tenant=fleet.acme, host=fleet.zfs, side="host", asked_by=member),
        "proposed by acme": Agreement(
            tenant=fleet.acme, jail=fleet.jails["www1"], side="tenant", proposed_by=fleet.people["owner"]
        ),
        "proposed to acme": Agreement(tenant=fleet.acme, side="host", proposed_by=fleet.people["auditor"]),
        "break-glass into acme": BreakGlass(tenant=fleet.acme),
        "break-glass into globex": BreakGlass(tenant=fleet.other),
        "console in www1": Console(tenant=fleet.acme),
        "console in loghost": Console(),
        "member": fleet.people["member"],
        "search of the member": SavedSearch(user=fleet.people["member"]),
        "search of the auditor": SavedSearch(user=fleet.people["auditor"], shared=True),
        "review of the administrator": AuditReview(sequence=1, actor_id=fleet.people["administrator"].pk),
        "review of the auditor": AuditReview(sequence=2, actor_id=fleet.people["auditor"].pk),
    }


# loghost is nobody's on warden1, www1 is acme's on warden1, logdb is nobody's on warden2, shop is globex's on warden2.
ALLOWED = {
    "panel.overview": {"": "APQU"},
    "host.view": {"warden1": "APU", "warden2": "AQU", "": "AU"},
    "host.access": {"warden1": "A", "warden2": "A"},
    "host.refresh": {"warden1": "AP", "warden2": "AQ", "": "A"},
    "host.add": {"": "A"},
    "host.change": {"warden1": "A", "warden2": "A"},
    "host.forget": {"warden1": "A", "warden2": "A"},
    "host.setup": {"warden1": "AP", "warden2": "AQ", "": "A"},
    "host.clean": {"warden1": "A", "warden2": "A", "": "A"},
    "orphan.view": {"warden1": "AU", "warden2": "AU", "": "AU"},
    "host.fix": {"warden1": "AP", "warden2": "AQ", "": "A"},
    "host.fix_system": {"warden1": "A", "warden2": "A", "": "A"},
    "release.view": {"release on warden1": "APU", "release on warden2": "AQU"},
    "release.fetch": {"warden1": "AP", "warden2": "AQ", "": "A"},
    "release.trust": {"": "A", "warden1": "A"},
    "release.remove": {"release on warden1": "AP", "release on warden2": "AQ"},
    "template.view": {"template on warden1": "APU", "template of acme on warden2": "AQU"},
    "template.create": {"warden1": "AP", "www1": "AP", "shop": "AQ", "": "A"},
    "template.publish": {"template on warden1": "A", "warden1": "A", "": "A"},
    "template.remove": {"template on warden1": "AP", "template of acme on warden2": "AQ"},
    "network.view": {"": "APQU", "network": "APQU"},
    "network.add": {"": "A"},
    "network.remove": {"network": "A"},
    "jail.view": {"loghost": "APU", "www1": "APUOMV", "logdb": "AQU", "shop": "AQUS"},
    "inside.view": {"loghost": "APU", "www1": "APUOMV", "logdb": "AQU", "shop": "AQUS"},
    "inside.read": {"loghost": "AP", "www1": "APOM", "logdb": "AQ", "shop": "AQS"},
    "jail.power": {"loghost": "AP", "www1": "APOM", "logdb": "AQ", "shop": "AQS", "warden1": "AP", "": "A"},
    "jail.snapshot": {"loghost": "AP", "www1": "APO", "logdb": "AQ", "shop": "AQS", "warden1": "AP", "": "A"},
    "jail.sandbox": {"loghost": "AP", "www1": "APO", "logdb": "AQ", "shop": "AQS", "": "A"},
    "jail.create": {"warden1": "AP", "warden2": "AQ", "acme": "AO", "globex": "AS", "": "A"},
    "jail.resize": {"loghost": "AP", "www1": "APO", "logdb": "AQ", "shop": "AQS", "acme": "AO", "": "A"},
    "jail.keys": {"loghost": "AP", "www1": "O", "logdb": "AQ", "shop": "S", "": "A"},
    "jail.keys_own": {"www1": "N", "loghost": "", "shop": "", "warden1": "", "": ""},
    "jail.revoke": {"loghost": "AP", "www1": "APO", "logdb": "AQ", "shop": "AQS", "": "A"},
    "jail.change": {"loghost": "AP", "www1": "AP", "logdb": "AQ", "shop": "AQ"},
    "drift.view": {"loghost": "APU", "www1": "APU", "logdb": "AQU", "shop": "AQU"},
    "jail.repair": {"loghost": "AP", "www1": "AP", "logdb": "AQ", "shop": "AQ"},
    "jail.accept": {"loghost": "AP", "www1": "AP", "logdb": "AQ", "shop": "AQ"},
    "jail.rename": {"loghost": "AP", "www1": "AP", "logdb": "AQ", "shop": "AQ"},
    "jail.destroy": {"loghost": "AP", "www1": "APO", "logdb": "AQ", "shop": "AQS"},
    "jail.give": {"loghost": "A", "www1": "A", "shop": "A", "": "A"},
    "jail.adopt": {"loghost": "A", "www1": "A", "shop": "A", "": "A"},
    "jail.assign": {"": "A", "acme": "A", "globex": "A"},
    "jail.console": {"loghost": "AP", "www1": "O", "logdb": "AQ", "shop": "S", "": ""},
    "console.view": {"console in www1": "AUO", "console in loghost": "AU", "www1": "AUO", "": "AU"},
    "recording.view": {"console in www1": "AU", "console in loghost": "AU", "": "AU"},
    "jail.breakglass": {"loghost": "", "www1": "A", "shop": "A", "": ""},
    "breakglass.view": {"break-glass into acme": "AUOMV", "break-glass into globex": "AUS"},
    "breakglass.end": {"break-glass into acme": "A", "break-glass into globex": "A"},
    "breakglass.acknowledge": {"break-glass into acme": "O", "break-glass into globex": "S", "": ""},
    "agreement.view": {"www1": "APUOMV", "proposed by acme": "APUOMV", "proposed to acme": "AUOMV", "globex": "AUS"},
    "agreement.propose": {"www1": "APO", "shop": "AQS", "loghost": "", "acme": "AO", "globex": "AS", "": ""},
    "agreement.set": {"www1": "A", "loghost": "", "acme": "A", "": ""},
    "agreement.decide": {"proposed by acme": "AP", "proposed to acme": "O", "": ""},
    "agreement.withdraw": {"proposed by acme": "O", "proposed to acme": "A", "": ""},
    "agreement.read": {"proposed to acme": "O", "": ""},
    "approval.view": {"approval of acme": "APUOMV", "approval of the host": "APUOMV", "": "AU"},
    "approval.decide": {"approval of acme": "O", "approval of the host": "AP", "": ""},
    "approval.withdraw": {"approval of acme": "OM", "approval of the host": "APM", "": ""},
    "operation.view": {
        "operation of acme": "APUOMV",
        "operation on warden2": "AQU",
        "operation of globex": "AQUS",
    },
    "tenant.list": {"": "AU"},
    "tenant.view": {"acme": "AUOMV", "globex": "AUS", "member of acme": "AUOMV", "": "AU"},
    "tenant.add": {"": "A"},
    "tenant.archive": {"acme": "A", "globex": "A"},
    "tenant.plan": {"acme": "A", "globex": "A"},
    "usage.view": {"acme": "AUO", "globex": "AUS", "": "AU"},
    "tenant.invite": {"acme": "AO", "globex": "AS", "link into acme": "AO", "link into the panel": "A", "": "A"},
    "tenant.members": {"acme": "AO", "globex": "AS", "member of acme": "AO", "": "A"},
    "user.view": {"": "AU", "member": "AU"},
    "user.invite": {"": "A"},
    "user.disable": {"member": "A", "": "A"},
    "user.change": {"member": "A", "": "A"},
    "user.link": {"member": "A", "": "A"},
    "user.factors": {"member": "A", "": "A"},
    "user.sign_out": {"member": "A", "": "A"},
    "audit.view": {"": "AU"},
    "audit.view_own": {"acme": "OMV", "globex": "S", "": ""},
    "search.share": {"": "AU"},
    "search.remove": {"search of the member": "M", "search of the auditor": "U", "": ""},
    "audit.review": {"": "AU", "review of the administrator": "U", "review of the auditor": "A"},
}


def test_the_table_knows_every_action() -> None:
    assert set(ALLOWED) == set(policy.ACTIONS)


@pytest.mark.parametrize("action", ALLOWED)
def test_exactly_these_may(action: str, fleet: Fleet) -> None:
    known = things(fleet)
    may = {
        name: "".join(
            letter for letter, role in PEOPLE.items() if policy.allowed(fleet.people[role], action, known[name])
        )
        for name in ALLOWED[action]
    }
    assert may == ALLOWED[action]


@pytest.mark.parametrize("action", ["", "host.viewer", "jail.power ", "panel", "jail.*", "host.view\0"])
def test_an_action_that_is_not_there_is_denied_to_all(action: str, fleet: Fleet) -> None:
    assert not any(policy.allowed(person, action, fleet.zfs) for person in fleet.people.values())


def test_nothing_is_allowed_to_nobody() -> None:
    assert not any(policy.allowed(user, action) for user in (None, AnonymousUser()) for action in policy.ACTIONS)


@pytest.mark.parametrize(("fix", "who"), [("ntpd", "AP"), ("sshd", "A"), ("racct", "A"), ("locale", "A")])
def test_what_could_shut_out_the_panel_is_for_administrators(fleet: Fleet, fix: str, who: str) -> None:
    wanted = operation(fleet, "host_fix", parameters={"fix": fix})
    people = {letter: fleet.people[role] for letter, role in PEOPLE.items()}
    assert "".join(letter for letter, one in people.items() if not policy.why_not_operation(one, wanted)) == who


def test_an_auditor_changes_nothing(fleet: Fleet) -> None:
    looking = {name for name in policy.ACTIONS if name.endswith((".view", ".list", ".overview"))}
    known = things(fleet).values()
    may = {name for name in policy.ACTIONS for it in known if policy.allowed(fleet.people["auditor"], name, it)}
    own = {"search.share", "search.remove"}  # filters of the log under a name
    assert may <= looking | own | {"audit.review"}  # signing off is their part, and is in the log


def test_django_asks_the_same_table(fleet: Fleet) -> None:
    for role in ("administrator", "operator", "viewer"):
        person = fleet.people[role]
        for host in (fleet.zfs, fleet.ufs):
            assert person.has_perm("host.view", host) == policy.allowed(person, "host.view", host)
    assert all(rules.perm_exists(action) for action in policy.ACTIONS)


def test_a_right_taken_away_is_gone_for_the_next_request(fleet: Fleet) -> None:
    operator, member = fleet.people["operator"], fleet.people["member"]
    operator.operated_hosts.clear()
    Membership.objects.filter(user=member).delete()
    assert not policy.allowed(User.objects.get(pk=operator.pk), "host.view", fleet.zfs)
    assert not policy.allowed(User.objects.get(pk=member.pk), "jail.view", fleet.jails["www1"])


def test_hosts_without_the_role_make_no_operator(fleet: Fleet) -> None:
    operator = fleet.people["operator"]
    User.objects.filter(pk=operator.pk).update(role="")
    assert not policy.allowed(User.objects.get(pk=operator.pk), "host.view", fleet.zfs)
    assert not policy.visible(User.objects.get(pk=operator.pk), Host)


def test_an_archived_tenant_gives_no_right(fleet: Fleet) -> None:
    Tenant.objects.filter(pk=fleet.acme.pk).update(archived_at=timezone.now())
    owner = User.objects.get(pk=fleet.people["owner"].pk)
    assert not policy.allowed(owner, "jail.view", fleet.jails["www1"])
    assert not policy.allowed(owner, "tenant.view", fleet.acme)
    assert not policy.visible(owner, Jail)
    assert not policy.visible(owner, AuditEntry)


# Which rows


STAFF = {"administrator", "auditor"}
ON_WARDEN1 = {"gone", "legacy", "loghost", "www1", "www2"}
VISIBLE: dict[type[Model], dict[str, set[str]]] = {
    Host: {"operator": {"warden1"}, "other operator": {"warden2"}},
    Jail: {
        "operator": ON_WARDEN1,
        "other operator": {"logdb", "shop"},
        "owner": {"www1", "www2"},
        "member": {"www1", "www2"},
        "viewer": {"www1", "www2"},
        "stranger": {"shop"},
    },
    Release: {
        "operator": {"14.2-RELEASE of warden1", "13.1-RELEASE of warden1"},
        "other operator": {"14.2-RELEASE of warden2"},
    },
    Template: {"operator": {"web of warden1"}},
    Network: {"operator": {"office", "branch"}, "other operator": {"office", "branch", "private"}},
    Address: {
        "operator": {"192.0.2.10", "192.0.2.11", "192.0.2.12"},
        "other operator": {"198.51.100.10"},
        "owner": {"192.0.2.11", "192.0.2.12"},
        "member": {"192.0.2.11", "192.0.2.12"},
        "viewer": {"192.0.2.11", "192.0.2.12"},
    },
    Operation: {
        "operator": {"on acme", "on warden1"},
        "other operator": {"on globex"},
        "owner": {"on acme"},
        "member": {"on acme"},
        "viewer": {"on acme"},
        "stranger": {"on globex"},
    },
    Tenant: {"owner": {"acme"}, "member": {"acme"}, "viewer": {"acme"}, "stranger": {"globex"}},
    Membership: {
        **{
            role: {"owner-person", "member-person", "viewer-person", "disabled-person"}
            for role in ("owner", "member", "viewer")
        },
        "stranger": {"stranger-person"},
    },
    Invitation: {"owner": {"into acme"}, "stranger": {"into globex"}},
    AuditEntry: {
        **{role: {"of acme", "jail.breakglass of acme"} for role in ("owner", "member", "viewer")},
        "stranger": {"of globex", "jail.breakglass of globex"},
    },
    BreakGlass: {
        "owner": {"into www1"},
        "member": {"into www1"},
        "viewer": {"into www1"},
        "stranger": {"into shop"},
    },
    Console: {"owner": {"console in www1"}, "stranger": {"console in shop"}},
    ConsoleTicket: {},
    Agreement: {
        "operator": {"agreement on www1"},
        "other operator": {"agreement on shop"},
        **{role: {"agreement on www1", "agreement on all jails"} for role in ("owner", "member", "viewer")},
        "stranger": {"agreement on shop"},
    },
    Approval: {
        **{role: {"approval of www1"} for role in ("operator", "owner", "member", "viewer")},
        **{role: {"approval of shop"} for role in ("other operator", "stranger")},
    },
    JailKey: {
        "operator": {"k of www1"},
        "other operator": {"k of shop"},
        **{role: {"k of www1"} for role in ("owner", "member", "viewer")},
        "stranger": {"k of shop"},
    },
    SshKey: {"member": {"k of member-person"}, "nobody": {"k of nobody-person"}},
    User: {},
    Pool: {},
    Worker: {},
    HostFactsRecord: {},
    AuditHead: {},
    AuditReview: {},
}
"""What others than administrators and auditors, who see all, may know of: by name. Who is not named sees none."""


def name_of(row: Any) -> str:
    if isinstance(row, Membership):
        return str(row.user)
    if isinstance(row, AuditEntry):
        return row.action if row.action.startswith("of ") else f"{row.action} of {row.tenant}"
    if isinstance(row, Approval):
        return f"approval of {row.subject}"
    if isinstance(row, JailKey):
        return f"{row.name} of {row.jail}"
    if isinstance(row, SshKey):
        return f"{row.name} of {row.user}"
    if isinstance(row, BreakGlass):
        return f"into {row.jail_name}"
    return f"{row} of {row.host}" if isinstance(row, (Release, Template)) else str(row)


@pytest.mark.parametrize("model", VISIBLE, ids=lambda model: model.__name__)
def test_exactly_these_rows_are_visible(model: type[Model], fleet: Fleet) -> None:
    from django.db import transaction

    Network.objects.create(name="private", cidr="10.0.0.0/24", host=fleet.ufs)
    for name, fields in {
        "on acme": {"tenant": fleet.acme},
        "on warden1": {},
        "on globex": {"tenant": fleet.other, "host": fleet.ufs},
    }.items():
        operation(fleet, "jail_start", **fields)
        Operation.objects.filter(title="jail_start").update(title=name)
    for tenant in (fleet.acme, fleet.other):
        Invitation.issue(label=f"into {tenant}", tenant=tenant, tenant_role="viewer")
        with transaction.atomic():
            audit.record(f"of {tenant}", tenant=tenant)
    Invitation.issue(label="into the panel", role="administrator")
    with transaction.atomic():
        audit.record("of nobody")
    AuditReview.objects.create(sequence=1, rule="refused", at=timezone.now())
    key = {"name": "k", "type": "ssh-ed25519", "body": "A", "fingerprint": "F"}
    for role in ("member", "nobody"):
        SshKey.objects.create(user=fleet.people[role], **key)
    for name in ("www1", "shop"):
        JailKey.objects.create(jail=fleet.jails[name], login="web", user=fleet.people["nobody"], **key)
    for name in ("www1", "shop"):
        breakglass.enter(fleet.jails[name], "A reason good enough.", HOUR, user=fleet.people["administrator"])
    admin = fleet.people["administrator"]
    for name, jail in (("www1", fleet.jails["www1"]), ("shop", fleet.jails["shop"]), ("", None)):
        tenant = jail.tenant if jail else fleet.acme
        assert tenant is not None
        Agreement.objects.create(tenant=tenant, jail=jail, state="in force", side="host", proposed_by=admin)
        if jail is not None:
            fields = {"subject": name, "work": "restarts", "side": "tenant", "asked_by": admin, "lasts": HOUR}
            Approval.objects.create(tenant=tenant, jail=jail, host=jail.host, expires_at=timezone.now(), **fields)
    for name in ("www1", "shop", "loghost"):
        jail = fleet.jails[name]
        fields = {"jail_name": name, "username": "viewer-person", "user": fleet.people["viewer"], "login": "root"}
        Console.objects.create(jail=jail, tenant=jail.tenant, **fields)
    everything = {name_of(row) for row in model._default_manager.all()}
    for role, person in fleet.people.items():
        seen = [name_of(row) for row in policy.visible(person, model)]
        expected = everything if role in STAFF else VISIBLE[model].get(role, set())
        assert set(seen) == expected, role
        assert len(seen) == len(set(seen)) or model is Host, role
        assert policy.visible(person, model).count() == len(seen)


def test_a_queryset_is_only_ever_narrowed(fleet: Fleet) -> None:
    running = Jail.objects.filter(state="running")
    assert set(policy.visible(fleet.people["viewer"], running)) == {fleet.jails["www1"]}
    assert not policy.visible(fleet.people["disabled"], running)


# Operations, as asked at confirmation and again by the worker


class Fake(kind.Kind):
    """Stands for any kind: which jails it is about and what it widens is said by its parameters."""

    def jails(self, host: Any, parameters: Any) -> list[Jail]:
        found = list(Jail.objects.filter(name__in=parameters.get("names", [])).select_related("host", "tenant"))
        if len(found) != len(parameters.get("names", [])):
            raise LookupError("no such jail")
        return found

    def widens(self, host: Any, parameters: Any) -> list[str]:
        return list(parameters.get("widened", []))


@pytest.fixture
def any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "get", lambda name: Fake())


RUNS = {
    # kind, names of its jails → who may run it on warden1
    ("host_setup",): "AP",
    ("host_fix",): "AP",
    ("orphans_remove",): "A",
    ("release_fetch",): "AP",
    ("release_remove",): "AP",
    ("jail_create",): "AP",
    ("jail_start", "loghost"): "AP",
    ("jail_start", "www1"): "APOM",
    ("jail_stop", "www1", "www2"): "APOM",
    ("jail_restart", "www1", "loghost"): "AP",
    ("service_change", "www1"): "APOM",
    ("service_change", "loghost"): "AP",
    ("jail_start", "www1", "shop"): "",
    ("jail_start", "logdb"): "",
    ("jail_start",): "AP",
    ("jail_change", "www1"): "AP",
    ("drift_repair", "www1"): "AP",
    ("drift_accept", "www1"): "AP",
    ("jail_adopt", "www1"): "A",
    ("jail_unadopt", "www1"): "A",
    ("jail_rename", "www1"): "AP",
    ("jail_destroy", "www1"): "APO",
    ("jail_give", "www1"): "A",
    ("snapshot_create", "www1"): "APO",
    ("snapshot_destroy", "loghost"): "AP",
    ("snapshot_hold", "www1"): "APO",
    ("snapshot_release", "loghost"): "AP",
    ("jail_rollback", "www1"): "APO",
    ("sandbox_create", "www1"): "APO",
    ("sandbox_create", "loghost"): "AP",
    ("sandbox_end", "www1"): "APO",
    ("tenant_limits",): "A",
    ("tenant_limits", "www1"): "A",
    ("file_restore", "www1"): "APO",
    ("template_create", "www1"): "AP",
    ("template_publish",): "A",
    ("template_remove",): "AP",
    ("keys_change", "www1"): "O",
    ("keys_change", "loghost"): "AP",
}
"""logdb and shop are on warden2: no operation on warden1 is about them."""


def test_the_table_knows_every_kind() -> None:
    assert {name for name, *_ in RUNS} == set(kind.KINDS) == set(policy.ACTIONS_OF_OPERATIONS)


def who_may(fleet: Fleet, *args: Any, **fields: Any) -> str:
    wanted = operation(fleet, *args, **fields)
    return "".join(
        letter for letter, role in PEOPLE.items() if not policy.why_not_operation(fleet.people[role], wanted)
    )


@pytest.mark.parametrize("wish", RUNS, ids="-".join)
def test_exactly_these_may_run_it(wish: tuple[str, ...], fleet: Fleet, any_kind: None) -> None:
    assert who_may(fleet, wish[0], {"names": list(wish[1:])}) == RUNS[wish]


def test_only_an_administrator_widens_a_jail(fleet: Fleet, any_kind: None) -> None:
    for kind_name, names in (("jail_change", ["www1"]), ("jail_create", [])):
        assert who_may(fleet, kind_name, {"names": names, "widened": ["allow.mount"]}) == "A"


def test_only_an_administrator_says_whose_something_is(fleet: Fleet, any_kind: None) -> None:
    acme, globex = fleet.acme.pk, fleet.other.pk
    assert who_may(fleet, "jail_create", {"tenant": None}) == "AP"
    assert who_may(fleet, "jail_create", {"tenant": acme}) == "A"
    assert who_may(fleet, "template_create", {"names": ["www1"], "tenant": None}) == "AP"
    assert who_may(fleet, "template_create", {"names": ["www1"], "tenant": acme}) == "AP"
    assert who_may(fleet, "template_create", {"names": ["www1"], "tenant": globex}) == "A"
    assert who_may(fleet, "template_create", {"names": ["loghost"], "tenant": globex}) == "A"


def test_what_is_gone_nobody_runs(fleet: Fleet, any_kind: None) -> None:
    assert who_may(fleet, "jail_start", {"names": ["destroyed"]}) == ""
    wanted = operation(fleet, "host_setup")
    wanted.host = None
    assert policy.why_not_operation(fleet.people["administrator"], wanted)


@pytest.mark.parametrize("name", ["", "sh", "jail_start ", "../kind", "step"])
def test_a_kind_that_is_not_there_nobody_runs(fleet: Fleet, name: str) -> None:
    assert who_may(fleet, name) == ""


def test_nobody_and_nothing_run_nothing(fleet: Fleet, any_kind: None) -> None:
    assert policy.why_not_operation(None, operation(fleet, "host_setup"))
    assert policy.why_not_operation(SimpleNamespace(is_authenticated=False), operation(fleet, "host_setup"))  # type: ignore[arg-type]


# Foreign ids, against the real kinds


def wishes(fleet: Fleet) -> dict[str, tuple[str, dict[str, Any]]]:
    """Wishes for warden1 that name something of warden2."""
    shop, template = str(fleet.jails["shop"].uuid), foreign_template(fleet)
    limits = {"quota": None, "children_max": 0, "securelevel": 2, "enforce_statfs": 2}
    jail = {
        "name": "new",
        "kind": "thick",
        "storage": "zfs",
        "hostname": "new.example.org",
        "boot": False,
        "start": False,
    }
    jail |= {"addresses": [], "tenant": None, "limits": limits, "release": None, "template": None}
    private = Network.objects.create(name="private", cidr="10.0.0.0/24", host=fleet.ufs)
    change = {"hostname": "a.example.org", "addresses": [], "boot": True, "limits": limits}
    return {
        "start a jail": ("jail_start", {"jails": [shop]}),
        "start a jail with one of its own": ("jail_start", {"jails": [str(fleet.jails["www1"].uuid), shop]}),
        "stop a jail": ("jail_stop", {"jails": [shop]}),
        "restart a jail": ("jail_restart", {"jails": [shop]}),
        "restart a service": ("service_change", {"jail": shop, "service": "sshd", "do": "restart"}),
        "change a jail": ("jail_change", {"jail": shop} | change),
        "rename a jail": ("jail_rename", {"jail": shop, "name": "mine"}),
        "destroy a jail": ("jail_destroy", {"jail": shop, "name": "shop"}),
        "give a jail": ("jail_give", {"jails": [shop], "tenant": None}),
        "make a template of a jail": ("template_create", {"jail": shop, "name": "t", "tenant": None}),
        "publish a template": ("template_publish", {"template": template}),
        "remove a template": ("template_remove", {"template": template}),
        "remove a release": ("release_remove", {"release": fleet.ufs_release.pk}),
        "create from a release": ("jail_create", jail | {"release": fleet.ufs_release.pk}),
        "create from a template": ("jail_create", jail | {"template": template}),
        "create with an address": (
            "jail_create",
            jail | {"release": fleet.release.pk, "addresses": [{"network": private.pk, "ip": "10.0.0.9"}]},
        ),
    }


WISHES = (
    "start a jail", "start a jail with one of its own", "stop a jail", "restart a jail", "restart a service",
    "change a jail", "rename a jail", "destroy a jail", "give a jail", "make a template of a jail",
    "publish a template", "remove a template", "remove a release", "create from a release", "create from a template",
    "create with an address",
)  # fmt: skip


def foreign_template(fleet: Fleet) -> int:
    fields = {"architecture": "amd64", "storage": "ufs", "path": "/var/db/cellblock/templates/db", "state": "ready"}
    template: Template = Template.objects.create(host=fleet.ufs, name="db", **fields)
    return template.pk


@pytest.mark.parametrize("role", ["administrator", "operator", "member"])
@pytest.mark.parametrize("name", WISHES)
def test_no_wish_for_a_host_reaches_what_is_on_another(name: str, role: str, fleet: Fleet) -> None:
    known = wishes(fleet)
    assert set(known) == set(WISHES)
    kind_name, wish = known[name]
    with pytest.raises((kind.Refused, PermissionDenied)) as refusal:
        lifecycle.draft(kind_name, wish, host=fleet.zfs, user=fleet.people[role])
    assert "facts" not in str(refusal.value) and "has not answered" not in str(refusal.value)
    assert not Operation.objects.exists()
    if refusal.type is PermissionDenied:
        assert AuditEntry.objects.filter(outcome="refused", actor=f"{role}-person").exists()
