"""Keys of people in jails that run and in jails that do not, end to end on the simulated host."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from jails import keys, memberships, policy
from jails.freebsd.publickey import parse
from jails.models import AuditEntry, Host, Jail, JailKey, Membership, Operation, SshKey, Tenant, User
from jails.operations import keys_change, lifecycle
from jails.operations.kind import Refused
from tests.freebsd.test_logins import KEYS

CHANGE = "keys_change"


@pytest.fixture
def acme(db):
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def bea(acme):
    return join("bea", acme, "owner")


def join(name, tenant, role, rights=()):
    person = User.objects.create_user(name)
    Membership.objects.create(tenant=tenant, user=person, role=role, rights=list(rights))
    for key in KEYS[:2]:
        SshKey.objects.create(user=person, name=key.comment, type=key.type, body=key.body, fingerprint=key.fingerprint)
    return person


@pytest.fixture(params=["running", "stopped"])
def either(request, warden, acme):
    return warden.make("www1", "192.0.2.10", start=request.param == "running", tenant=acme)


@pytest.fixture
def jail(warden, acme):
    return warden.make("www1", "192.0.2.10", start=False, tenant=acme)


def wish(jail, person, wanted=KEYS[:2], login="web", sshd=True):
    return {
        "jail": str(jail.uuid),
        "login": login,
        "person": person.pk,
        "keys": [key.fingerprint for key in wanted],
        "sshd": sshd,
    }


def do(warden, actor, /, **parameters):
    warden.refresh()
    operation = lifecycle.draft(CHANGE, parameters, host=warden.row, user=actor)
    operation = lifecycle.confirm(operation, operation.digest, user=actor)
    warden.work(operation)
    return operation


def file_of(warden, jail, login="web"):
    path = f"/jail/{jail.name}/home/{login}/.ssh/authorized_keys"
    return warden.sh('if [ -f "$1" ]; then cat "$1"; fi', path).splitlines()


def lines(person, wanted):
    return [key.marked(person.pk) for key in wanted]


def test_a_login_with_keys_and_sshd(warden, either, bea):
    jail = either
    operation = do(warden, bea, **wish(jail, bea))
    assert operation.status == "done", operation.error
    assert operation.title == "Give bea access to www1 as web" and operation.tenant == jail.tenant
    assert sorted(file_of(warden, jail)) == sorted(lines(bea, KEYS[:2]))
    assert 'sshd_enable="YES"' in warden.read("/jail/www1/etc/rc.conf")
    rows = JailKey.objects.filter(jail=jail, login="web", user=bea)
    assert {row.fingerprint for row in rows} == {key.fingerprint for key in KEYS[:2]}
    assert set(warden.running()) == ({"www1"} if jail.state == "running" else set()), "the other one is gone again"
    # Fewer, then none: the login and what others have stay.
    do(warden, bea, **wish(jail, bea, KEYS[:1]))
    assert file_of(warden, jail) == lines(bea, KEYS[:1])
    operation = do(warden, bea, **wish(jail, bea, []))
    assert operation.title == "Take the keys of bea out of www1"
    assert file_of(warden, jail) == [] and not JailKey.objects.exists()
    assert "web" in warden.read("/jail/www1/etc/passwd")


def test_it_may_have_started_or_stopped_since_the_plan(warden, either, bea):
    jail = either
    warden.refresh()
    operation = lifecycle.draft(CHANGE, wish(jail, bea, sshd=False), host=warden.row, user=bea)
    operation = lifecycle.confirm(operation, operation.digest, user=bea)
    running = jail.state == Jail.State.RUNNING
    warden.sh(f"jail -q -f /etc/jail.conf.d/www1.conf {'-r' if running else '-c'} www1")
    assert warden.work(operation) == "done", operation.error
    assert len(file_of(warden, jail)) == 2


def test_keys_of_others_stay(warden, jail, acme, bea):
    carl = join("carl", acme, "manager")
    do(warden, bea, **wish(jail, bea))
    do(warden, carl, **wish(jail, carl, KEYS[1:2]))
    assert sorted(file_of(warden, jail)) == sorted([*lines(bea, KEYS[:2]), *lines(carl, KEYS[1:2])])
    SshKey.objects.create(user=carl, name="key2", type=KEYS[2].type, body=KEYS[2].body, fingerprint=KEYS[2].fingerprint)
    do(warden, carl, **wish(jail, carl, KEYS[2:]))
    do(warden, bea, **wish(jail, bea, []))
    assert file_of(warden, jail) == lines(carl, KEYS[2:])


def test_a_planted_link_keeps_a_key_in_and_that_is_said(warden, acme, bea):
    jail = warden.make("www1", tenant=acme)
    do(warden, bea, **wish(jail, bea, sshd=False))
    warden.sh("mv /jail/www1/home/web/.ssh /jail/www1/etc/keys; ln -s /etc/keys /jail/www1/home/web/.ssh")
    before = warden.read("/jail/www1/etc/keys/authorized_keys")
    operation = do(warden, bea, **wish(jail, bea, []))
    assert operation.status == "failed" and ".ssh is a link" in operation.steps.get(data__key="keys").output
    assert warden.read("/jail/www1/etc/keys/authorized_keys") == before
    assert JailKey.objects.filter(jail=jail).count() == 2


# Refusals


def test_keys_that_are_not_on_the_profile(warden, jail, bea):
    with pytest.raises(Refused, match="not a key on the profile of bea"):
        warden.refresh()
        lifecycle.draft(CHANGE, wish(jail, bea, KEYS), host=warden.row, user=bea)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("login", "root"),
        ("login", "-x"),
        ("login", "nobody"),
        ("keys", "SHA256:x"),
        ("keys", [1]),
        ("keys", [f"SHA256:{number}" for number in range(21)]),
        ("keys", [KEYS[0].line]),
        ("person", None),
        ("create", True),
    ],
)
def test_forged_parameters(warden, acme, bea, field, value):
    jail = warden.make("www1", tenant=acme, start=False)
    warden.refresh()
    with pytest.raises(Refused) as error:
        lifecycle.draft(CHANGE, wish(jail, bea) | {field: value}, host=warden.row, user=bea)
    assert list(error.value.errors) == [field]


def test_nothing_to_take_away(warden, jail, bea):
    warden.refresh()
    with pytest.raises(Refused, match="has no keys"):
        lifecycle.draft(CHANGE, wish(jail, bea, []), host=warden.row, user=bea)


def test_a_jail_that_was_only_found(warden, bea, acme):
    warden.sh("mkdir -p /srv/hand; jail -c name=hand path=/srv/hand persist")
    row = warden.find("hand")
    Jail.objects.filter(pk=row.pk).update(tenant=acme)
    with pytest.raises(Refused, match="adopt it first"):
        lifecycle.draft(CHANGE, wish(row, bea), host=warden.row, user=bea)


def denied(warden, actor, /, **parameters):
    with pytest.raises(PermissionDenied):
        lifecycle.draft(CHANGE, parameters, host=warden.row, user=actor)


def test_who_may_give_and_take(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    other = Tenant.objects.create(slug="globex", name="Globex")
    shell, power, viewer, stranger = (
        join("shell", acme, "member", ["console"]),
        join("power", acme, "member", ["power", "create", "destroy", "snapshots"]),
        join("viewer", acme, "viewer"),
        join("stranger", other, "owner"),
    )
    assert do(warden, shell, **wish(jail, shell)).status == "done"
    for person in (power, viewer, stranger, warden.user):
        denied(warden, person, **wish(jail, person))
        denied(warden, person, **wish(jail, shell))
    denied(warden, bea, **wish(jail, shell))  # an owner puts in nobody's keys but her own
    for person in (power, viewer, stranger):
        denied(warden, person, **wish(jail, shell, []))
    assert do(warden, bea, **wish(jail, shell, KEYS[:1])).status == "done", "a manager may take some out"
    denied(warden, bea, **wish(jail, shell, KEYS[:2]))
    assert do(warden, warden.user, **wish(jail, shell, [])).status == "done", "and so may who runs the host"


def test_staff_have_keys_in_jails_of_no_tenant_alone(warden):
    jail = warden.make("log", start=False)
    SshKey.objects.create(
        user=warden.user, name="k", type=KEYS[0].type, body=KEYS[0].body, fingerprint=KEYS[0].fingerprint
    )
    assert do(warden, warden.user, **wish(jail, warden.user, KEYS[:1])).status == "done"


# Keys that have to leave


def leave(warden, person, actor):
    with transaction.atomic():
        memberships.end(person.memberships.get(), actor=actor, source="192.0.2.7")
    return Operation.objects.filter(kind=CHANGE, status="queued").first()


def test_losing_membership_takes_the_keys_out(warden, jail, acme, bea):
    carl = join("carl", acme, "member", ["console"])
    do(warden, carl, **wish(jail, carl))
    operation = leave(warden, carl, bea)
    assert operation.confirmed_by == bea and operation.tenant == acme
    row = JailKey.objects.filter(user=carl).first()
    assert row.leaving_since is not None and row.removal == operation and not row.is_stuck
    assert AuditEntry.objects.filter(action="operation.confirm", actor="bea", source="192.0.2.7").exists()
    assert warden.work(operation) == "done", operation.error
    assert file_of(warden, jail) == [] and not JailKey.objects.exists()


def test_who_leaves_alone_takes_own_keys_along(warden, jail, acme, bea):
    carl = join("carl", acme, "member", ["console"])
    do(warden, carl, **wish(jail, carl))
    operation = leave(warden, carl, carl)
    assert not policy.allowed(User.objects.get(pk=carl.pk), "jail.view", jail)
    assert warden.work(operation) == "done", operation.error
    assert file_of(warden, jail) == []


def test_what_cannot_be_planned_waits_and_can_be_tried_again(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    carl = join("carl", acme, "member", ["console"])
    do(warden, carl, **wish(jail, carl))
    Jail.objects.filter(pk=jail.pk).update(state=Jail.State.PENDING)
    assert leave(warden, carl, bea) is None
    row = JailKey.objects.filter(user=carl).first()
    assert row.is_stuck and "being made" in row.why_not
    Jail.objects.filter(pk=jail.pk).update(state=Jail.State.STOPPED)
    with transaction.atomic():
        assert keys.leave(JailKey.objects.filter(user=carl), actor=bea) == 2
    operation = Operation.objects.get(status="queued")
    assert warden.work(operation) == "done" and not JailKey.objects.exists()


def test_less_than_a_console_takes_the_keys_out(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    carl = join("carl", acme, "member", ["console", "power"])
    do(warden, carl, **wish(jail, carl))
    Membership.objects.filter(user=carl).update(rights=["power"])
    with transaction.atomic():
        assert keys.settle(carl, actor=bea) == 2
        assert keys.settle(carl, actor=bea) == 0, "once"
    assert warden.work(Operation.objects.get(status="queued")) == "done"
    assert file_of(warden, jail) == []


def test_a_key_that_is_given_up_leaves_and_others_stay(warden, jail, bea):
    do(warden, bea, **wish(jail, bea))
    keys.give_up(SshKey.objects.get(user=bea, fingerprint=KEYS[0].fingerprint))
    operation = Operation.objects.get(status="queued")
    assert warden.work(operation) == "done", operation.error
    assert file_of(warden, jail) == lines(bea, KEYS[1:2])
    assert [row.fingerprint for row in JailKey.objects.all()] == [KEYS[1].fingerprint]
    assert list(SshKey.objects.filter(user=bea).values_list("fingerprint", flat=True)) == [KEYS[1].fingerprint]


def test_taking_a_key_out_starts_no_sshd(warden, jail, bea):
    do(warden, bea, **wish(jail, bea, sshd=False))
    operation = do(warden, bea, **wish(jail, bea, KEYS[:1]))
    assert [step["key"] for step in operation.plan["steps"]] == ["login", "keys"]
    operation = do(warden, bea, **wish(jail, bea, KEYS[:1]))
    assert [step["key"] for step in operation.plan["steps"]] == ["login", "sshd", "keys"]


def test_a_jail_that_is_given_away_keeps_nobodys_keys(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    other = Tenant.objects.create(slug="globex", name="Globex")
    do(warden, bea, **wish(jail, bea))
    assert warden.do("jail_give", jails=[str(jail.uuid)], tenant=other.pk).status == "done"
    operation = Operation.objects.get(status="queued", kind=CHANGE)
    assert operation.confirmed_by == warden.user
    assert warden.work(operation) == "done", operation.error
    assert not JailKey.objects.exists()


def test_who_gets_a_jail_learns_nothing_of_whose_keys_were_in_it(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    other = Tenant.objects.create(slug="globex", name="Globex")
    gus, both = join("gus", other, "owner"), join("both", acme, "owner")
    Membership.objects.create(tenant=other, user=both, role="owner")
    do(warden, bea, **wish(jail, bea, sshd=False))
    do(warden, both, **wish(jail, both, KEYS[:1], sshd=False))
    assert warden.do("jail_give", jails=[str(jail.uuid)], tenant=other.pk).status == "done"
    operation = Operation.objects.get(status="queued", kind=CHANGE)
    rows = JailKey.objects.filter(jail=jail)
    for _ in range(2):
        assert operation.tenant == acme
        assert not policy.visible(gus, Operation).filter(pk=operation.pk).exists()
        assert {row.user for row in keys.known_to(gus, rows)} == {both}, "who is of both teams stays in"
        assert {row.user for row in keys.known_to(warden.user, rows)} == {bea, both}
        # Once more, by who runs the host: it stays so.
        lifecycle.cancel(operation, user=warden.user)
        with transaction.atomic():
            keys.leave(rows.filter(user=bea), actor=warden.user)
        operation = Operation.objects.get(status="queued", kind=CHANGE)
    assert warden.work(operation) == "done", operation.error
    assert file_of(warden, jail) == lines(both, KEYS[:1])
    entries = AuditEntry.objects.filter(tenant="globex")
    assert entries.exists() and "bea" not in "".join(f"{row.detail}{row.after}{row.actor}" for row in entries)
    assert AuditEntry.objects.filter(tenant="acme", operation=str(operation.pk)).exists()


def test_no_tenant_reads_in_its_log_of_keys_of_anothers_people(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    other = Tenant.objects.create(slug="globex", name="Globex")
    gus = join("gus", other, "owner")
    do(warden, bea, **wish(jail, bea, sshd=False))
    assert warden.do("jail_give", jails=[str(jail.uuid)], tenant=other.pk).status == "done"
    out = Operation.objects.get(status="queued", kind=CHANGE)
    lifecycle.cancel(out, user=warden.user)
    do(warden, gus, **wish(jail, gus, KEYS[:1], sshd=False))
    with transaction.atomic():
        keys.leave(JailKey.objects.filter(jail=jail, user=bea), actor=warden.user)
    out = Operation.objects.get(status="queued", kind=CHANGE)
    assert warden.work(out) == "done", out.error
    said = AuditEntry.objects.get(operation=str(out.pk), source="worker")
    assert said.tenant == "acme"
    assert "bea" in f"{said.before}" and "gus" not in f"{said.before}{said.after}"


def test_who_destroys_a_jail_reads_of_none_that_were_on_their_way_out(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    other = Tenant.objects.create(slug="globex", name="Globex")
    gus = join("gus", other, "owner")
    do(warden, bea, **wish(jail, bea, sshd=False))
    assert warden.do("jail_give", jails=[str(jail.uuid)], tenant=other.pk).status == "done"
    lifecycle.cancel(Operation.objects.get(status="queued", kind=CHANGE), user=warden.user)
    do(warden, gus, **wish(jail, gus, KEYS[:1], sshd=False))
    assert warden.do("jail_destroy", jail=str(jail.uuid), name="www1").status == "done"
    entries = AuditEntry.objects.filter(tenant="globex")
    text = "".join(f"{row.detail}{row.before}{row.after}{row.actor}" for row in entries)
    assert "gus" in text and "bea" not in text


def test_what_could_not_be_taken_out_is_not_told_to_the_next_owner_either(warden, acme, bea, monkeypatch):
    jail = warden.make("www1", tenant=acme, start=False)
    other = Tenant.objects.create(slug="globex", name="Globex")
    gus = join("gus", other, "owner")
    do(warden, bea, **wish(jail, bea, sshd=False))
    with monkeypatch.context() as patch:
        patch.setattr(keys, "_take_out", lambda *words: "It does not run: start it first.")
        assert warden.do("jail_give", jails=[str(jail.uuid)], tenant=other.pk).status == "done"
    rows = JailKey.objects.filter(jail=jail)
    assert all(row.why_not for row in rows) and not keys.known_to(gus, rows).exists()
    assert keys.known_to(warden.user, rows).exists()
    with transaction.atomic():
        keys.leave(rows, actor=warden.user)
    assert not policy.visible(gus, Operation).filter(kind=CHANGE).exists()
    assert not keys.known_to(gus, rows).exists()


def test_the_key_that_is_kept_is_the_one_that_was_parsed():
    assert [parse(key.line) for key in KEYS] == KEYS


# A right that has ended


def test_a_key_that_is_to_leave_is_not_kept_by_taking_out_another(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    carl = join("carl", acme, "member", ["console"])
    do(warden, carl, **wish(jail, carl, sshd=False))
    Membership.objects.filter(user=carl).update(rights=[])
    with transaction.atomic():
        keys.settle(carl, actor=bea)
    removal, carl = Operation.objects.get(status="queued"), User.objects.get(pk=carl.pk)
    denied(warden, carl, **wish(jail, carl, KEYS[:1]))
    with pytest.raises(PermissionDenied, match="you cannot stop it"):
        lifecycle.cancel(removal, user=carl)
    own = lifecycle.draft(CHANGE, wish(jail, carl, []), host=warden.row, user=carl)
    assert own.status == "draft", "to take all out stays one's own to do"
    removal.refresh_from_db()
    assert removal.cancel_requested_at is None and warden.work(removal) == "done", removal.error
    assert file_of(warden, jail) == [] and not JailKey.objects.exists()


def test_a_plan_from_before_is_asked_about_with_the_right_of_now(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    carl = join("carl", acme, "member", ["console"])
    warden.refresh()
    operation = lifecycle.draft(CHANGE, wish(jail, carl, KEYS[:1]), host=warden.row, user=carl)
    do(warden, carl, **wish(jail, carl, sshd=False))
    Membership.objects.filter(user=carl).update(rights=[])
    with transaction.atomic():
        keys.settle(carl, actor=bea)
    with pytest.raises(PermissionDenied):
        lifecycle.confirm(operation, operation.digest, user=User.objects.get(pk=carl.pk))


@pytest.mark.parametrize("ends", ["membership", "right", "key"])
def test_what_ends_while_the_keys_go_in_takes_them_out_again(warden, acme, bea, ends, monkeypatch):
    jail = warden.make("www1", tenant=acme, start=False)
    carl = join("carl", acme, "member", ["console"])
    warden.refresh()
    operation = lifecycle.draft(CHANGE, wish(jail, carl, KEYS[:1], sshd=False), host=warden.row, user=carl)
    operation = lifecycle.confirm(operation, operation.digest, user=carl)
    real = keys_change.kind.finish

    def after_the_last_step(*arguments):
        # No row tells yet that a key is in.
        if ends == "key":
            keys.give_up(SshKey.objects.get(user=carl, fingerprint=KEYS[0].fingerprint))
        elif ends == "membership":
            memberships.end(carl.memberships.get(), actor=bea, source="")
        else:
            Membership.objects.filter(user=carl).update(rights=[])
            keys.settle(carl, actor=bea)
        monkeypatch.undo()
        return real(*arguments)

    monkeypatch.setattr(keys_change.kind, "finish", after_the_last_step)
    assert warden.work(operation) == "done", operation.error
    assert file_of(warden, jail) == lines(carl, KEYS[:1])
    removal = Operation.objects.get(kind=CHANGE, status="queued")
    assert warden.work(removal) == "done", removal.error
    assert file_of(warden, jail) == [] and not JailKey.objects.exists()


def test_keys_go_in_last_so_that_none_stays_where_something_failed(warden, acme, bea):
    jail = warden.make("www1", tenant=acme)
    warden.refresh()
    operation = lifecycle.draft(CHANGE, wish(jail, bea), host=warden.row, user=bea)
    assert [step["key"] for step in operation.plan["steps"]] == ["login", "sshd", "keys"]
    operation = lifecycle.confirm(operation, operation.digest, user=bea)
    warden.sh("rm -rf /jail/www1/etc/rc.conf; mkdir /jail/www1/etc/rc.conf")
    warden.work(operation)
    assert operation.status == "failed" and operation.steps.get(data__key="sshd").error
    assert file_of(warden, jail) == [] and not JailKey.objects.exists()


def test_who_runs_the_host_ends_what_has_anothers_keys_in_it(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    other = User.objects.create_user("other", role=User.Role.OPERATOR)
    other.operated_hosts.add(Host.objects.create(name="elsewhere"))
    warden.refresh()
    operation = lifecycle.draft(CHANGE, wish(jail, bea), host=warden.row, user=bea)
    operation = lifecycle.confirm(operation, operation.digest, user=bea)
    manager = join("mona", acme, "member", ["power"])
    for person in (other, manager):
        with pytest.raises(PermissionDenied):
            lifecycle.cancel(operation, user=person)
    denied(warden, warden.user, **wish(jail, bea))
    assert lifecycle.cancel(operation, user=warden.user).status == "cancelled"
    assert policy.why_not_resume(warden.user, operation) == ""
    assert policy.why_not_resume(other, operation) and policy.why_not_resume(manager, operation)


# A jail that is put back


def put_back(warden, jail, actor):
    warden.refresh()
    operation = lifecycle.draft(
        "jail_rollback", {"jail": str(jail.uuid), "snapshot": "monday"}, host=warden.row, user=actor
    )
    operation = lifecycle.confirm(operation, operation.digest, user=actor)
    warden.work(operation)
    return operation


def test_a_snapshot_brings_no_key_back_and_takes_none_away(warden, either, acme, bea):
    jail = either
    carl, dora = (join(name, acme, "member", ["console", "snapshots"]) for name in ("carl", "dora"))
    do(warden, carl, **wish(jail, carl, sshd=False))
    do(warden, bea, **wish(jail, bea, KEYS[:1], sshd=False))
    warden.sh('printf "%s\\n" "$1" >>/jail/www1/home/web/.ssh/authorized_keys', "ssh-ed25519 AAAAown mine")
    assert warden.do("snapshot_create", jail=str(jail.uuid), name="monday").status == "done"
    do(warden, carl, **wish(jail, carl, []))
    do(warden, dora, **wish(jail, dora, KEYS[1:2], login="dora", sshd=False))
    operation = put_back(warden, jail, carl)
    assert operation.status == "done", operation.error
    assert sorted(file_of(warden, jail)) == sorted([*lines(bea, KEYS[:1]), "ssh-ed25519 AAAAown mine"])
    assert file_of(warden, jail, "dora") == lines(dora, KEYS[1:2]), "what the panel says is in is in"
    names = [step["key"] for step in operation.plan["steps"]]
    after = names[names.index("rollback") + 1 :]
    assert f"keys-web-{carl.pk}" in after and after[-1] == ("start-www1" if jail.state == "running" else after[-1])
    assert set(warden.running()) == ({"www1"} if jail.state == "running" else set())


def test_who_had_a_key_in_anothers_jail_is_not_named(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    other = Tenant.objects.create(slug="globex", name="Globex")
    gus = join("gus", other, "owner")
    do(warden, bea, **wish(jail, bea, sshd=False))
    assert warden.do("snapshot_create", jail=str(jail.uuid), name="monday").status == "done"
    assert warden.do("jail_give", jails=[str(jail.uuid)], tenant=other.pk).status == "done"
    assert warden.work(Operation.objects.get(status="queued", kind=CHANGE)) == "done"
    operation = put_back(warden, jail, gus)
    assert operation.status == "done", operation.error
    assert file_of(warden, jail) == [] and "bea" not in str(operation.plan)


def test_keys_from_long_before_a_snapshot_are_left_alone(warden, acme, bea):
    jail = warden.make("www1", tenant=acme, start=False)
    do(warden, bea, **wish(jail, bea, sshd=False))
    now = timezone.now().timestamp()
    assert [person for _, person in keys_change.put_since(jail, int(now))] == [bea]
    assert keys_change.put_since(jail, int(now) + 2 * keys_change.SKEW) == []
    JailKey.objects.update(leaving_since=timezone.now())
    assert keys_change.put_since(jail, int(now) + 2 * keys_change.SKEW) == [("web", bea)]


@pytest.mark.parametrize("path", ["/usr/home/web", "/usr/home/web/.ssh", "/usr/home/web/.ssh/authorized_keys"])
def test_a_home_that_is_put_back_brings_no_key_back(warden, acme, bea, path):
    jail = warden.make("www1", tenant=acme, start=path.endswith(".ssh"))
    carl = join("carl", acme, "member", ["console", "snapshots"])
    do(warden, carl, **wish(jail, carl, sshd=False))
    do(warden, bea, **wish(jail, bea, KEYS[:1], sshd=False))
    assert warden.do("snapshot_create", jail=str(jail.uuid), name="monday").status == "done"
    do(warden, carl, **wish(jail, carl, []))
    Membership.objects.filter(user=carl).update(rights=["snapshots"])
    warden.refresh()
    parameters = {"jail": str(jail.uuid), "snapshot": "monday", "path": path, "how": "replace"}
    carl = User.objects.get(pk=carl.pk)
    operation = lifecycle.draft("file_restore", parameters, host=warden.row, user=carl)
    operation = lifecycle.confirm(operation, operation.digest, user=carl)
    assert warden.work(operation) == "done", operation.error
    assert file_of(warden, jail) == lines(bea, KEYS[:1])
