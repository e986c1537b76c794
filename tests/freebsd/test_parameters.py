"""The table of jail(8) parameters, held to what real hosts and the sources say."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd.jailconf import read, render_jail
from jails.freebsd.parameters import TABLE, Change, Kind, Setter, change, find, setter, validate

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)

# What `jls -n` of 12.1 prints for a jail without vnet.
ON_12_1 = """\
devfs_ruleset=0 nodying enforce_statfs=2 host=new ip4=disable ip6=disable jid=2 name=alpha osreldate=1201517
osrelease=12.1-STABLE parent=0 path=/jails/alpha persist securelevel=-1 sysvmsg=disable sysvsem=disable
sysvshm=disable vnet=inherit allow.nochflags allow.nomlock allow.nomount allow.mount.nodevfs allow.mount.nofdescfs
allow.mount.nonullfs allow.mount.noprocfs allow.mount.notmpfs allow.mount.nozfs allow.noquotas allow.noraw_sockets
allow.noread_msgbuf allow.reserved_ports allow.set_hostname allow.nosocket_af allow.nosysvipc children.cur=0
children.max=0 cpuset.id=2 host.domainname= host.hostid=0 host.hostname=alpha.example.org host.hostuuid=0
ip4.addr=10.0.2.50 ip4.saddrsel ip6.addr= ip6.saddrsel
"""


@pytest.mark.parametrize("name", [word.partition("=")[0] for word in ON_12_1.split()])
def test_knows_what_a_12_1_kernel_reports(name):
    assert find(name) is not None
    assert find(name).since is None


@pytest.mark.parametrize("name", re.findall(r"allow\.\S+", ON_12_1))
def test_permissions_are_by_default_as_a_new_jail_has_them(name):
    assert find(name).default == ("true" if name in TABLE else "false")


@pytest.mark.parametrize("parameter", TABLE.values(), ids=lambda parameter: parameter.name)
def test_every_entry_is_complete(parameter):
    assert parameter.help.endswith(".")
    assert len(parameter.help) < 120
    assert re.fullmatch(r"[a-z-]+\([1-8]\)", parameter.man)
    assert bool(parameter.choices) == (parameter.kind is Kind.CHOICE)
    assert bool(parameter.why) == (parameter.change in (Change.RESTART, Change.NEVER))


@pytest.mark.parametrize("name", ["jid", "path", "osreldate", "osrelease", "vnet", "ip4", "ip6"])
def test_what_the_kernel_fixes_at_creation_is_never_live(name):
    """CTLFLAG_RDTUN in sys/kern/kern_jail.c."""
    assert change(name) in (Change.RESTART, Change.NEVER)


@pytest.mark.parametrize(
    "name",
    ["host.hostname", "securelevel", "enforce_statfs", "children.max", "allow.mount", "allow.noraw_sockets", "persist"],
)
def test_what_jail_m_changed_on_a_real_host_is_live(name):
    assert change(name) is Change.LIVE


def test_addresses_are_live_only_off_interfaces():
    assert change("ip4.addr") is Change.RESTART
    assert change("ip4.addr", on_interface=False) is Change.LIVE


def test_what_is_unknown_needs_an_administrator_and_a_restart():
    assert (setter("new.parameter"), change("new.parameter")) == (Setter.ADMINISTRATOR, Change.RESTART)


WIDENING = re.compile(
    r"(exec\.|allow\.|mount|zfs\.|linux)|(path|command|devfs_ruleset|enforce_statfs|children\.max|securelevel|"
    r"vnet|vnet\.interface|ip4|ip6|host|ip_hostname|mac\.label)$"
)


@pytest.mark.parametrize("parameter", TABLE.values(), ids=lambda parameter: parameter.name)
def test_only_administrators_widen_a_jail(parameter):
    if WIDENING.match(parameter.name):
        assert parameter.setter is Setter.ADMINISTRATOR
    else:
        assert parameter.setter in (Setter.TENANT, Setter.OPERATOR, Setter.NOBODY)


def test_tenants_set_the_hostname_and_nothing_else():
    assert [name for name, parameter in TABLE.items() if parameter.setter is Setter.TENANT] == ["host.hostname"]


@pytest.mark.parametrize("name", ["sysvmsg", "sysvsem", "sysvshm"])
def test_sharing_the_hosts_ipc_needs_an_administrator(name):
    assert setter(name, "new") is Setter.OPERATOR
    assert setter(name, "inherit") is Setter.ADMINISTRATOR
    assert setter(name, ["new", "inherit"]) is Setter.ADMINISTRATOR


@pytest.mark.parametrize(
    ("written", "name"),
    [("allow.nomount", "allow.mount"), ("nopersist", "persist"), ("ip4.nosaddrsel", "ip4.saddrsel"), ("env.K", "env")],
)
def test_finds_names_as_they_are_written(written, name):
    assert find(written) is TABLE[name]


@pytest.mark.parametrize("name", ["noallow.mount", "nopath", "exec", "ip4.", "", "env.", "allow.nosuch", "nono"])
def test_finds_no_other_names(name):
    assert find(name) is None
    assert validate(name, "x").startswith(f"{name}: is not a parameter")


GOOD = [
    ("path", "/jail/www1"),
    ("host.hostname", "www1.example.org"),
    ("ip4.addr", ["192.0.2.10", "em0|192.0.2.11/24", "192.0.2.12/255.255.255.0"]),
    ("ip6.addr", "vtnet0|2001:db8::1/64"),
    ("securelevel", -1),
    ("securelevel", "3"),
    ("children.max", 5),
    ("persist", None),
    ("persist", False),
    ("allow.nomount", True),
    ("allow.mount", "true"),
    ("vnet", None),
    ("vnet", "new"),
    ("vnet.interface", ["epair0b", "epair1b"]),
    ("depend", ["db", "has.child"]),
    ("exec.start", ["/bin/sh /etc/rc", "/bin/sh /etc/rc"]),
    ("mount", "/usr/ports /jail/www1/usr/ports nullfs ro 0 0"),
    ("mount.fstab", "/etc/fstab.www1"),
    ("exec.consolelog", "/var/log/jail_www1_console.log"),
    ("host.hostuuid", "00000000-0000-0000-0000-000000000000"),
    ("osrelease", "14.2-RELEASE"),
    ("zfs.dataset", "zroot/data"),
    ("env.KEY", "value"),
    ("env.KEY", None),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_good_values_pass_and_can_be_written(name, value):
    assert validate(name, value) is None
    assert read(render_jail("a", {name: value}, header="")).stderr == ""


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("path", "jail/www1", "must be absolute"),
        ("path", "/jail/../etc", "“..”"),
        ("path", ["/a", "/b"], "takes one value, not 2"),
        ("path", None, "needs a value"),
        ("path", [], "takes one value"),
        ("host.hostname", "a b", "only letters"),
        ("ip4.addr", "2001:db8::1", "expected IPv4"),
        ("ip4.addr", "em0 x|192.0.2.1", "an interface that"),
        ("ip4.addr", "192.0.2.1/33", "expected 0 to 32"),
        ("ip4.addr", "192.0.2.1/255.0.255.0", "not all in front"),
        ("ip4.addr", "192.0.2.1/24 vhid 1", "only"),
        ("ip4.addr", ["192.0.2.1", "192.0.2.1"], "twice"),
        ("ip6.addr", "192.0.2.1", "expected IPv6"),
        ("securelevel", "banana", "whole number"),
        ("securelevel", 4, "expected -1 to 3"),
        ("enforce_statfs", 5, "expected 0 to 2"),
        ("children.max", -1, "expected 0 to"),
        ("children.max", "abc", "whole number"),
        ("devfs_ruleset", 0, "hides no device"),
        ("allow.raw_sockets", "maybe", "expected true or false"),
        ("ip4", "shared", "expected disable or inherit or new"),
        ("vnet", "disable", "expected inherit or new"),
        ("vnet.interface", None, "needs a value"),
        ("vnet", False, "needs a value"),
        ("vnet.interface", "a" * 16, "at most 15"),
        ("depend", "*", "several jails"),
        ("exec.start", "a\nb", "U+000A"),
        ("exec.start", "  ", "empty command"),
        ("mount", "/usr/ports", "not a line of fstab"),
        ("mount", "# /a /b nullfs", "not a line of fstab"),
        ("mount", "/a b nullfs ro", "mount point that must be absolute"),
        ("host.hostuuid", "x", "not a UUID"),
        ("osrelease", "14.2 RELEASE", "not a release"),
        ("jid", 5, "cannot be set"),
        ("dying", True, "cannot be set"),
        ("meta", "x" * 1001, "at most 1000"),
    ],
)
def test_bad_values_are_refused_with_the_parameter_named(name, value, message):
    problem = validate(name, value)
    assert problem.startswith(f"{name}: ")
    assert message in problem


@given(st.sampled_from(sorted(TABLE)), VALUES)
def test_what_passes_can_be_written_and_read_back(name, value):
    if validate(name, value) is None and name != "name":
        conf = read(render_jail("a", {name: value}, header=""))
        assert (conf.stderr, len(conf.jails[0].parameters)) == ("", 2)


def test_recorded_refusals_are_refused_here_too():
    for name, value in (("allow.raw_sockets", "maybe"), ("securelevel", "banana"), ("nosuchparam", "1")):
        assert validate(name, value)


def test_what_hosts_said_is_fixed_is_fixed_here():
    """Every “cannot be changed after creation” of the recordings."""
    said = set()
    for file in [*TRANSCRIPTS.glob("*.session.json"), *TRANSCRIPTS.glob("samples/*.json")]:
        recorded = json.loads(file.read_text())
        for command in recorded["commands"] if isinstance(recorded, dict) else recorded:
            said |= set(re.findall(r"jail: (\S+) cannot be changed after creation", command.get("stderr") or ""))
    assert {"path", "ip4"} <= said
    assert all(change(name) is Change.RESTART for name in said)
