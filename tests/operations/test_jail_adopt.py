"""Adopting jails that somebody described in jail.conf(5), where they are, on a simulated host."""

import re
import shutil
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied

from jails import policy
from jails.hosts.refresh import refresh
from jails.hosts.simulated_connection import SimulatedConnection
from jails.models import Address, AuditEntry, Drift, Host, Jail, Membership, Operation, Tenant, User
from jails.operations import adoption, kind, lifecycle, power
from jails.operations.kind import Refused
from tests.hosts.simulation import Simulation
from tests.operations.adopting import fingerprint

HOME = """\
# The globals of this host. Do not touch without asking Eva.
exec.clean;
exec.start = "/bin/sh /etc/rc";
exec.stop  = "/bin/sh /etc/rc.shutdown";
mount.devfs;
path = "/usr/jails/$name";
host.hostname = "$name.example.org";	// by name

www1 { ip4.addr = "em0|192.0.2.31/32"; }   /* the shop */
www2 {
    $last = 32;
    ip4.addr = "em0|192.0.2.$last";
    securelevel = 2;
}
db { ip4.addr = 192.0.2.33; interface = em0; depend = www1; }
"""


@pytest.fixture
def home(warden):
    """A host as somebody has kept it for years; `rows(…)` are its jails."""
    warden.sh("mkdir -p /usr/jails; for j in www1 www2 db; do cp -Rp /var/db/cellblock/base /usr/jails/$j; done")
    warden.write("/etc/jail.conf", HOME)
    warden.sh("sysrc -q jail_enable=YES")
    return warden


def rows(warden, *names):
    warden.refresh()
    return [Jail.objects.get(host=warden.row, name=name) for name in names]


def uuids(*found):
    return [str(row.uuid) for row in found]


def adopt(warden, *names, how="in place", **more):
    operation = warden.do("jail_adopt", jails=uuids(*rows(warden, *names)), how=how, **more)
    assert operation.status == "done", operation.error
    return rows(warden, *names)


def give_back(warden, row):
    operation = warden.do("jail_unadopt", jail=str(row.uuid))
    assert operation.status == "done", operation.error
    return operation


def why(warden, kind_name, **parameters):
    with pytest.raises(Refused) as refusal:
        warden.draft(kind_name, **parameters)
    return str(refusal.value)


def test_all_of_a_host_are_adopted_where_they_are(home):
    home.sh("jail -q -f /etc/jail.conf -c www1")
    before, commands = fingerprint(home.simulation.directory), len(home.simulation.log())
    operation = home.do("jail_adopt", jails=uuids(*rows(home, "www1", "www2", "db")), how="in place")
    assert operation.status == "done" and operation.title == "Adopt www1, www2 and db"
    assert [step.data["subject"] for step in operation.steps.order_by("index")] == ["www1", "www2", "db"]
    assert not any(step.data["changes"] for step in operation.steps.all())
    assert commands and fingerprint(home.simulation.directory) == before
    www1, www2, db = rows(home, "www1", "www2", "db")
    assert (www2.adoption, www2.managed, www2.is_kept, www2.touched) == ("in place", False, True, True)
    assert www2.wanted["ip4.addr"] == ["em0|192.0.2.32"] and www2.wanted["exec.clean"] == []
    assert (www2.hostname, www2.path, www2.boot) == ("www2.example.org", "/usr/jails/www2", True)
    assert www2.limits == {"quota": None, "children_max": 0, "securelevel": 2, "enforce_statfs": 2}
    assert www2.config_path == "/etc/jail.conf" and www2.state == "stopped" and www1.state == "running"
    given = Address.objects.order_by("ip").values_list("jail__name", "ip", "interface", "prefix")
    assert list(given) == [
        ("www1", "192.0.2.31", "em0", 32), ("www2", "192.0.2.32", "em0", 32), ("db", "192.0.2.33", "em0", 32),
    ]  # fmt: skip
    assert not Drift.objects.exists()
    for row in (www1, www2, db):
        operation = give_back(home, row)
        assert not operation.steps.exists()
    assert fingerprint(home.simulation.directory) == before
    (www2,) = rows(home, "www2")
    assert (www2.adoption, www2.wanted, www2.way_back, www2.limits) == ("", {}, {}, {})
    assert not Address.objects.exists()


