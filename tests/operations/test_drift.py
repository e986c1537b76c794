"""Drift by hand on the simulated host, brought back to the panel or accepted by it."""

import pytest
from django.core.exceptions import PermissionDenied
from hypothesis import given
from hypothesis import strategies as st

from jails import drift
from jails.models import Address, AuditEntry, Drift, Jail, Network, User
from jails.operations import common, drift_accept, drift_repair, lifecycle
from jails.operations.kind import Refused

HOSTNAME = "www1.example.org"


@pytest.fixture
def www1(warden):
    row = warden.make("www1", "192.0.2.11", boot=True)
    warden.refresh()
    assert not Drift.objects.exists()
    return row


def edit(warden, row, old, new):
    """As with vi(1)."""
    text = warden.read(row.config_path)
    assert old in text
    warden.write(row.config_path, text.replace(old, new))


def found(warden):
    warden.refresh()
    return {one.parameter: (one.wanted, one.configured, one.running) for one in Drift.objects.all()}


def repair(warden, row, *names):
    operation = warden.do("drift_repair", jail=str(row.uuid), parameters=list(names) or None)
    assert (operation.status, operation.error) == ("done", "")
    row.refresh_from_db()
    return operation


def accept(warden, row, *names):
    before = warden.picture()
    operation = warden.do("drift_accept", jail=str(row.uuid), parameters=list(names) or None)
    assert (operation.status, operation.error) == ("done", "")
    assert warden.picture() == before, "no host is changed"
    reads = ("rm -f /var/run/cellblock", "ifconfig em0")
    assert [line for line in warden.commands() if not line.startswith(reads)] == []
    row.refresh_from_db()
    return operation


def refused(warden, kind, row, *names):
    with pytest.raises(Refused) as refusal:
        warden.draft(kind, jail=str(row.uuid), parameters=list(names) or None)
    return str(refusal.value)


def jailed(warden, parameter):
    return warden.simulation.run("jls", "-j", "www1", parameter).strip()


# Bring the host to the panel


def test_a_file_that_was_edited_is_edited_back_and_nothing_else(warden, www1):
    before, jid = warden.read(www1.config_path), jailed(warden, "jid")
    edit(warden, www1, HOSTNAME, "x.example.org; # mine")
    edit(warden, www1, "\tpersist;", "\t/* why */\n\tallow.raw_sockets;\n\tpersist;")
    assert found(warden) == {
        "host.hostname": ([HOSTNAME], ["x.example.org"], [HOSTNAME]),
        "allow.raw_sockets": (None, ["true"], ["false"]),
    }
    operation = repair(warden, www1)
    assert operation.plan["summary"] == [
        f"host.hostname: x.example.org → {HOSTNAME} (in its file)",
        "allow.raw_sockets: true → none (in its file)",
    ]
    after = warden.read(www1.config_path)
    assert after == before.replace(f"{HOSTNAME};", f"{HOSTNAME}; # mine;").replace(
        "\tpersist", "\t/* why */\n\tpersist"
    )
    assert jailed(warden, "jid") == jid and not Drift.objects.exists() and found(warden) == {}


def test_what_runs_is_changed_while_it_runs(warden, www1):
    jid = jailed(warden, "jid")
    warden.sh("jail -m name=www1 host.hostname=y allow.raw_sockets children.max=3 sysvmsg=new")
    assert found(warden) == {
        "host.hostname": ([HOSTNAME], [HOSTNAME], ["y"]),
        "allow.raw_sockets": (None, None, ["true"]),
        "children.max": (None, None, ["3"]),
    }
    operation = repair(warden, www1)
    assert operation.plan["warnings"] == [] and [step["key"] for step in operation.plan["steps"]] == ["live-www1"]
    assert [jailed(warden, name) for name in ("host.hostname", "allow.raw_sockets", "children.max", "jid")] == [
        HOSTNAME,
        "0",
        "0",
        jid,
    ]
    assert found(warden) == {}


