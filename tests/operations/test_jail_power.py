"""Starting, stopping and restarting jails on a simulated host, through the real engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.models import AuditEntry, Host, Jail, Network, ObservedAddress, Tenant
from jails.operations import lifecycle
from jails.operations.jail_start import kind as jail_start
from jails.operations.kind import Refused

FOREIGN = """\
exec.clean;
exec.start = "/bin/sh /etc/rc";
exec.stop = "/bin/sh /etc/rc.shutdown";
mount.devfs;
path = "/jail/$name";
"""


def uuids(*rows):
    return [str(row.uuid) for row in rows]


def refused(warden, kind, *rows):
    with pytest.raises(Refused) as refusal:
        warden.draft(kind, jails=uuids(*rows))
    assert set(refusal.value.errors) == {"jails"}
    return refusal.value.errors["jails"]


def foreign(warden, text, *names):
    """Jails in /etc/jail.conf, with trees of their own; their rows."""
    for name in names:
        warden.sh(f"cp -Rp /var/db/cellblock/base /jail/{name}")
    warden.write("/etc/jail.conf", FOREIGN + text)
    return [warden.find(name) for name in names]


# One jail


def test_a_jail_starts_from_its_own_file(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    operation = warden.do("jail_start", jails=uuids(www1))
    assert (operation.status, operation.error) == ("done", "")
    assert warden.running() == {"www1": "/jail/www1"}
    assert warden.addresses() == ["192.0.2.11"]
    assert "jail -f /etc/jail.conf.d/www1.conf -q -c www1" in warden.commands()
    www1.refresh_from_db()
    assert www1.state == "running"


def test_a_jail_stops_and_takes_its_address_and_mounts_along(warden):
    www1 = warden.make("www1", "192.0.2.11")
    operation = warden.do("jail_stop", jails=uuids(www1))
    assert operation.status == "done"
    assert warden.running() == {} and warden.addresses() == [] and "/jail/www1/dev" not in warden.mounts()
    www1.refresh_from_db()
    assert (www1.state, www1.jid) == ("stopped", None)


def test_on_ufs(plain_warden):
    log = plain_warden.make("loghost", "192.0.2.11")
    assert plain_warden.do("jail_stop", jails=uuids(log)).status == "done"
    assert plain_warden.running() == {}
    assert plain_warden.do("jail_start", jails=uuids(log)).status == "done"
    assert plain_warden.running() == {"loghost": "/jail/loghost"}


def test_a_restart_stops_and_then_starts(warden):
    www1 = warden.make("www1", "192.0.2.11")
    jid = warden.simulation.run("jls", "-j", "www1", "jid")
    operation = warden.do("jail_restart", jails=uuids(www1))
    assert operation.status == "done" and operation.title == "Restart www1"
    jails = [line for line in warden.commands() if line.startswith("jail ")]
    assert jails == ["jail -f /etc/jail.conf.d/www1.conf -q -r www1", "jail -f /etc/jail.conf.d/www1.conf -q -c www1"]
    assert warden.simulation.run("jls", "-j", "www1", "jid") != jid


def test_a_failed_start_leaves_the_host_as_it_was(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    before = warden.picture()
    warden.fail("ifconfig em0 inet", "ifconfig: it resists")
    operation = warden.do("jail_start", jails=uuids(www1))
    assert operation.status == "failed"
    assert operation.error.startswith("Step 1 “Start www1” failed: ")
    assert warden.picture() == before


def test_a_jail_that_ends_at_once_has_not_started(warden):
    """jail(8) says all is well; jls(8) does not."""
    www1 = warden.make("www1", "192.0.2.11", start=False)
    warden.write(
        www1.config_path,
        warden.read(www1.config_path).replace("/bin/sh /etc/rc", "/usr/bin/true").replace("\tpersist;\n", ""),
    )
    before = warden.picture()
    operation = warden.do("jail_start", jails=uuids(www1))
    assert operation.status == "failed"
    assert "reported no error, but it is not so that the jail www1 runs" in operation.error
    assert warden.picture() == before


def test_a_jail_somebody_else_starts_meanwhile_is_left_running(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    operation = warden.confirm("jail_start", jails=uuids(www1))
    start = "jail -q -f /etc/jail.conf.d/www1.conf -c www1"
    assert warden.work_with(operation, "-c www1", before=lambda: warden.sh(start)) == "failed"
    assert "already exists" in operation.error
    assert warden.running() == {"www1": "/jail/www1"} and "/jail/www1/dev" in warden.mounts()


def test_what_runs_by_the_time_the_worker_comes_is_refused(warden):
    www1 = warden.make("www1", start=False)
    operation = warden.confirm("jail_start", jails=uuids(www1))
    warden.sh("jail -q -f /etc/jail.conf.d/www1.conf -c www1")
    assert warden.work(operation) == "refused"
    assert warden.running() == {"www1": "/jail/www1"}


def test_a_stop_whose_last_hook_fails_is_a_stop(warden):
    www1 = warden.make("www1", "192.0.2.11")
    text = warden.read(www1.config_path).replace("mount.devfs;", 'mount.devfs;\n\texec.poststop = "/usr/bin/false";')
    warden.write(www1.config_path, text)
    operation = warden.do("jail_stop", jails=uuids(www1))
    assert operation.status == "done" and warden.running() == {}


def test_a_failed_restart_says_that_the_jail_is_stopped(warden):
    www1 = warden.make("www1", "192.0.2.11")
    operation = warden.confirm("jail_restart", jails=uuids(www1))
    warden.fail("jail -f /etc/jail.conf.d/www1.conf -q -c", "jail: it resists")
    assert warden.work(operation) == "failed"
    assert operation.error == "Step 2 “Start www1” failed: jail: it resists. Left as it is: Stop www1."
    assert warden.running() == {} and warden.addresses() == []


# What is refused


def test_what_runs_already(warden):
    www1 = warden.make("www1")
    assert refused(warden, "jail_start", www1) == "www1: nothing to start, as everything runs already."
    www2 = warden.make("www2", start=False)
    assert refused(warden, "jail_stop", www2) == "www2: nothing to stop, as nothing of it runs."


def test_an_address_that_another_jail_of_the_host_uses(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    warden.sh("jail -c name=other path=/ ip4.addr=192.0.2.11 persist")
    assert refused(warden, "jail_start", www1) == "www1: 192.0.2.11 is in use: other has it and runs."


def test_an_address_that_two_of_the_jails_share(warden):
    www1, www2 = foreign(
        warden, 'www1 { ip4.addr = "em0|192.0.2.7"; } www2 { ip4.addr = "em0|192.0.2.7"; }', "www1", "www2"
    )
    assert "www1: 192.0.2.7 is an address of www2 as well." in refused(warden, "jail_start", www1, www2)
    assert warden.do("jail_start", jails=uuids(www1)).status == "done"


def test_an_address_on_another_host_of_the_same_network(warden):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    elsewhere = Host.objects.create(name="warden9", kind="simulated")
    ObservedAddress.objects.create(host=elsewhere, ip="192.0.2.11", interface="em0", jail_name="mail")
    assert refused(warden, "jail_start", www1) == "www1: 192.0.2.11 is in use on warden9: mail."


def test_an_address_on_another_host_in_a_network_of_its_own(warden):
    (www1,) = foreign(warden, 'www1 { ip4.addr = "lo0|10.0.0.7"; }', "www1")
    elsewhere = Host.objects.create(name="warden9", kind="simulated")
    ObservedAddress.objects.create(host=elsewhere, ip="10.0.0.7", interface="lo1")
    assert warden.draft("jail_start", jails=uuids(www1)).status == "draft"
    shared = Network.objects.create(name="all", cidr="10.0.0.0/8")
    assert "in use on warden9: lo1" in refused(warden, "jail_start", www1)
    Network.objects.create(name="mine", cidr="10.0.0.0/24", host=warden.row)
    assert warden.draft("jail_start", jails=uuids(www1)).status == "draft" and shared.pk


def test_an_address_of_the_panel_in_a_file_made_by_hand(warden):
    warden.make("www1", "192.0.2.11", start=False)
    (www2,) = foreign(warden, 'www2 { ip4.addr = "em0|192.0.2.11"; }', "www2")
    assert refused(warden, "jail_start", www2) == "www2: 192.0.2.11 belongs to www1 on warden1."


def test_a_tenant_learns_nothing_of_other_peoples_jails(warden):
    acme = Tenant.objects.create(slug="acme", name="Acme")
    db, *_ = foreign(warden, "db {} web { depend = db; } mine { depend = db; }", "db", "web", "mine")
    Jail.objects.filter(name__in=("db", "mine")).update(tenant=acme)
    warden.sh("jail -q -c web; jail -q -c mine")
    warden.refresh()
    why = refused(warden, "jail_stop", db)
    assert why == "db: mine and another jail would stop with it, depending on it in /etc/jail.conf: stop that first."
    www1 = warden.make("www1", "192.0.2.11", start=False, tenant=acme)
    warden.sh("jail -c name=other path=/ ip4.addr=192.0.2.11 persist")
    assert refused(warden, "jail_start", www1) == "www1: 192.0.2.11 is in use: another jail has it and runs."
    warden.sh("jail -r other")
    elsewhere = Host.objects.create(name="warden9", kind="simulated")
    ObservedAddress.objects.create(host=elsewhere, ip="192.0.2.11", interface="em0", jail_name="mail")
    assert refused(warden, "jail_start", www1) == "www1: 192.0.2.11 is in use by somebody else."


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("zfs unmount zroot/cellblock/host/www1", "is not mounted on /jail/www1"),
        ("zfs destroy -r zroot/cellblock/host/www1", "its dataset zroot/cellblock/host/www1 is gone"),
        ("rm /etc/jail.conf.d/www1.conf", "no file on warden1 describes it"),
        ("echo 'www1 {' > /etc/jail.conf.d/www1.conf", "jail(8) cannot read /etc/jail.conf.d/www1.conf"),
        ("echo 'www1 { persist; }' > /etc/jail.www1.conf", "/etc/jail.www1.conf goes before"),
        ("sed -i '' s,/jail/www1,/jail/www2, /etc/jail.conf.d/www1.conf", "expected /jail/www1"),
        ("sed -i '' 's,em0|,em7|,' /etc/jail.conf.d/www1.conf", "on em7, an interface that warden1 has not"),
        ("sysrc -q jail_www1_conf=/root/x", "jail_www1_conf is /root/x"),
        ("jail -c name=www1 path=/ persist", "the jail of this name that runs is another one: its root is /"),
        (
            "echo 'www1 { path = /jail/www1; host.hostname = $no; }' > /etc/jail.conf.d/www1.conf",
            "jail(8) refuses what /etc/jail.conf.d/www1.conf says of it",
        ),
    ],
)
def test_a_jail_that_cannot_start(warden, spoil, words):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    warden.sh(spoil)
    assert words in refused(warden, "jail_start", www1)


def test_a_path_that_is_not_there(plain_warden):
    www1 = plain_warden.make("www1", start=False)
    plain_warden.sh("mv /jail/www1 /jail/www9")
    assert refused(plain_warden, "jail_start", www1) == "www1: its path /jail/www1 is not there."


def test_a_stranger_under_the_jails_name_is_not_stopped(warden):
    www1 = warden.make("www1", start=False)
    warden.sh("jail -c name=www1 path=/ persist")
    assert "another one: its root is /" in refused(warden, "jail_stop", www1)


def test_a_jail_that_is_being_made(warden):
    www1 = warden.make("www1", start=False, state=Jail.State.PENDING)
    assert refused(warden, "jail_start", www1) == "www1: it is being made."


def test_a_jail_of_another_host(warden, plain_warden):
    other = plain_warden.make("www1", start=False)
    with pytest.raises(Refused, match="warden1 has no jail"):
        warden.draft("jail_start", jails=uuids(other))


HOSTILE = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.integers(),
    st.lists(st.one_of(st.text(max_size=40), st.integers(), st.none(), st.just({})), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(HOSTILE)
def test_hostile_values_are_refused_with_the_field_named(value):
    with pytest.raises(Refused) as refusal:
        jail_start.clean({"jails": value})
    assert set(refusal.value.errors) == {"jails"}


def test_unknown_parameters_are_refused():
    with pytest.raises(Refused):
        jail_start.clean({"jails": ["7b0d3f2e-0000-4000-8000-000000000000"], "force": True})


# Several jails


def test_one_that_fails_leaves_the_others_started(warden):
    rows = [warden.make(f"www{n}", f"192.0.2.1{n}", start=False) for n in (1, 2, 3)]
    operation = warden.confirm("jail_start", jails=uuids(*rows))
    warden.fail("jail -f /etc/jail.conf.d/www2.conf -q -c", "jail: www2: it resists")
    assert warden.work(operation) == "failed"
    assert operation.error == "1 of 3 failed: www2. Step 2 “Start www2” failed: jail: www2: it resists."
    assert sorted(warden.running()) == ["www1", "www3"]
    assert [row.data["subject"] for row in operation.steps.order_by("index")] == ["www1", "www2", "www3"]


def test_trying_again_does_what_is_left(warden):
    rows = [warden.make(f"www{n}", start=False) for n in (1, 2, 3)]
    operation = warden.confirm("jail_start", jails=uuids(*rows))
    warden.fail("jail -f /etc/jail.conf.d/www2.conf -q -c")
    warden.work(operation)
    warden.simulation.fault()
    warden.refresh()
    again = lifecycle.retry(operation, user=warden.user)
    assert again.title == "Start www2"
    assert again.plan["summary"][1] == "Nothing is done to www1 and www3: running already."
    lifecycle.confirm(again, again.digest, user=warden.user)
    assert warden.work(again) == "done" and sorted(warden.running()) == ["www1", "www2", "www3"]


def test_one_that_resists_leaves_the_others_stopped(warden):
    rows = [warden.make(f"www{n}", f"192.0.2.1{n}") for n in (1, 2, 3)]
    operation = warden.confirm("jail_stop", jails=uuids(*rows))
    warden.fail("jail -f /etc/jail.conf.d/www2.conf -q -r", "jail: www2: it resists")
    assert warden.work(operation) == "failed"
    assert operation.error.startswith("1 of 3 failed: www2.")
    assert warden.running() == {"www2": "/jail/www2"} and warden.addresses() == ["192.0.2.12"]


def test_restarting_several_one_is_away_at_a_time(warden):
    rows = [warden.make(f"www{n}") for n in (1, 2)]
    operation = warden.do("jail_restart", jails=uuids(*rows))
    assert operation.status == "done"
    jails = [line.partition(" -q ")[2] for line in warden.commands() if line.startswith("jail ")]
    assert jails == ["-r www1", "-c www1", "-r www2", "-c www2"]


def test_a_stopped_one_is_only_started_by_a_restart(warden):
    www1, www2 = warden.make("www1"), warden.make("www2", start=False)
    operation = warden.do("jail_restart", jails=uuids(www1, www2))
    assert operation.plan["summary"] == ["www1 will be stopped and started.", "www2 will only be started: not running."]
    assert operation.status == "done" and sorted(warden.running()) == ["www1", "www2"]
    after = AuditEntry.objects.get(operation=str(operation.pk), source="worker").after
    assert (after["restarted"], after[f"jail:{www2.pk}"]) == (["www1"], {"name": "www2", "state": "running"})


def test_what_could_not_start_again_is_not_stopped_by_a_restart(warden):
    www1 = warden.make("www1")
    warden.sh("rm /etc/jail.conf.d/www1.conf")
    assert "nothing tells how to start it" in refused(warden, "jail_restart", www1)
    assert warden.running() == {"www1": "/jail/www1"}


def test_cancelled_between_two_the_started_one_is_stopped_again(warden):
    rows = [warden.make(f"www{n}", f"192.0.2.1{n}", start=False) for n in (1, 2)]
    before = warden.picture()
    operation = warden.confirm("jail_start", jails=uuids(*rows))
    cancel = lambda: lifecycle.cancel(operation, user=warden.user)  # noqa: E731
    assert warden.work_with(operation, "-c www1", after=cancel) == "cancelled"
    assert warden.picture() == before


def test_thirty_jails_have_a_short_title(warden):
    rows = [warden.make(f"www{n}", start=False) for n in range(1, 13)]
    operation = warden.draft("jail_start", jails=uuids(*rows))
    assert operation.title == "Start 12 jails"
    assert operation.plan["summary"] == ["www1, www2, www3, www4, www5, www6, www7, www8 and 4 more will run."]


# Jails that the panel did not make


def test_a_jail_of_jail_conf(warden):
    (db,) = foreign(warden, 'db { ip4.addr = "em0|192.0.2.50/32"; }', "db")
    assert not db.managed
    assert warden.do("jail_start", jails=uuids(db)).status == "done"
    assert warden.running() == {"db": "/jail/db"} and warden.addresses() == ["192.0.2.50"]
    assert "jail -f /etc/jail.conf -q -c db" in warden.commands()
    assert warden.do("jail_stop", jails=uuids(db)).status == "done"
    assert warden.running() == {} and warden.addresses() == []


def test_a_jail_whose_path_is_a_symbolic_link(warden):
    (db,) = foreign(warden, 'db { path = "/usr/jails/db"; }', "db")
    warden.sh("ln -s /jail /usr/jails")
    assert warden.do("jail_start", jails=uuids(db)).status == "done"
    assert warden.do("jail_stop", jails=uuids(db)).status == "done" and warden.running() == {}


@pytest.mark.parametrize("path", ["/etc/jail.db.conf", "/etc/jail.conf.d/db.conf"])
def test_a_jail_of_a_file_of_its_own(warden, path):
    warden.sh("cp -Rp /var/db/cellblock/base /jail/db")
    warden.write(path, FOREIGN + "db {}\n")
    db = warden.find("db")
    assert warden.do("jail_start", jails=uuids(db)).status == "done"
    assert f"jail -f {path} -q -c db" in warden.commands()
    assert warden.do("jail_stop", jails=uuids(db)).status == "done" and warden.running() == {}


def test_a_jail_of_an_included_file_has_the_globals(warden):
    warden.sh("cp -Rp /var/db/cellblock/base /jail/db")
    warden.write("/etc/jail.conf.d/all.conf", "db {}\n")
    warden.write("/etc/jail.conf", FOREIGN + '.include "/etc/jail.conf.d/*.conf";\n')
    db = warden.find("db")
    assert warden.do("jail_start", jails=uuids(db)).status == "done"
    assert warden.running() == {"db": "/jail/db"} and "/jail/db/dev" in warden.mounts()


def test_a_jail_that_only_the_kernel_knows_can_be_stopped(warden):
    warden.sh("jail -c name=lost path=/jail ip4.addr=192.0.2.60 interface=em0 persist")
    lost = warden.find("lost")
    assert "no file on warden1 describes it" in refused(warden, "jail_restart", lost)
    operation = warden.do("jail_stop", jails=uuids(lost))
    assert operation.status == "done" and warden.running() == {}
    assert "jail -R lost" in warden.commands()
    assert operation.plan["warnings"] == [
        "No file describes lost: once it is stopped, nothing tells how to start it again. Left behind: 192.0.2.60."
    ]
    assert warden.addresses() == ["192.0.2.60"]  # not proved to be the jail's


def test_what_depends_on_it_is_not_stopped_along(warden):
    db, web = foreign(warden, "db {} web { depend = db; }", "db", "web")
    warden.sh("jail -q -c web")
    assert sorted(warden.running()) == ["db", "web"]
    warden.refresh()
    assert "web would stop with it" in refused(warden, "jail_stop", db)
    assert "web would stop with it" in refused(warden, "jail_restart", db)
    operation = warden.do("jail_stop", jails=uuids(db, web))
    assert operation.status == "done" and warden.running() == {}
    jails = [line for line in warden.commands() if line.startswith("jail ")]
    assert jails == ["jail -f /etc/jail.conf -q -r web", "jail -f /etc/jail.conf -q -r db"]


def test_what_it_depends_on_is_not_started_along(warden):
    db, web = foreign(warden, "web { depend = db; } db {}", "db", "web")
    assert "db would start with it" in refused(warden, "jail_start", web)
    operation = warden.do("jail_start", jails=uuids(web, db))
    assert operation.status == "done"
    jails = [line for line in warden.commands() if line.startswith("jail ")]
    assert jails == ["jail -f /etc/jail.conf -q -c db", "jail -f /etc/jail.conf -q -c web"]
    assert warden.do("jail_restart", jails=uuids(web, db)).status == "done"
    jails = [line.rpartition(" -q ")[2] for line in warden.commands() if line.startswith("jail ")]
    assert jails == ["-r web", "-r db", "-c db", "-c web"]


def test_the_hosts_own_address_is_warned_of(warden):
    (db,) = foreign(warden, 'db { ip4.addr = "em0|192.0.2.2"; }', "db")
    warden.sh("jail -q -c db")
    warnings = warden.draft("jail_stop", jails=uuids(db)).plan["warnings"]
    assert warnings == ["Stopping db takes 192.0.2.2 away, which rc.conf gives to the host itself."]


# What a changed file forgets


def test_an_address_that_the_file_no_longer_names_is_taken_away(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.write(www1.config_path, warden.read(www1.config_path).replace("192.0.2.11", "192.0.2.99"))
    operation = warden.do("jail_stop", jails=uuids(www1))
    assert operation.status == "done", operation.error
    assert warden.addresses() == [] and warden.running() == {}


def test_a_devfs_that_the_file_no_longer_names_is_unmounted(warden):
    www1 = warden.make("www1")
    warden.write(www1.config_path, warden.read(www1.config_path).replace("mount.devfs", "mount.nodevfs"))
    assert warden.do("jail_stop", jails=uuids(www1)).status == "done"
    assert "/jail/www1/dev" not in warden.mounts()


def test_a_managed_jail_whose_file_is_gone_leaves_nothing_of_its_own(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("rm /etc/jail.conf.d/www1.conf")
    operation = warden.do("jail_stop", jails=uuids(www1))
    assert operation.status == "done" and warden.running() == {}
    assert warden.addresses() == [] and "/jail/www1/dev" not in warden.mounts()


def test_an_address_that_the_panel_did_not_give_is_left(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("ifconfig em0 192.0.2.77/32 alias; jail -m name=www1 ip4.addr=192.0.2.11,192.0.2.77")
    assert warden.do("jail_stop", jails=uuids(www1)).status == "done"
    assert warden.addresses() == ["192.0.2.77"]


# For the moment


def test_a_dying_jail_may_be_started_again(warden):
    www1 = warden.make("www1", "192.0.2.11")
    warden.fault(dying=600)
    assert warden.do("jail_stop", jails=uuids(www1)).status == "done"
    operation = warden.draft("jail_start", jails=uuids(www1))
    assert operation.plan["notes"][0].startswith("www1 is still dying")
    warden.simulation.forget_log()
    lifecycle.confirm(operation, operation.digest, user=warden.user)
    assert warden.work(operation) == "done" and warden.running() == {"www1": "/jail/www1"}


def test_that_it_is_dying_is_no_part_of_what_is_confirmed(warden):
    www1 = warden.make("www1")
    warden.fault(dying=2)
    warden.do("jail_stop", jails=uuids(www1))
    operation = warden.confirm("jail_start", jails=uuids(www1))
    assert operation.plan["notes"]
    warden.sh("sleep 2")
    assert warden.work(operation) == "done"