def test_a_plan_is_stale_when_the_file_was_changed_since(home):
    operation = home.confirm("jail_adopt", jails=uuids(*rows(home, "www1")), how="in place")
    home.write("/etc/jail.conf", HOME.replace("192.0.2.31", "192.0.2.41"))
    assert home.work(operation) == "stale"
    lifecycle.accept_new_plan(operation, operation.digest, user=home.user)
    assert home.work(operation) == "done"
    (row,) = rows(home, "www1")
    assert row.wanted["ip4.addr"] == ["em0|192.0.2.41/32"]


class Meddling:
    """Somebody changes the file when the worker is about to look at it."""

    def __init__(self, warden, text):
        self.warden, self.text, self.changed = warden, text, False

    def run(self, pipeline, **options):
        if not self.changed and "sha256 -q" in " ".join(pipeline.argvs[0]):
            self.warden.write("/etc/jail.conf", self.text)
            self.changed = True
        return self.warden.connection.run(pipeline, **options)


def test_a_file_that_changes_at_the_last_moment_is_not_adopted(home):
    # One step looks by itself; several are asked for at once.
    for names in (("www1",), ("www1", "www2")):
        operation = home.confirm("jail_adopt", jails=uuids(*rows(home, *names)), how="in place")
        meddling = Meddling(home, HOME.replace("192.0.2.31", f"192.0.2.4{len(names)}"))
        assert home.work(operation, connect=lambda host, it=meddling: it) == "failed"
        assert meddling.changed and "/etc/jail.conf is what it was" in operation.error
        assert not Jail.objects.exclude(adoption="").exists() and not Address.objects.exists()
        home.write("/etc/jail.conf", HOME)


def test_two_at_once(home):
    (row,) = rows(home, "www1")
    first, second = (home.confirm("jail_adopt", jails=uuids(row), how="in place") for _ in range(2))
    assert home.work(first) == "done"
    assert home.work(second) == "refused" and "adopted already" in second.error


def test_what_cannot_be_adopted(home):
    home.write("/etc/jail.broken.conf", "broken { path = /usr/jails/www1; ip4.addr = ; }\n")
    home.write("/etc/jail.bare.conf", "bare { persist; }\n")
    home.write("/etc/jail.loop.conf", 'loop { $a = "$b"; path = "/x/$a"; }\n')
    home.sh("jail -q -c name=loose path=/usr/jails/db persist")
    made = home.make("made", start=False)
    (loose, bare, loop) = rows(home, "loose", "bare", "loop")
    assert "no file describes it" in why(home, "jail_adopt", jails=uuids(loose), how="in place")
    assert "no path" in why(home, "jail_adopt", jails=uuids(bare), how="in place")
    assert "jail(8) refuses" in why(home, "jail_adopt", jails=uuids(loop), how="in place")
    assert "made by Cellblock" in why(home, "jail_adopt", jails=uuids(made), how="in place")
    assert not Jail.objects.filter(name="broken").exists()
    (www1,) = rows(home, "www1")
    assert "no other tool made it" in why(home, "jail_adopt", jails=uuids(www1), how="beside")
    assert "no other tool made it" in why(home, "jail_adopt", jails=uuids(www1), how="taken over")
    assert "how" in why(home, "jail_adopt", jails=uuids(www1), how="somehow")
    assert "was not adopted" in why(home, "jail_unadopt", jail=str(www1.uuid))
    assert "nobody to give it back to" in why(home, "jail_unadopt", jail=str(made.uuid))


def test_only_administrators_adopt(home):
    (row,) = rows(home, "www1")
    olga = User.objects.create_user("olga", role="operator")
    olga.operated_hosts.add(home.row)
    with pytest.raises(PermissionDenied):
        lifecycle.draft("jail_adopt", {"jails": uuids(row), "how": "in place"}, host=home.row, user=olga)


def test_addresses_that_others_have_are_said_and_left_to_them(home):
    home.write("/etc/jail.twin.conf", 'twin { path = /usr/jails/www1; ip4.addr = "em0|192.0.2.31"; }\n')
    adopt(home, "twin")
    (row,) = rows(home, "www1")
    operation = home.do("jail_adopt", jails=uuids(row), how="in place")
    assert operation.plan["warnings"] == ["192.0.2.31 of www1 is an address of twin as well: only one of them can run."]
    assert operation.status == "done" and [one.jail.name for one in Address.objects.all()] == ["twin"]