def test_only_what_was_chosen(warden, www1):
    edit(warden, www1, HOSTNAME, "x.example.org")
    edit(warden, www1, "\tpersist;", "\tallow.raw_sockets;\n\tpersist;")
    warden.sh("jail -m name=www1 allow.chflags")
    repair(warden, www1, "allow.raw_sockets")
    assert list(found(warden)) == ["allow.chflags", "host.hostname"]
    assert jailed(warden, "allow.chflags") == "1"


def test_addresses_need_a_restart_in_the_one_right_order(warden, www1):
    edit(warden, www1, "em0|192.0.2.11/32", "em0|192.0.2.66/24")
    warden.sh("service jail onerestart www1")
    assert warden.addresses() == ["192.0.2.11", "192.0.2.66"], "stopped with the new file, the old alias stays"
    assert found(warden) == {"ip4.addr": (["em0|192.0.2.11"], ["em0|192.0.2.66/24"], ["192.0.2.66"])}
    operation = repair(warden, www1)
    assert operation.plan["warnings"] == ["www1 will be stopped for a moment: for ip4.addr it has to start anew."]
    assert operation.plan["summary"] == ["ip4.addr: em0|192.0.2.66/24 → em0|192.0.2.11 (needs a restart)"]
    assert warden.addresses() == ["192.0.2.11"] and jailed(warden, "ip4.addr") == "192.0.2.11"
    assert "ip4.addr = em0|192.0.2.11/32;" in warden.read(www1.config_path)
    assert found(warden) == {}


def test_an_edited_address_of_a_jail_that_still_runs_as_it_was_needs_none(warden, www1):
    jid, before = jailed(warden, "jid"), warden.read(www1.config_path)
    edit(warden, www1, "em0|192.0.2.11/32", "em0|192.0.2.66/32")
    repair(warden, www1, "ip4.addr")
    assert (warden.read(www1.config_path), jailed(warden, "jid")) == (before, jid)


def test_a_family_that_was_inherited(warden, www1):
    before = warden.read(www1.config_path)
    edit(warden, www1, "ip4.addr = em0|192.0.2.11/32;", "ip4 = inherit;")
    assert set(found(warden)) == {"ip4", "ip4.addr"}
    repair(warden, www1, "ip4.addr")
    assert found(warden) == {}
    assert sorted(warden.read(www1.config_path).split()) == sorted(before.split())


def test_hooks_and_mounts_need_a_restart(warden, www1):
    edit(warden, www1, "\tpersist;", '\texec.prestart = "logger hello";\n\tpersist;')
    jid = jailed(warden, "jid")
    operation = repair(warden, www1)
    assert "stopped for a moment" in operation.plan["warnings"][0] and jailed(warden, "jid") != jid
    assert found(warden) == {} and warden.addresses() == ["192.0.2.11"]


def test_a_stopped_jail_is_not_started(warden, www1):
    warden.sh("service jail onestop www1")
    edit(warden, www1, "em0|192.0.2.11/32", "em0|192.0.2.66/32")
    operation = repair(warden, www1)
    assert warden.running() == {} and operation.plan["warnings"] == []
    assert operation.plan["summary"][0].endswith("(from its next start)")


def test_the_boot_list(warden, www1):
    warden.make("db", boot=True, start=False)
    warden.sh("sysrc -q jail_list=db")
    assert found(warden) == {"boot": (["true"], ["false"], None)}
    operation = repair(warden, www1)
    assert operation.plan["summary"] == ["boot: no → yes (at the host's next boot)"]
    assert warden.facts().boot_state().boots_today == ("db", "www1") and found(warden) == {}


def test_a_file_that_is_gone_is_written_as_the_panel_has_it(warden, www1):
    before = warden.read(www1.config_path)
    warden.sh("rm /etc/jail.conf.d/www1.conf")
    assert found(warden) == {"file": ([www1.config_path], None, None)}
    repair(warden, www1)
    assert warden.read(www1.config_path) == before and found(warden) == {}


