"""What a refresh makes of drift: rows that remember since when, and one entry in the log for each change."""

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from jails import audit, drift
from jails.hosts.refresh import refresh
from jails.models import Address, AuditEntry, Drift, Host, Jail, Network, Operation, ResourceLock, Tenant

from .stub import SYSCTL, StubHost, archive
from .test_facts import jail as running
from .test_facts import jls

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    return Host.objects.create(name="warden1", kind="ssh", address="192.0.2.2")


@pytest.fixture
def stub(tmp_path):
    mounts = "/dev/ada0p2\t\t/\tufs\trw\t1 1\n"
    return StubHost(tmp_path / "bin", sysctl=SYSCTL.replace("vfs.zfs", "other"), mount=mounts)


class Place:
    """The host as a test has it: `files` by jail, `jails` that run, `rc`."""

    def __init__(self, host, stub):
        self.host, self.stub = host, stub
        self.files, self.jails, self.rc = {}, {}, ""

    def make(self, name, *, runs=False, **fields):
        """A jail as the panel made it."""
        row = Jail.objects.create(
            **{
                "host": self.host,
                "name": name,
                "kind": "thick",
                "managed": True,
                "state": "stopped",
                "hostname": f"{name}.example.org",
                "path": f"/jail/{name}",
                "config_path": f"/etc/jail.conf.d/{name}.conf",
                **fields,
            }
        )
        self.files[row.config_path] = drift.file_of(row, []).text()
        if runs:
            self.run(row)
        return row

    def run(self, row, **more):
        given = {"host.hostname": row.hostname, "persist": True, "devfs_ruleset": "4", "enforce_statfs": "2"} | more
        self.jails[row.name] = running(row.name, **given)

    def edit(self, row, old, new):
        text = self.files[row.config_path]
        assert old in text
        self.files[row.config_path] = text.replace(old, new)

    def look(self):
        self.stub.tool("jls", jls(*self.jails.values()))
        self.stub.tool("tar", archive({"/etc/rc.conf": self.rc, **self.files}))
        refresh(self.host, connection=lambda _: self.stub)

    def told(self):
        """What the log has been told since the last time."""
        entries = list(AuditEntry.objects.filter(action="jail.drift", sequence__gt=getattr(self, "last", 0)))
        self.last = max([entry.sequence for entry in entries], default=getattr(self, "last", 0))
        return entries[::-1]


@pytest.fixture
def place(host, stub):
    return Place(host, stub)


def drifts():
    return {row.parameter: (row.wanted, row.configured, row.running) for row in Drift.objects.all()}


def test_a_jail_as_it_was_made_has_none(place):
    place.make("www1", runs=True)
    place.make("db")
    place.look()
    assert drifts() == {} and place.told() == []


def test_an_edit_by_hand_is_seen_told_once_and_remembered(place):
    www1 = place.make("www1", runs=True)
    place.look()
    place.edit(www1, "www1.example.org", "x.example.org")
    place.look()
    row = Drift.objects.get()
    assert drifts() == {"host.hostname": (["www1.example.org"], ["x.example.org"], ["www1.example.org"])}
    (entry,) = place.told()
    assert (entry.actor, entry.actor_id, entry.source, entry.outcome) == ("the panel", None, "worker", "done")
    assert (entry.object_name, entry.host, entry.before) == ("www1", "warden1", {"host.hostname": None})
    assert entry.after["host.hostname"]["configured"] == ["x.example.org"]
    assert entry.detail == (
        "host.hostname: the panel wants www1.example.org, the file says x.example.org, it runs with www1.example.org."
    )
    for _ in range(2):
        place.look()
    row.refresh_from_db()
    again = Drift.objects.get()
    assert (again.pk, again.first_seen_at, again.changed_at) == (row.pk, row.first_seen_at, row.changed_at)
    assert place.told() == [] and audit.verify().ok