# What may be done with it then


def test_an_adopted_jail_is_started_and_stopped(home):
    before = fingerprint(home.simulation.directory)
    (row,) = adopt(home, "www2")
    assert home.do("jail_start", jails=uuids(row)).status == "done"
    assert home.running() == {"www2": "/usr/jails/www2"} and home.addresses() == ["192.0.2.32"]
    assert home.do("jail_restart", jails=uuids(row)).status == "done"
    assert home.do("jail_stop", jails=uuids(row)).status == "done"
    assert home.running() == {} and home.addresses() == []
    give_back(home, row)
    assert fingerprint(home.simulation.directory)["root/etc/jail.conf"] == before["root/etc/jail.conf"]


def wish(row, **changes):
    limits = row.limits | changes.pop("limits", {})
    addresses = [{"network": one.network_id, "ip": one.ip} for one in row.addresses.all()]
    given = {"hostname": row.hostname, "addresses": addresses, "boot": row.boot, "limits": limits}
    return {"jail": str(row.uuid), **given, **changes}


def changed_lines(before, after):
    """Lines of one text that are not in the other."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_a_change_edits_the_file_where_it_is(home):
    before = fingerprint(home.simulation.directory)
    www1, www2 = adopt(home, "www1", "www2")
    operation = home.do("jail_change", **wish(www2, limits={"securelevel": 3}))
    assert operation.status == "done", operation.error
    text = home.read("/etc/jail.conf")
    assert changed_lines(HOME, text) == (["    securelevel = 2;"], ["    securelevel = 3;"])
    (www2,) = rows(home, "www2")
    assert www2.wanted["securelevel"] == ["3"] and www2.limits["securelevel"] == 3 and not Drift.objects.exists()
    assert home.do("jail_change", **wish(www2, hostname="shop.example.net")).status == "done"
    assert changed_lines(text, home.read("/etc/jail.conf")) == ([], ["    host.hostname = shop.example.net;"])
    moved = wish(www2, hostname="shop.example.net", addresses=[{"network": home.network.pk, "ip": "192.0.2.40"}])
    assert home.do("jail_change", **moved).status == "done"
    (www2,) = rows(home, "www2")
    assert www2.wanted["ip4.addr"] == ["em0|192.0.2.40/32"] and not Drift.objects.exists()
    assert sorted(Address.objects.values_list("ip", flat=True)) == ["192.0.2.31", "192.0.2.40"]
    # Nothing of the others has changed, and what was changed on request stays.
    assert adoption.wanted_of(home.facts().configured_jail("www1").parameters) == www1.wanted
    give_back(home, www2)
    after = fingerprint(home.simulation.directory)
    assert {name for name in before if before[name] != after.get(name)} <= {"root/etc/jail.conf", "root/etc", "root"}


def test_a_change_of_a_running_jail_holds_at_once_or_restarts_it(home):
    (www2,) = adopt(home, "www2")
    home.do("jail_start", jails=uuids(www2))
    assert home.do("jail_change", **wish(www2, hostname="live.example.net")).status == "done"
    assert home.simulation.run("jls", "-j", "www2", "host.hostname").strip() == "live.example.net"
    (www2,) = rows(home, "www2")
    moved = wish(www2, addresses=[{"network": home.network.pk, "ip": "192.0.2.40"}])
    operation = home.do("jail_change", **moved)
    assert operation.status == "done" and home.addresses() == ["192.0.2.40"]
    assert "www2 will be stopped for a moment." in operation.plan["warnings"]


def test_a_change_that_would_reach_other_jails_is_refused_in_words(home):
    text = HOME + "db { exec.fib = 1; }\n"
    home.write("/etc/jail.conf", text)
    (db, www2) = adopt(home, "db", "www2")
    moved = [{"network": home.network.pk, "ip": "192.0.2.40"}]
    assert "several blocks for jail db (lines 15, 16)" in why(home, "jail_change", **wish(db, addresses=moved))
    assert "quota" in why(home, "jail_change", **wish(www2, limits={"quota": 1 << 30}))
    home.write("/etc/jail.conf", text.replace("securelevel = 2;", "securelevel = 2; vnet;"))
    (www2,) = rows(home, "www2")
    assert "vnet" in why(home, "jail_change", **wish(www2, addresses=moved))
    assert home.read("/etc/jail.conf") == text.replace("securelevel = 2;", "securelevel = 2; vnet;")


def test_a_jail_on_which_others_depend_is_not_restarted_alone(home):
    (www1, _) = adopt(home, "www1", "db")
    home.sh("jail -q -f /etc/jail.conf -c db")
    moved = wish(www1, addresses=[{"network": home.network.pk, "ip": "192.0.2.40"}])
    assert "db would stop with it" in why(home, "jail_change", **moved)


def test_boot_is_changed_by_the_list_alone(home):
    (www2,) = adopt(home, "www2")
    operation = home.do("jail_change", **wish(www2, boot=False))
    assert operation.status == "done" and home.read("/etc/jail.conf") == HOME
    assert home.facts().boot_state().boots_today == ("www1", "db")


def test_what_only_the_panels_own_jails_allow_is_refused(home):
    (row,) = adopt(home, "www1")
    uuid = str(row.uuid)
    assert "give it back" in why(home, "jail_destroy", jail=uuid, name="www1")
    assert "give it back" in why(home, "jail_rename", jail=uuid, name="www9")
    assert "was adopted" in why(home, "template_create", jail=uuid, name="web", tenant=None)


def test_given_to_a_tenant_only_its_row_changes(home):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    before = fingerprint(home.simulation.directory)
    (row,) = adopt(home, "www1")
    operation = home.do("jail_give", jails=uuids(row), tenant=acme.pk)
    assert operation.status == "done" and "only the owner changes" in operation.plan["summary"][0]
    assert fingerprint(home.simulation.directory) == before
    (row,) = rows(home, "www1")
    assert row.tenant == acme
    assert "take it back to nobody first" in why(home, "jail_unadopt", jail=str(row.uuid))
    assert home.do("jail_give", jails=uuids(row), tenant=None).status == "done"
    give_back(home, row)


def test_a_tenant_sees_no_plan_that_shows_files_of_the_host(home):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    ann = User.objects.create_user("ann")
    Membership.objects.create(tenant=acme, user=ann, role=Membership.Role.OWNER)
    (row,) = adopt(home, "www2", tenant=acme.pk)
    assert home.do("jail_change", **wish(row, limits={"securelevel": 3})).status == "done"
    for kind_name in ("drift_accept", "drift_repair"):
        home.write("/etc/jail.conf", home.read("/etc/jail.conf").replace("    securelevel", "    persist; securelevel"))
        if kind_name == "drift_repair":
            home.write("/etc/jail.conf", home.read("/etc/jail.conf").replace("persist;", "allow.chflags;"))
        home.refresh()
        operation = home.do(kind_name, jail=str(row.uuid), parameters=None)
        assert operation.status == "done", operation.error
    assert Operation.objects.count() == 4 and not policy.visible(ann, Operation).exists()
    entries = [one for one in policy.visible(ann, AuditEntry) if one.outcome == "done"]
    assert {one.action for one in entries} >= {"jail.adopt", "jail.change", "jail.accept", "jail.repair"}
    told = "".join(f"{one.before}{one.after}{one.detail}{one.object_name}" for one in entries)
    assert "Changed: securelevel." in told and "/etc" not in told and "/usr" not in told


HOOK = 'www1 { ip4.addr = "em0|192.0.2.31/32"; %s }'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mount.fstab = /usr/jails/$name/etc/fstab;", "mount.fstab of www1 is /usr/jails/www1/etc/fstab"),
        ('exec.prestart = "/usr/jails/www1/hook -x";', "exec.prestart of www1 runs /usr/jails/www1/hook on the host"),
        ("exec.poststop = \"true && X=1 sh -e '/usr/jails/x/../www1/hook'\";", "exec.poststop of www1 runs"),
        ('exec.release = "cd /usr/jails/www1; ./hook";', "exec.release of www1 runs"),
    ],
)
def test_what_the_jail_could_write_is_not_run_on_the_host(home, line, words):
    plain = HOME.splitlines()[8]
    acme = Tenant.objects.create(slug="acme", name="Acme")
    home.write("/etc/jail.conf", HOME.replace(plain, HOOK % line))
    (row,) = rows(home, "www1")
    assert words in why(home, "jail_adopt", jails=uuids(row), how="in place", tenant=None)
    home.write("/etc/jail.conf", HOME)
    (row,) = adopt(home, "www1")
    home.write("/etc/jail.conf", HOME.replace(plain, HOOK % line))
    home.refresh()
    assert words in why(home, "jail_give", jails=uuids(row), tenant=acme.pk)


def test_commands_on_the_host_are_told(home):
    line = 'exec.prestart = "mount -t nullfs /data /usr/jails/www1/mnt"; mount.fstab = "/etc/fstab.www1";'
    home.write("/etc/jail.conf", HOME.replace(HOME.splitlines()[8], HOOK % line))
    (row,) = rows(home, "www1")
    plan = home.draft("jail_adopt", jails=uuids(row), how="in place", tenant=None).plan
    assert "www1 has commands that run on the host as root: exec.prestart." in plan["warnings"]


def test_adopted_for_a_tenant_at_once(home):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    (row,) = adopt(home, "www1", tenant=acme.pk)
    assert row.tenant == acme


def test_an_adopted_jail_whose_file_is_gone_is_missing_and_kept(home):
    adopt(home, "www1")
    home.write("/etc/jail.conf", "")
    (row,) = rows(home, "www1")
    assert row.state == "missing" and row.wanted["ip4.addr"] == ["em0|192.0.2.31/32"]
    assert not Jail.objects.filter(name="www2").exists()
    give_back(home, row)
    home.refresh()
    assert not Jail.objects.filter(name="www1").exists()


# Real-life files


CORPUS = Path(__file__).parent.parent / "freebsd" / "corpus"
FILES = sorted(path.name for path in CORPUS.glob("*.conf"))
WITHOUT_JAILS = {"latin1.conf", "common.conf", "local.conf", "include-relative.conf"}
"""No UTF-8: such a file is left alone. The others are included by another one, or include what is not there."""


@pytest.fixture(scope="module")
def corpus_host(tmp_path_factory):
    """One host for all files, as nothing must change it but the file that is put there."""
    folder = tmp_path_factory.mktemp("corpus") / "host"
    Simulation(folder, "--release", "14.2-RELEASE", "--interface", "em0=192.0.2.2/24")
    return folder


@pytest.mark.parametrize("name", FILES)
def test_adopting_each_jail_of_a_real_life_file_leaves_the_host_as_it_was(corpus_host, admin, messages, name):
    shutil.copyfile(CORPUS / name, corpus_host / "root/etc/jail.conf")
    before = fingerprint(corpus_host)
    host = Host.objects.create(name="warden1", kind=Host.Kind.SIMULATED, directory=str(corpus_host))
    refresh(host, connection=lambda row: SimulatedConnection(corpus_host))
    facts = lifecycle.facts_of(host)
    found = list(Jail.objects.filter(host=host))
    assert bool(found) != (name in WITHOUT_JAILS)
    whole = [row for row in found if is_whole(host, row, facts)]
    if whole:
        through(host, facts, "jail_adopt", jails=uuids(*whole), how="in place", tenant=None)
    for row in whole:
        row.refresh_from_db()
        assert row.adoption == "in place" and row.wanted["path"] == [row.path]
        through(host, facts, "jail_unadopt", jail=str(row.uuid))
        row.refresh_from_db()
        assert not row.is_kept
    assert fingerprint(corpus_host) == before


def is_whole(host, row, facts):
    words = adoption.why_not_in_place(host, power.look(row, facts))
    assert not words or re.search(r"no path|jail\(8\) refuses|a number", words), words
    return not words


def through(host, facts, name, **wish):
    """Plan it and note it down as done: the plan changes nothing."""
    plan = kind.get(name).plan(kind.Request("7b0d3f2e", wish, host, facts))
    assert not any(step.changes for step in plan.steps)
    kind.get(name).finish(Operation(kind=name, host=host, parameters=wish), plan)


def test_where_nobody_can_tell_what_boots_the_plan_says_so(home):
    home.write("/etc/rc.conf", home.read("/etc/rc.conf") + 'jail_list="$(cat /etc/some)"\n')
    operation = home.draft("jail_adopt", jails=uuids(*rows(home, "www1")), how="in place")
    assert any("What boots on warden1 cannot be told (rc.conf: " in line for line in operation.plan["warnings"])