def test_a_file_without_its_jail_gets_it_back(warden, www1):
    warden.write(www1.config_path, "# moved\n")
    repair(warden, www1)
    assert warden.read(www1.config_path).startswith("# moved\nwww1 {") and found(warden) == {}


@pytest.mark.parametrize("text", ["www1 { broken", "www1 { path = $nothing; }"])
def test_a_file_that_jail_does_not_take_is_left(warden, www1, text):
    warden.write(www1.config_path, text)
    assert found(warden) == {"file": ([www1.config_path], ["refused"], None)}
    assert "mend it by hand" in refused(warden, "drift_repair", www1)


def test_a_file_that_goes_before_it(warden, www1):
    warden.sh("cp /etc/jail.conf.d/www1.conf /etc/jail.www1.conf")
    assert found(warden) == {"file": ([www1.config_path], ["/etc/jail.www1.conf"], None)}
    assert "take that one away" in refused(warden, "drift_repair", www1)


def test_a_comment_inside_a_statement_is_not_lost(warden, www1):
    edit(warden, www1, f"host.hostname = {HOSTNAME}", "host.hostname = /* Ada */ x.example.org")
    assert "a comment stands inside" in refused(warden, "drift_repair", www1)


def test_a_tree_that_is_gone(plain_warden):
    row = plain_warden.make("www1", start=False)
    plain_warden.sh("chflags -R noschg /jail/www1; rm -rf /jail/www1")
    edit(plain_warden, row, HOSTNAME, "x.example.org")
    assert set(found(plain_warden)) == {"tree", "host.hostname"}
    assert "no plan brings it back" in refused(plain_warden, "drift_repair", row, "tree")
    operation = repair(plain_warden, row)
    assert operation.plan["warnings"] == ["tree: /jail/www1 is gone; that stays so."]
    assert set(found(plain_warden)) == {"tree"}


def test_nothing_differs(warden, www1):
    assert "nothing differs" in refused(warden, "drift_repair", www1)
    edit(warden, www1, HOSTNAME, "x.example.org")
    assert "nothing differs" in refused(warden, "drift_accept", www1, "boot")


def test_jails_that_nobody_keeps(warden):
    warden.sh("jail -c name=lost path=/jail persist")
    lost = warden.find("lost")
    assert "has not made or adopted it" in refused(warden, "drift_repair", lost)
    Jail.objects.filter(pk=lost.pk).update(adoption="beside", manager="iocage")
    assert "left to iocage" in refused(warden, "drift_accept", lost)


def test_a_host_that_changes_meanwhile_shows_a_new_plan(warden, www1):
    edit(warden, www1, HOSTNAME, "x.example.org")
    operation = warden.confirm("drift_repair", jail=str(www1.uuid), parameters=["host.hostname"])
    edit(warden, www1, "x.example.org", "z.example.org")
    assert warden.work(operation) == "stale"
    assert "z.example.org" in warden.read(www1.config_path)


@pytest.mark.parametrize(
    "match", ["mv -f /etc/jail.conf.d", "ifconfig em0 inet 192.0.2.11/32 alias", "sysrc jail_list"]
)
def test_a_failed_repair_leaves_the_host_as_it_was(warden, www1, match):
    warden.sh("service jail onestop www1; sysrc -q jail_list=")
    edit(warden, www1, "em0|192.0.2.11/32", "em0|192.0.2.66/32")
    warden.sh("service jail onestart www1")
    before, drifts = warden.picture(), found(warden)
    operation = warden.confirm("drift_repair", jail=str(www1.uuid), parameters=None)
    warden.fail(match, nth=1)
    assert warden.work(operation) == "failed", operation.error
    assert warden.picture() == before and found(warden) == drifts and len(drifts) == 2


def test_a_failed_live_change_is_set_back(warden, www1):
    warden.sh("jail -m name=www1 allow.raw_sockets children.max=3; sysrc -q jail_list=")
    before = found(warden)
    operation = warden.confirm("drift_repair", jail=str(www1.uuid), parameters=None)
    warden.fail("sysrc jail_list=www1", nth=1)
    assert warden.work(operation) == "failed", operation.error
    assert (jailed(warden, "allow.raw_sockets"), jailed(warden, "children.max")) == ("1", "3")
    assert found(warden) == before


