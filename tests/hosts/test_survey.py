import json

import pytest

from jails.hosts import survey as surveys
from jails.hosts.connection import HostUnavailable
from jails.hosts.facts import HostFacts, Missing, gather
from jails.hosts.simulated_connection import SimulatedConnection
from jails.hosts.survey import HostSurvey, gather_survey

from .simulation import Simulation
from .stub import StubHost, archive

SOCKSTAT = """USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS
root     sshd       514   4  tcp4   *:22                  *:*
www      nginx      901   6  tcp4   192.0.2.10:80         *:*
"""
JLS = """{"__version": "2", "jail-information": {"jail": [{"jid":3,"name":"www1","path":"/jail/www1",
"host.hostname":"www1","dying":false,"devfs_ruleset":"4"}]}}
"""
FACTS = HostFacts(zfs=True)


@pytest.fixture
def stub(tmp_path, monkeypatch):
    given = {
        "date": "1795491443:+0100\n", "sockstat": SOCKSTAT, "ps": "  1 0\n514 0\n901 3\n", "jls": JLS,
        "rctl": "jail:www1:maxproc:deny=10\n", "devfs": "", "pfctl": (1, "", "pfctl: /dev/pf\n"), "xargs": "",
        "sysctl": "kern.securelevel=-1\nkern.racct.enable=1\n", "sshd": "", "zpool": "  pool: zroot\n state: ONLINE\n",
        "tar": archive({"/etc/fstab": "", "/etc/fstab.www1": "x", "/etc/pf.conf": b"\xff"}),
    }  # fmt: skip
    host = StubHost(tmp_path / "bin", **given)
    run = host.run

    def with_our_sshd(pipeline, **options):
        argvs = tuple(tuple(w.replace("/usr/sbin/sshd", "sshd") for w in argv) for argv in pipeline.argvs)
        return run(type(pipeline)(argvs, pipeline.stdin), **options)

    host.run = with_our_sshd
    return host


def test_all_of_it(stub):
    stub.tool("xargs", "0755 root wheel /jail\n0700 root wheel /jail/www 1\n")
    found = gather_survey(stub, FACTS)
    assert found.missing == {}
    assert [(one.jail, one.port) for one in found.sockets] == [("", 22), ("www1", 80)]
    assert [str(rule) for rule in found.rctl] == ["jail:www1:maxproc:deny=10"]
    assert (found.time, found.utc_offset, found.devfs_used) == (1795491443, 3600, (4,))
    assert found.modes["/jail"].mode == "0755" and found.modes["/jail/www 1"].owner == "root"
    assert found.files == {"/etc/fstab": "", "/etc/fstab.www1": "x"}
    assert found.pf is None and found.sshd_test == "" and found.pool_status[0].name == "zroot"


def test_it_takes_four_requests_at_most_and_loads_nothing(stub):
    gather_survey(stub, HostFacts(zfs=False))
    assert stub.requests <= 4
    assert not any(command.startswith(("zpool", "zfs")) for command in stub.commands)


def test_it_survives_json(stub):
    stub.tool("pfctl", 'Status: Enabled for 1 days\nnat-anchor "cellblock/*" all\nanchor "ftp/*" all\n')
    stub.tool("xargs", "0755 root wheel /jail\n")
    found = gather_survey(stub, FACTS)
    assert found.pf is not None and found.pf.enabled and found.pf.anchors == ("nat-anchor cellblock/*", "anchor ftp/*")
    assert HostSurvey.from_data(json.loads(json.dumps(found.to_data()))) == found


@pytest.mark.parametrize(
    ("tool", "answer", "section", "field"),
    [
        ("sockstat", (1, "", "sockstat: no\n"), "sockets", "sockets"),
        ("sockstat", "", "sockets", "sockets"),
        ("ps", "nonsense", "sockets", "sockets"),
        ("jls", (1, "", "jls: no\n"), "devfs", "devfs_used"),
        ("rctl", (1, "", "rctl: no\n"), "rctl", "rctl"),
        ("sysctl", (1, "", ""), "sysctls", "sysctls"),
        ("zpool", (1, "", "zpool: no\n"), "pools", "pool_status"),
        ("tar", (1, b"", "tar: no\n"), "files", "files"),
        ("date", "now", "time", "time"),
        ("sshd", (127, "", "sshd: not found\n"), "sshd", "sshd_test"),
        ("xargs", (127, "", ""), "modes", "modes"),
        ("xargs", "what\n", "modes", "modes"),
    ],
)
def test_a_part_that_fails_is_missing_and_no_other(stub, tool, answer, section, field):
    stub.tool(tool, answer)
    found = gather_survey(stub, FACTS)
    assert section in found.missing
    assert not getattr(found, field)
    assert set(found.missing) <= {section, "sockets"}
    with pytest.raises(Missing):
        found.require(section)