def test_another_difference_of_the_same_parameter_is_news_and_as_old(place):
    www1 = place.make("www1")
    place.edit(www1, "www1.example.org", "x.example.org")
    place.look()
    first = Drift.objects.get()
    place.told()
    place.edit(www1, "x.example.org", "y.example.org")
    place.look()
    row = Drift.objects.get()
    assert row.first_seen_at == first.first_seen_at and row.changed_at > first.changed_at
    (entry,) = place.told()
    assert entry.before["host.hostname"]["configured"] == ["x.example.org"]
    assert entry.after["host.hostname"]["configured"] == ["y.example.org"]


def test_starting_and_stopping_is_no_news(place):
    www1 = place.make("www1")
    place.edit(www1, "www1.example.org", "x.example.org")
    place.look()
    place.told()
    place.run(www1, **{"host.hostname": "x.example.org"})
    place.look()
    assert drifts()["host.hostname"][2] == ["x.example.org"]
    place.jails.clear()
    place.look()
    assert drifts()["host.hostname"][2] is None and place.told() == []


def test_what_is_put_right_by_hand_is_told_too(place):
    www1 = place.make("www1", runs=True)
    place.run(www1, **{"allow.raw_sockets": True})
    place.look()
    assert drifts() == {"allow.raw_sockets": (None, None, ["true"])}
    place.told()
    place.run(www1, **{"allow.raw_sockets": False})
    place.look()
    (entry,) = place.told()
    assert drifts() == {} and entry.after == {"allow.raw_sockets": None}
    assert entry.before == {"allow.raw_sockets": {"wanted": None, "configured": None, "running": ["true"]}}
    assert entry.detail == "allow.raw_sockets is as the panel wants it again."


def test_one_entry_a_jail(place):
    www1, www2 = place.make("www1"), place.make("www2")
    for row in (www1, www2):
        place.edit(row, "\tpersist;", "\tpersist;\n\tallow.raw_sockets;\n\tchildren.max = 3;")
    place.look()
    assert [(entry.object_name, sorted(entry.after)) for entry in place.told()] == [
        ("www1", ["allow.raw_sockets", "children.max"]),
        ("www2", ["allow.raw_sockets", "children.max"]),
    ]


def test_boot_and_the_file(place):
    place.make("www1", boot=True)
    place.look()
    assert drifts() == {"boot": (["true"], ["false"], None)}
    place.rc = 'jail_enable="YES"\njail_list="www1"\n'
    place.look()
    assert drifts() == {}
    place.files.clear()
    place.look()
    assert drifts() == {"file": (["/etc/jail.conf.d/www1.conf"], None, None)}
    assert place.told()[-1].detail == "file: /etc/jail.conf.d/www1.conf does not define it any more."


def test_what_may_hold_a_secret_stays_out_of_the_log(place):
    www1 = place.make("www1", tenant=Tenant.objects.create(slug="acme", name="Acme"))
    place.edit(www1, '"/bin/sh /etc/rc"', '"/bin/backup --password=hunter2"')
    place.edit(www1, "\tpersist;", "\tpersist;\n\tenv.token = hunter2;\n\tnobody.knows = hunter2;")
    place.look()
    assert "hunter2" in str(drifts())
    (entry,) = place.told()
    assert "hunter2" not in f"{entry.before}{entry.after}{entry.detail}"
    assert set(entry.after) == {"exec.start", "env.token", "nobody.knows"} and entry.tenant == "acme"


def test_a_tenants_log_holds_nothing_of_the_host(place):
    www1 = place.make("www1", tenant=Tenant.objects.create(slug="acme", name="Acme"))
    place.edit(www1, "\tpersist;", '\tip4.addr = "em7|192.0.2.66/32";\n\tpersist;')
    place.look()
    del place.files[www1.config_path]
    place.look()
    place.files[www1.config_path] = drift.file_of(www1, []).text()
    place.look()
    entries = place.told()
    told = "".join(f"{one.before}{one.after}{one.detail}" for one in entries)
    assert len(entries) == 3 and {one.tenant for one in entries} == {"acme"}
    assert "192.0.2.66" in told and "Its definition on the host is gone" in told
    assert "em7" not in told and "/etc" not in told and "/jail" not in told