def test_an_adopted_jail_in_the_administrators_own_file(warden):
    conf = """# Ours since 2012
* { exec.clean; mount.devfs; }
old {
    path = "/jail/old"; host.hostname = old.example.org; // by Ada
    persist; exec.start = "/bin/sh /etc/rc"; exec.stop = "";
}
other { path = /jail/old; persist; }
"""
    warden.sh("cp -Rp /var/db/cellblock/base /jail/old")
    warden.write("/etc/jail.conf", conf)
    row = warden.find("old")
    jailconf = dict(warden.facts().configured_jail("old").parameters)
    row.wanted = {name: list(values) for name, values in jailconf.items()}
    row.adoption, row.hostname = "in place", "old.example.org"
    row.way_back = {"before": {"/etc/jail.conf": "# empty\n"}, "after": {"/etc/jail.conf": conf}}
    row.save()
    assert found(warden) == {}
    warden.write(
        "/etc/jail.conf", conf.replace("old.example.org", "x.example.org").replace("* {", "* { allow.chflags;")
    )
    warden.sh("jail -q -f /etc/jail.conf -c old")
    assert set(found(warden)) == {"host.hostname", "allow.chflags"}
    repair(warden, row)
    after = warden.read("/etc/jail.conf")
    assert row.way_back["after"] == {"/etc/jail.conf": after}
    assert after == conf.replace("* {", "* { allow.chflags;").replace('= "";', '= "";\n    allow.nochflags;')
    assert found(warden) == {}
    assert warden.simulation.run("jls", "-j", "old", "allow.chflags", "host.hostname").split() == [
        "0",
        "old.example.org",
    ]
    # And accepted.
    warden.write("/etc/jail.conf", after.replace("nochflags", "chflags").replace("old.example.org", "y.example.org"))
    warden.do("drift_accept", jail=str(row.uuid), parameters=None)
    row.refresh_from_db()
    assert row.way_back["after"] == {"/etc/jail.conf": warden.read("/etc/jail.conf")}, "it can be given back"
    assert (row.hostname, row.wanted["allow.chflags"]) == ("y.example.org", ["true"])
    assert set(found(warden)) == {"host.hostname", "allow.chflags"}, "what runs is as before"
    # With its file gone, it is put back from what was accepted.
    warden.sh("jail -R old; rm /etc/jail.conf")
    repair(warden, row)
    assert found(warden) == {} and "y.example.org" in warden.read("/etc/jail.conf")


# Bring the panel to the host


def test_what_the_panel_has_a_field_for(warden, www1):
    edit(warden, www1, HOSTNAME, "x.example.org")
    edit(warden, www1, "\tpersist;", "\tchildren.max = 7;\n\tsecurelevel = 2;\n\tpersist;")
    warden.sh("sysrc -q jail_list=")
    operation = accept(warden, www1)
    assert operation.plan["summary"][0] == "Nothing on warden1 is changed."
    assert (www1.hostname, www1.boot) == ("x.example.org", False)
    assert (www1.limits["children_max"], www1.limits["securelevel"], www1.limits["enforce_statfs"]) == (7, 2, 2)
    assert www1.wanted == {}
    # It still runs as it did, and that is drift now.
    assert set(found(warden)) == {"host.hostname", "children.max", "securelevel"}
    repair(warden, www1)
    assert jailed(warden, "host.hostname") == "x.example.org" and found(warden) == {}


