"""With the database lost, the panel's rows come back from the hosts; with an old one, what differs is shown."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from jails import audit, rebuild, tasks
from jails.models import (
    Address,
    AuditEntry,
    Drift,
    Host,
    Jail,
    Network,
    Operation,
    Release,
    Template,
    Tenant,
)
from jails.operations import lifecycle
from tests.operations.world import RELEASE

GIVE = "jail_give"


def adopt(*words: str) -> str:
    out, err = StringIO(), StringIO()
    try:
        call_command("adopt", *words, stdout=out, stderr=err)
    except CommandError as error:
        raise CommandError(f"{error} {err.getvalue()}") from error
    return out.getvalue()


def told() -> dict[str, object]:
    """All that the panel knows of what is on hosts, in names that outlive a database."""
    return {
        "jails": {jail.name: told_of(jail) for jail in Jail.objects.filter(managed=True)},
        "releases": {
            row.name: (row.architecture, row.storage, row.dataset, row.snapshot, row.path, row.state, bool(row.source))
            for row in Release.objects.all()
        },
        "templates": {
            row.name: (
                row.architecture, row.storage, row.dataset, row.snapshot, row.path, row.touched, row.source_jail,
                row.published_at is not None, row.tenant and row.tenant.slug, row.release and row.release.name,
            )
            for row in Template.objects.all()
        },
        "tenants": sorted(Tenant.objects.values_list("slug", flat=True)),
    }  # fmt: skip


def told_of(jail: Jail) -> dict[str, object]:
    names = (
        "uuid",
        "kind",
        "storage",
        "hostname",
        "boot",
        "path",
        "dataset",
        "origin",
        "config_path",
        "state",
        "touched",
    )
    names += ("limits", "manager", "wanted")
    return {name: getattr(jail, name) for name in names} | {
        "tenant": jail.tenant and jail.tenant.slug,
        "release": jail.release and jail.release.name,
        "template": jail.template and jail.template.name,
        "addresses": list(jail.addresses.order_by("pk").values_list("ip", "interface", "prefix")),
    }


def lose(world) -> None:
    """The panel's rows are gone; its administrator adds the host again, and its worker has looked at it once."""
    for model in (Operation, Address, Jail, Template, Release, Network, Tenant):
        model.objects.all().delete()
    fields = {name: getattr(world.row, name) for name in ("name", "kind", "directory")}
    Host.objects.all().delete()
    world.row = Host.objects.create(**fields)
    world.refresh()
    world.simulation.forget_log()


@pytest.fixture
def acme(db):
    return Tenant.objects.create(slug="acme", name="Acme")


def furnish(world, acme) -> None:
    """A bit of everything."""
    gold = world.made(name="gold", addresses=world.at("192.0.2.30"))
    world.done("template_create", jail=str(gold.uuid), name="web", tenant=None)
    world.done("template_create", jail=str(gold.uuid), name="own", tenant=acme.pk)
    world.done("template_publish", template=Template.objects.get(name="web").pk)
    thin = {"kind": "thin"} if world.zfs else {"kind": "thick"}
    limits = {"quota": 1 << 30 if world.zfs else None, "children_max": 3, "securelevel": 2, "enforce_statfs": 1}
    world.made(
        name="www1", tenant=acme.pk, boot=True, start=True, addresses=world.at("192.0.2.10"), limits=limits, **thin
    )
    template = Template.objects.get(name="web").pk
    storage = "zfs" if world.zfs else "ufs"
    world.done("jail_create", name="www2", template=template, storage=storage, hostname="www2.example.org", **thin)
    world.done(GIVE, jails=[str(Jail.objects.get(name="www2").uuid)], tenant=acme.pk)
    world.refresh()