def test_a_jail_that_an_operation_changes_is_left_alone(place, host):
    www1 = place.make("www1")
    place.edit(www1, "www1.example.org", "x.example.org")
    operation = Operation.objects.create(kind="jail_change", host=host, title="x")
    lock = ResourceLock.objects.create(resource=f"host:{host.pk}/jail:www1", operation=operation)
    place.look()
    assert drifts() == {}
    lock.delete()
    place.look()
    assert list(drifts()) == ["host.hostname"]


def test_what_could_not_be_read_changes_nothing(place, stub):
    www1 = place.make("www1")
    place.edit(www1, "www1.example.org", "x.example.org")
    place.look()
    before = drifts()
    stub.tool("jls", (1, "", "jls: no"))
    refresh(place.host, connection=lambda _: stub)
    assert drifts() == before and len(place.told()) == 1


def test_jails_that_are_not_the_panels_have_none(place):
    www1 = place.make("www1")
    place.edit(www1, "www1.example.org", "x.example.org")
    place.look()
    Jail.objects.update(managed=False)
    place.look()
    assert drifts() == {} and len(place.told()) == 1, "given back, not put right"


def test_an_adopted_jail_is_compared_with_what_was_accepted(place):
    text = (
        "old { path = /usr/jails/old; host.hostname = old.example.org; allow.raw_sockets; ip4.addr = 'em0|192.0.2.9'; }"
    )
    place.files["/etc/jail.conf"] = text
    row = Jail.objects.create(
        host=place.host,
        name="old",
        kind="found",
        adoption="in place",
        config_path="/etc/jail.conf",
        path="/usr/jails/old",
        hostname="old.example.org",
        state="stopped",
        wanted={
            "path": ["/usr/jails/old"],
            "host.hostname": ["old.example.org"],
            "allow.raw_sockets": [],
            "ip4.addr": ["em0|192.0.2.9/32"],
        },
    )
    place.look()
    assert drifts() == {}
    place.files["/etc/jail.conf"] = text.replace("allow.raw_sockets", "allow.noraw_sockets")
    place.run(row, path="/data/jails/old", persist=False, **{"ip4.addr": ["192.0.2.9"]})
    place.look()
    assert drifts() == {"allow.raw_sockets": (["true"], ["false"], None)}


def test_addresses_of_an_operation_do_not_count_yet(place):
    www1 = place.make("www1")
    network = Network.objects.create(name="lan", cidr="192.0.2.0/24")
    operation = Operation.objects.create(kind="jail_change", host=place.host, title="x")
    address = {"network": network, "jail": www1, "interface": "em0", "prefix": 32}
    Address.objects.create(ip="192.0.2.11", operation=operation, **address)
    place.look()
    assert drifts() == {}
    Address.objects.create(ip="192.0.2.12", **address)
    place.look()
    assert drifts() == {"ip4.addr": (["em0|192.0.2.12"], None, None)}


def test_hostile_values_are_stored_and_shown_as_they_are(place):
    www1 = place.make("www1")
    hostile = '\tpersist;\n\texec.prestart = "<script>alert(1)</script>\u202e$(reboot)";\n\tboot = 3;'
    place.edit(www1, "\tpersist;", hostile)
    place.edit(www1, "www1.example.org", "a" * 5000)
    place.look()
    found = drifts()
    assert len(found["host.hostname"][1][0]) <= 2000
    assert "boot" not in found and audit.verify().ok


def test_as_many_queries_for_a_thousand_jails_as_for_one(place):
    counts = []
    for count in (1, 1000):
        rows = [place.make(f"www{count}-{n}") for n in range(count)]
        for row in rows:
            place.edit(row, ".example.org", ".example.com")
        with CaptureQueriesContext(database) as first:
            place.look()
        with CaptureQueriesContext(database) as again:
            place.look()
        counts.append((len(again), len(first)))
    assert Drift.objects.count() == 1001 and len(place.told()) == 1001 and audit.verify().ok
    assert counts[0][0] == counts[1][0] <= 24
    # Beyond a few hundred rows a statement is sent in parts.
    assert counts[1][1] - counts[0][1] <= 30