def test_what_it_has_no_field_for_is_wanted_as_it_is(warden, www1):
    hand = '\tallow.raw_sockets;\n\texec.poststart = "logger a b", "logger \\$c";\n\tsysvmsg = new;\n\tpersist;'
    edit(warden, www1, "\tpersist;", hand)
    edit(warden, www1, "\tstop.timeout = 30;\n", "")
    edit(warden, www1, "\tdevfs_ruleset = 4;", "\tdevfs_ruleset = 5;")
    accept(warden, www1)
    assert www1.wanted == {
        "allow.raw_sockets": ["true"],
        "exec.poststart": ["logger a b", "logger $c"],
        "sysvmsg": ["new"],
        "stop.timeout": None,
        "devfs_ruleset": ["5"],
    }
    assert all(one.in_kernel and not one.in_file for one in drift.differences(www1, warden.facts()))
    # Written anew, and started, it is what was accepted.
    warden.sh("service jail onestop www1; rm /etc/jail.conf.d/www1.conf")
    repair(warden, www1)
    text = warden.read(www1.config_path)
    assert text == common.file_of(www1).text() and "stop.timeout" not in text and "devfs_ruleset = 5;" in text
    assert found(warden) == {}
    # And what is as usual again is wanted no more.
    edit(warden, www1, "\tdevfs_ruleset = 5;", "\tdevfs_ruleset = 4;\n\tstop.timeout = 30;")
    accept(warden, www1)
    assert set(www1.wanted) == {"allow.raw_sockets", "exec.poststart", "sysvmsg"}


def test_a_later_change_keeps_what_was_accepted(warden, www1):
    edit(warden, www1, "\tpersist;", "\tallow.raw_sockets;\n\tpersist;")
    accept(warden, www1)
    own = [{"network": warden.network.pk, "ip": "192.0.2.12"}]
    limits = {"quota": None, "children_max": 2, "securelevel": -1, "enforce_statfs": 2}
    wish = {"jail": str(www1.uuid), "hostname": "new.example.org", "addresses": own, "boot": True, "limits": limits}
    assert warden.do("jail_change", **wish).status == "done"
    www1.refresh_from_db()
    assert www1.wanted == {"allow.raw_sockets": ["true"]} and "allow.raw_sockets;" in warden.read(www1.config_path)
    assert found(warden) == {}
    assert warden.do("jail_rename", jail=str(www1.uuid), name="web1").status == "done"
    assert found(warden) == {}


def test_a_later_change_of_the_same_value_goes_before_what_was_accepted(warden, www1):
    edit(warden, www1, "\tpersist;", "\tchildren.max = 5000;\n\tpersist;")
    warden.sh("service jail onerestart www1")
    accept(warden, www1)
    assert www1.wanted == {"children.max": ["5000"]} and found(warden) == {}
    limits = {"quota": None, "children_max": 3, "securelevel": -1, "enforce_statfs": 2}
    own = [{"network": warden.network.pk, "ip": "192.0.2.11"}]
    wish = {"jail": str(www1.uuid), "hostname": HOSTNAME, "addresses": own, "boot": True, "limits": limits}
    assert warden.do("jail_change", **wish).status == "done"
    www1.refresh_from_db()
    assert www1.wanted == {} and found(warden) == {} and jailed(warden, "children.max") == "3"


def test_addresses_of_the_panels_networks_are_its_own_from_then_on(warden, www1):
    warden.make("db", "192.0.2.12", start=False)
    lines = '"em0|192.0.2.66/24", "em0|192.0.2.12/32", "em0|203.0.113.5/32", "192.0.2.67"'
    edit(warden, www1, "ip4.addr = em0|192.0.2.11/32;", f"ip4.addr = {lines};")
    accept(warden, www1)
    rows = Address.objects.filter(jail=www1).values_list("ip", "interface", "prefix", "operation")
    assert list(rows) == [("192.0.2.66", "em0", 24, None)]
    # Another jail's, one of no network, and one that is on no interface are the file's alone.
    assert www1.wanted == {"ip4.addr": ["192.0.2.67", "em0|192.0.2.12", "em0|203.0.113.5"]}
    warden.sh("service jail onestop www1")
    assert found(warden) == {}
    text = common.file_of(www1).text()
    assert all(ip in text for ip in ("em0|192.0.2.66/24", "em0|203.0.113.5", "192.0.2.67"))
    # Without any in the file, the panel has none either.
    edit(warden, www1, f"ip4.addr = {lines};", "ip4 = disable;")
    accept(warden, www1)
    assert www1.wanted == {} and not Address.objects.filter(jail=www1).exists() and found(warden) == {}