@pytest.mark.slow
def test_all_of_it_comes_back_from_zfs(stocked, acme):
    furnish(stocked, acme)
    before, picture = told(), stocked.picture()
    assert len(before["jails"]) == 3
    lose(stocked)
    assert not Jail.objects.filter(managed=True).exists() and Jail.objects.count() == 3

    words = adopt("--from-host", "warden1")
    assert "would make tenant acme" in words and "would make jail www1 of acme: thin" in words
    assert "would make network net-192-0-2-0-24: 192.0.2.0/24" in words and "LEFT OUT" not in words
    assert not Jail.objects.filter(managed=True).exists() and not Tenant.objects.exists()

    adopt("--all", "--write")
    assert told() == before
    assert Network.objects.get().host is None
    actions = set(AuditEntry.objects.filter(source="command line").values_list("action", flat=True))
    assert actions == {f"{thing}.rebuild" for thing in ("tenant", "network", "release", "template", "jail")}
    assert audit.verify().ok

    # The host was not touched; a refresh finds it all as it should be, and a second time makes nothing.
    assert stocked.commands() == [] and stocked.picture() == picture
    stocked.refresh()
    assert told() == before and not Drift.objects.exists()
    words = adopt("--from-host", "warden1", "--write")
    assert "nothing to rebuild" in words and "there already: release 14.2-RELEASE-amd64, template own" in words

    # It works on.
    stocked.done("jail_stop", jails=[str(Jail.objects.get(name="www1").uuid)])
    gold = Jail.objects.get(name="gold")
    stocked.done("jail_destroy", jail=str(gold.uuid), name="gold")


@pytest.mark.slow
def test_all_of_it_comes_back_from_ufs(ufs_stocked, acme):
    """What nothing on the host says: a template's owner and release; then it is nobody's, and staff alone use it."""
    furnish(ufs_stocked, acme)
    before, picture = told(), ufs_stocked.picture()
    lose(ufs_stocked)
    adopt("--from-host", "warden2", "--write")
    after = told()
    for name, jail in after["jails"].items():
        assert jail == before["jails"][name] | {"touched": True, "release": jail["release"]}, name
    assert after["jails"]["www1"]["release"] == RELEASE and after["jails"]["www1"]["tenant"] == "acme"
    assert after["jails"]["www2"]["template"] == "web" and after["jails"]["www2"]["tenant"] == "acme"
    assert {name: row[:6] for name, row in after["templates"].items()} == {
        name: (*row[:5], True) for name, row in before["templates"].items()
    }
    assert all(row[7:] == (False, None, None) for row in after["templates"].values())
    assert after["tenants"] == ["acme"] and ufs_stocked.picture() == picture
    ufs_stocked.refresh()
    assert told() == after and not Drift.objects.exists()


# What is not guessed


@pytest.fixture
def www1(stocked):
    return stocked.made(addresses=stocked.at("192.0.2.10"))