def test_rctl_where_it_is_switched_off_has_no_rules(stub):
    """As recorded: `RACCT/RCTL present, but disabled` and status 1."""
    stub.tool("rctl", (1, "", "rctl: RACCT/RCTL present, but disabled\n"))
    stub.tool("sysctl", "kern.racct.enable=0\n")
    found = gather_survey(stub, FACTS)
    assert found.rctl == () and "rctl" not in found.missing


def test_what_sshd_says_against_its_configuration(stub):
    stub.tool("sshd", (255, "", "line 5: Bad configuration option: Foo\n"))
    assert gather_survey(stub, FACTS).sshd_test == "line 5: Bad configuration option: Foo"


def test_a_file_that_is_not_text_is_not_taken_for_none(stub):
    found = gather_survey(stub, FACTS)
    assert "/etc/pf.conf" in found.unreadable
    with pytest.raises(Missing):
        found.file("/etc/pf.conf")
    assert found.file("/etc/rctl.conf") is None


def test_nothing_of_it_means_no_survey(stub):
    stub.run = lambda pipeline, **_: type("Result", (), {"rc": 1, "stdout": b"", "stderr": b"", "truncated": False})()
    with pytest.raises(HostUnavailable):
        gather_survey(stub, FACTS)


def test_it_does_not_follow_paths_that_tenants_chose():
    facts = gather_facts_of(
        [
            {"jid": 3, "name": "www1", "path": "/jail/www1", "parent": "0", "host.hostname": ""},
            {"jid": 4, "name": "www1.evil", "path": "/jail/www1/x", "parent": "3", "host.hostname": ""},
            {"jid": 5, "name": "odd", "path": "/jail/a b\n", "parent": "0", "host.hostname": ""},
        ]
    )
    assert surveys._guarding(facts) == ["/jail", "/jail/www1"]


def gather_facts_of(jails):
    from jails.freebsd import jls

    text = json.dumps({"jail-information": {"jail": jails}})
    return HostFacts(jails=jls.parse(text.encode()))


# On the simulated host


@pytest.fixture
def host(tmp_path):
    return Simulation(tmp_path / "host", "--pool", "zroot=10G", "--directory", "/jail/www1", "--racct")


def look(host):
    connection = SimulatedConnection(host.directory)
    return gather_survey(connection, gather(connection))


def test_a_fresh_host(host):
    found = look(host)
    assert found.missing == {}
    assert {(one.command, one.proto, one.ip, one.port) for one in found.sockets} == {
        ("sshd", "tcp4", "*", 22),
        ("sshd", "tcp6", "*", 22),
        ("syslogd", "udp4", "*", 514),
        ("syslogd", "udp6", "*", 514),
    }
    assert found.pool_status[0].vdevs == ("disk",) and found.modes["/jail"].mode == "0755"
    assert found.devfs_rulesets == (1, 2, 3, 4) and abs(found.skew) < 60


def test_daemons_listen_where_their_files_say(host):
    host.run("sh", "-c", "echo 'ListenAddress 192.0.2.2' >> /etc/ssh/sshd_config; service sshd reload")
    host.run("sysrc", "syslogd_flags=-ss")
    host.run("service", "syslogd", "restart")
    found = look(host)
    assert {(one.command, one.ip, one.port) for one in found.sockets} == {("sshd", "192.0.2.2", 22)}
    assert found.sshd_test == ""


def test_a_daemon_of_a_jail_is_the_jails(host):
    host.run("sh", "-c", "mkdir -p /jail/www1/etc/ssh /jail/www1/var/run; cp /etc/passwd /jail/www1/etc/")
    host.run("ifconfig", "em0", "192.0.2.10/32", "alias")
    host.run("jail", "-c", "name=www1", "path=/", "ip4.addr=192.0.2.10", "persist")
    host.run("jexec", "www1", "service", "syslogd", "onestart")
    (socket,) = [one for one in look(host).sockets if one.jail]
    assert (socket.jail, socket.command, socket.ip, socket.port) == ("www1", "syslogd", "192.0.2.10", 514)


def test_sshd_refuses_nonsense_and_goes_on_as_it_was(host):
    host.run("sh", "-c", "echo Foo >> /etc/ssh/sshd_config; service sshd restart || true")
    found = look(host)
    assert "Bad configuration option: Foo" in found.sshd_test
    assert any(one.command == "sshd" for one in found.sockets)


def test_what_is_left_behind(host):
    host.run("sh", "-c", "mkdir -p /var/run/cellblock /var/db/freebsd-update; touch /var/run/cellblock/a.lock")
    host.run("ln", "-s", "install.x", "/var/db/freebsd-update/abc-install")
    host.run("rctl", "-a", "jail:gone:maxproc:deny=10")
    found = look(host)
    assert found.locks == ("a.lock",) and found.updates == ("abc-install",)
    assert [str(rule) for rule in found.rctl] == ["jail:gone:maxproc:deny=10"]