def test_an_address_is_reserved_when_confirmed_and_given_back(warden, www1):
    edit(warden, www1, "em0|192.0.2.11/32", "em0|192.0.2.66/32")
    operation = warden.confirm("drift_accept", jail=str(www1.uuid), parameters=["ip4.addr"])
    assert Address.objects.get(ip="192.0.2.66").operation == operation
    lifecycle.cancel(operation, user=warden.user)
    assert list(Address.objects.values_list("ip", flat=True)) == ["192.0.2.11"]


def test_a_network_of_the_host_itself_goes_first(warden, www1):
    own = Network.objects.create(name="own", cidr="192.0.2.0/24", host=warden.row)
    edit(warden, www1, "em0|192.0.2.11/32", "em0|192.0.2.66/32")
    accept(warden, www1)
    assert Address.objects.get(jail=www1).network == own


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (f"= {HOSTNAME}", '= "not a hostname"', "not a hostname"),
        ("\tdevfs_ruleset = 4;", "\tdevfs_ruleset = 0;", "must not be 0"),
        ("path = /jail/www1;", "path = /jail/other;", "its tree is the panel's own"),
        ("\tenforce_statfs = 2;", "\tenforce_statfs = 9;", "expected 0 to 2"),
        ("\tpersist;", '\tpersist;\n\texec.prestart = "\u202erm";', "contains a control character (U+202E)"),
    ],
)
def test_what_cannot_be_accepted(warden, www1, old, new, words):
    edit(warden, www1, old, new)
    assert words in refused(warden, "drift_accept", www1)


def test_what_only_runs_cannot_be_accepted_and_what_is_gone_neither(warden, www1):
    warden.sh("jail -m name=www1 allow.raw_sockets")
    assert "only what runs differs" in refused(warden, "drift_accept", www1)
    edit(warden, www1, HOSTNAME, "x.example.org")
    operation = accept(warden, www1)
    assert "allow.raw_sockets stays as it is" in operation.plan["warnings"][0] and www1.hostname == "x.example.org"
    warden.sh("rm /etc/jail.conf.d/www1.conf")
    assert "what is gone cannot be wanted" in refused(warden, "drift_accept", www1, "file")


def test_a_file_that_changes_before_it_is_noted(warden, www1):
    edit(warden, www1, HOSTNAME, "x.example.org")
    operation = warden.confirm("drift_accept", jail=str(www1.uuid), parameters=["host.hostname"])
    edit(warden, www1, "x.example.org", "z.example.org")
    assert warden.work(operation) == "stale"
    www1.refresh_from_db()
    assert www1.hostname == HOSTNAME


# Who may


def test_only_administrators_let_a_jail_have_more(warden, www1):
    operator = User.objects.create_user("olga", role=User.Role.OPERATOR)
    operator.operated_hosts.add(warden.row)
    uuid, host = str(www1.uuid), warden.row

    def widens(kind, *names):
        return kind.kind.widens(host, {"jail": uuid, "parameters": list(names) or None})

    assert widens(drift_accept, "host.hostname", "boot", "file", "persist") == []
    wide = ["allow.raw_sockets", "children.max", "exec.prestart", "mount", "nobody.knows", "sysvmsg", "ip4", "vnet"]
    assert widens(drift_accept, *wide) == wide and widens(drift_accept) == ["whatever differs"]
    # What every jail has an operator may bring back, what an administrator has once allowed not.
    assert widens(drift_repair) == widens(drift_repair, "file", "exec.start", "allow.raw_sockets", "children.max") == []
    Jail.objects.filter(pk=www1.pk).update(
        wanted={"allow.raw_sockets": ["true"]}, limits={**www1.limits, "children_max": 3}
    )
    more = ["allow.raw_sockets", "children.max"]
    assert sorted(widens(drift_repair)) == sorted(widens(drift_repair, "file")) == more
    assert widens(drift_repair, "host.hostname") == []
    edit(warden, www1, HOSTNAME, "x.example.org")
    warden.user = operator
    with pytest.raises(Exception, match="Only an administrator"):
        warden.draft("drift_repair", jail=uuid, parameters=["allow.raw_sockets"])
    with pytest.raises(Exception, match="Only an administrator"):
        warden.draft("drift_accept", jail=uuid, parameters=None)
    assert warden.draft("drift_accept", jail=uuid, parameters=["host.hostname"]).status == "draft"
    assert AuditEntry.objects.filter(outcome="refused", actor="olga").count() == 2