DATASET, CONF = "zroot/cellblock/host/www1", "/etc/jail.conf.d/www1.conf"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by_hand", "why"),
    [
        (f"rm {CONF}", f"dataset {DATASET}: it is a jail's, and no file in /etc/jail.conf.d is that jail's"),
        (f"zfs set cellblock:jail=00000000-0000-4000-8000-000000000000 {DATASET}", "does not say that it is this jail"),
        (f"zfs rename -u {DATASET} zroot/cellblock/host/www2", "its dataset is zroot/cellblock/host/www2, its file"),
        (
            f"zfs create -p zroot/cellblock/Acme && zfs rename -u {DATASET} zroot/cellblock/Acme/www1",
            "'Acme' is no tenant's short name",
        ),
        (f"sed -i '' 's,/jail/www1,/jail/other,' {CONF}", "belongs at /jail/www1, its file says /jail/other"),
        (f"cp {CONF} /etc/jail.conf.d/copy.conf", "its comment says that it is www1's"),
        (f"sed 's/www1/www9/' {CONF} >/etc/jail.conf.d/www9.conf", "has the uuid of another file"),
        (f"sed -i '' 's/192.0.2.10/10.9.9.9/' {CONF}", "no network holds its address 10.9.9.9"),
        (f"sed -i '' 's/enforce_statfs = 2/enforce_statfs = two/' {CONF}", "its file says enforce_statfs is 'two'"),
        (f"echo '}}' >>{CONF}", f"jail(8) cannot read {CONF}"),
        (
            f"zfs create -o cellblock:jail=$(zfs get -H -o value cellblock:jail {DATASET}) zroot/cellblock/host/two",
            "both say that they are its tree",
        ),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_named_and_left_out(stocked, www1, by_hand, why):
    stocked.sh(by_hand)
    lose(stocked)
    words = adopt("--from-host", "warden1", "--write")
    assert "LEFT OUT" in words and why in words, words
    kept = "its comment says" in why
    assert Jail.objects.filter(managed=True).exists() is kept
    assert Network.objects.exists() is kept


def test_a_jail_of_another_host_is_not_taken(stocked, www1):
    uuid = www1.uuid
    lose(stocked)
    other = Host.objects.create(name="other", kind="simulated")
    Jail.objects.create(host=other, name="x", uuid=uuid, kind="thin", path="/x", managed=True)
    assert "its uuid is that of x on other" in adopt("--from-host", "warden1", "--write")


def test_an_address_of_another_jail_is_not_taken(stocked, www1):
    lose(stocked)
    other = Host.objects.create(name="other", kind="simulated")
    jail = Jail.objects.create(host=other, name="x", kind="thin", path="/x", managed=True)
    lan = Network.objects.create(name="lan", cidr="192.0.2.0/24")
    Address.objects.create(jail=jail, network=lan, ip="192.0.2.10")
    assert "its address 192.0.2.10 is that of x on other" in adopt("--from-host", "warden1", "--write")


def test_an_unfinished_release_is_left_out(stocked, www1):
    stocked.sh("zfs create -o cellblock:release=13.1-RELEASE-amd64 zroot/cellblock/releases/13.1-RELEASE-amd64")
    lose(stocked)
    assert "it was never finished: it has no snapshot @cellblock" in adopt("--from-host", "warden1", "--write")
    assert Release.objects.get().name == RELEASE


def test_a_jail_of_an_archived_tenant_is_left_out(stocked, acme):
    from django.utils import timezone

    stocked.made(tenant=acme.pk)
    lose(stocked)
    Tenant.objects.create(slug="acme", name="Acme", archived_at=timezone.now())
    assert "its tenant acme is archived" in adopt("--from-host", "warden1", "--write")


def test_what_the_panel_has_stays(stocked, www1, acme):
    Jail.objects.update(hostname="changed.example.org", tenant=acme)
    adopt("--from-host", "warden1", "--write")
    www1.refresh_from_db()
    assert (www1.hostname, www1.tenant) == ("changed.example.org", acme)


def test_a_host_that_is_not_known_or_never_answered_is_said(stocked):
    with pytest.raises(CommandError, match="has no host nothing: add it first"):
        adopt("--from-host", "nothing")
    stocked.refresh()
    Host.objects.create(name="new", kind="ssh", address="new.example.org")
    with pytest.raises(CommandError, match=r"Not done: new\. new has not answered yet"):
        adopt("--all")


def test_it_waits_for_operations(stocked, www1):
    operation = stocked.draft("jail_start", jails=[str(www1.uuid)])
    lifecycle.confirm(operation, operation.digest, user=stocked.user)
    with pytest.raises(CommandError, match="an operation is under way on it"):
        adopt("--from-host", "warden1")


def test_all_or_nothing(stocked, www1, monkeypatch):
    lose(stocked)
    found = rebuild.look(stocked.row)
    Tenant.objects.create(slug="x", name="x")
    monkeypatch.setattr(audit, "record", lambda *arguments, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rebuild.write(found)
    assert not Jail.objects.filter(managed=True).exists() and not Network.objects.exists()


# With an old database


def test_an_old_backup_shows_what_differs_and_nothing_acts(stocked, www1, tmp_path: Path, messages, settings):
    """After the backup the jail got another hostname and boots, and a second one was made."""
    settings.WORKER_DIR, settings.WORKER_KEY_FILE = tmp_path / "worker", tmp_path / "worker/seal.key"
    call_command("backup", str(tmp_path / "b"), "--without-keys", stdout=StringIO())
    wish = {"jail": str(www1.uuid), "hostname": "new.example.org", "addresses": stocked.at("192.0.2.10"), "boot": True}
    limits = {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}
    stocked.done("jail_change", **wish, limits=limits)
    later = stocked.made(name="later")
    picture = stocked.picture()
    call_command("restore", str(tmp_path / "b"), "--replace", "--without-keys", stdout=StringIO())
    messages.clear()
    stocked.simulation.forget_log()
    stocked.row = Host.objects.get()
    stocked.refresh()

    drift = {row.parameter: (row.wanted, row.configured) for row in Drift.objects.filter(jail__name="www1")}
    assert drift["host.hostname"] == (["www1"], ["new.example.org"]) and "boot" in drift
    found = Jail.objects.get(name="later")
    assert not found.managed
    assert tasks.sweep() == 0 and messages == []
    assert stocked.commands() == [] and stocked.picture() == picture
    assert not Operation.objects.filter(status__in=Operation.OPEN).exists()

    # What the old database does not know comes from the host.
    words = adopt("--from-host", "warden1", "--write")
    assert "made jail later" in words and "there already" in words
    assert Jail.objects.get(name="later").uuid == later.uuid
    assert stocked.picture() == picture