@pytest.mark.parametrize("name", ["ip4", "ip4.addr", "ip6", "ip6.addr", "vnet"])
def test_no_part_of_a_family_lets_an_operator_accept_the_others(warden, www1, name):
    edit(warden, www1, "ip4.addr = em0|192.0.2.11/32;", "ip4 = inherit;\n\tip6 = inherit;\n\tvnet;")
    warden.refresh()
    olga = User.objects.create_user("olga", role=User.Role.OPERATOR)
    olga.operated_hosts.add(warden.row)
    warden.user = olga
    with pytest.raises(PermissionDenied, match="Only an administrator"):
        warden.draft("drift_accept", jail=str(www1.uuid), parameters=[name])


def test_no_part_of_a_family_lets_an_operator_bring_back_the_others(warden, www1):
    Jail.objects.filter(pk=www1.pk).update(wanted={"ip4": ["inherit"], "ip6": ["inherit"]})
    for name in ("ip4", "ip4.addr", "ip6", "ip6.addr"):
        wish = {"jail": str(www1.uuid), "parameters": [name]}
        assert drift_repair.kind.widens(warden.row, wish) == [name.removesuffix(".addr")]


# Hostile values


TEXTS = st.one_of(st.text(max_size=300), st.sampled_from(["", "a\nb", "x" * 256, "\0", "\u2028"]))


@given(
    st.one_of(TEXTS, st.integers(), st.just([]), st.lists(TEXTS.filter(lambda one: not one.isprintable()), min_size=1))
)
def test_hostile_names_are_refused(names):
    for kind in (drift_repair, drift_accept):
        with pytest.raises(Refused) as refusal:
            kind.kind.clean({"jail": "7b0d3f2e-0000-4000-8000-000000000000", "parameters": names})
        assert set(refusal.value.errors) == {"parameters"}


def test_names_are_sorted_and_bounded():
    uuid = "7b0d3f2e-0000-4000-8000-000000000000"
    cleaned = drift_repair.kind.clean({"jail": uuid, "parameters": ["b", "a", "b"]})
    assert cleaned == {"jail": uuid, "parameters": ["a", "b"]}
    assert drift_repair.kind.clean({"jail": uuid})["parameters"] is None
    with pytest.raises(Refused):
        drift_repair.kind.clean({"jail": uuid, "parameters": [f"x{n}" for n in range(201)]})


@pytest.mark.parametrize("value", ['"a b; } evil { persist"', "'$(reboot)'", '"<script>"', '"${x}"'])
def test_hostile_values_go_through_as_they_are(warden, www1, value):
    warden.sh("service jail onestop www1")
    edit(warden, www1, "\tpersist;", f"\t$x = 1;\n\texec.prestart = {value};\n\tpersist;")
    text = warden.read(www1.config_path)
    (configured,) = [one for one in warden.facts().configured if one.name == "www1"]
    accept(warden, www1)
    assert tuple(www1.wanted["exec.prestart"]) == dict(configured.parameters)["exec.prestart"]
    warden.sh("rm /etc/jail.conf.d/www1.conf")
    repair(warden, www1)
    (again,) = warden.facts().configured
    assert dict(again.parameters)["exec.prestart"] == dict(configured.parameters)["exec.prestart"]
    warden.write(www1.config_path, text)
    assert found(warden) == {}
