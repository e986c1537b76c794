"""What belongs to nobody, by facts, survey and rows made by hand. Each thing has an owner in every test but one."""

import sys

import pytest

from jails.freebsd.devfs import Ruleset
from jails.freebsd.ifconfig import Address, Interface
from jails.freebsd.jls import Jail as RunningJail
from jails.freebsd.mount import Mount
from jails.freebsd.rctl import Rule
from jails.freebsd.sockstat import Socket
from jails.hosts import orphans
from jails.hosts.facts import HostFacts
from jails.hosts.orphans import Known, Rows
from jails.hosts.survey import HostSurvey
from jails.hosts.zfs_reader import Dataset, Snapshot

ENDED = "11111111-2222-4333-8444-555555555555"
OPEN = "22222222-2222-4333-8444-555555555555"
SURVEY = HostSurvey()


def find(facts=None, survey=SURVEY, rows=None, **given):
    """key → orphan."""
    found = orphans.find(facts or HostFacts(zfs=True, **given), survey, rows or Rows())
    assert found.unknown == ()
    return {orphan.key: orphan for orphan in found.orphans}


def unknown(survey=SURVEY, **given):
    return dict(orphans.find(HostFacts(zfs=True, **given), survey, Rows()).unknown)


def running(name, path="", **more):
    given = {"jid": 1, "hostname": name, "dying": False, "vnet": False, "ip4": "new", "ip6": "disable"}
    given |= {"ip4_addresses": (), "ip6_addresses": (), "parameters": {}}
    return RunningJail(name=name, path=path or f"/jail/{name}", **(given | more))


def conf(text):
    return {"/etc/jail.conf": text}


def interface(name, *ips, **more):
    addresses = tuple(
        Address("inet6" if ":" in ip else "inet", ip.partition("/")[0], int(ip.partition("/")[2] or 32)) for ip in ips
    )
    return Interface(name, ("UP",), 1500, addresses=addresses, **more)


# Datasets

OLD = Dataset("zroot/cellblock/host/old", mountpoint="/jail/old", mounted=True, used=5, creation=7)
HOLDERS = (Dataset("zroot"), Dataset("zroot/cellblock"), Dataset("zroot/cellblock/host"))


def test_a_dataset_without_a_jail():
    one = find(datasets=(*HOLDERS, OLD))["dataset:zroot/cellblock/host/old"]
    assert (one.size, one.kept, one.commands) == (5, "", (("zfs", "destroy", "zroot/cellblock/host/old"),))


@pytest.mark.parametrize(
    "owner",
    [
        {"jails": (running("x", "/jail/old"),)},
        {"jails": (running("x", "/jail/old/deep"),)},
        {"jails": (running("x", "/jail/old", dying=True),)},
        {"files": conf('old { path = "/jail/$name"; }')},
        {"files": conf("# kept for Ada: /jail/old\n")},
        {"mounts": (Mount("/jail/old/ports", "/mnt", "nullfs", ("rw",)),)},
        {"rows": Rows(jails=(Known("x", dataset="zroot/cellblock/host/old"),))},
        {"rows": Rows(jails=(Known("x", dataset="zroot/cellblock/host/old/deep"),))},
        {"rows": Rows(jails=(Known("x", path="/jail/old"),))},
        {"rows": Rows(datasets=frozenset({"zroot/cellblock/host"}))},
        {"survey": HostSurvey(files={"/etc/fstab": "/jail/old /mnt nullfs rw 0 0\n"})},
    ],
)
def test_a_dataset_with_an_owner(owner):
    assert find(datasets=(*HOLDERS, OLD), **owner) == {}


def test_a_dataset_of_an_operation_that_goes_on_is_its_own():
    made = Dataset("zroot/cellblock/host/new", marks={"cellblock:operation": OPEN})
    draft = Dataset(f"zroot/cellblock/host/x.{OPEN}")
    assert find(datasets=(made, draft), rows=Rows(open=frozenset({OPEN}))) == {}
    assert len(find(datasets=(made, draft), rows=Rows(ended=frozenset({OPEN})))) == 2


def test_what_only_holds_others_is_nobodys_only_where_no_tenant_has_its_name():
    slug = (*HOLDERS, Dataset("zroot/cellblock/acme"))
    assert list(find(datasets=slug)) == ["dataset:zroot/cellblock/acme"]
    assert find(datasets=slug, rows=Rows(containers=frozenset({"host", "acme"}))) == {}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"datasets": (OLD, Dataset("zroot/x", origin="zroot/cellblock/host/old@a"))}, "zroot/x is a clone"),
        ({"datasets": (OLD,), "snapshots": (Snapshot("zroot/cellblock/host/old@a", userrefs=1),)}, "zfs holds"),
        ({"datasets": (OLD,), "mounts": (Mount("/ports", "/jail/old/p", "nullfs", ()),)}, "mounted in it"),
        ({"datasets": (OLD,), "doubtful": (OLD.name,)}, "pretends"),
    ],
)
def test_a_dataset_that_stays_says_why(more, why):
    assert why in find(**more)["dataset:zroot/cellblock/host/old"].kept


def test_snapshots_go_by_name_before_their_dataset():
    snapshot = Snapshot("zroot/cellblock/host/old@monday", creation=9)
    commands = find(datasets=(OLD,), snapshots=(snapshot,))["dataset:zroot/cellblock/host/old"].commands
    assert [argv[-1] for argv in commands] == ["zroot/cellblock/host/old@monday", "zroot/cellblock/host/old"]
    assert all("-r" not in argv and "-R" not in argv for argv in commands)


@pytest.mark.parametrize("tool", orphans.TOOLS)
def test_a_dataset_of_another_tool_is_that_tools_to_remove(tool):
    place = orphans.TOOLS[tool]
    here = Dataset(f"tank/{place}/web", mountpoint=f"/{place}/web", mounted=True)
    away = Dataset(f"tank/{place}/db")
    found = find(datasets=(here, away, Dataset("tank/iocage"), Dataset("tank/iocage/releases/14.2/root")))
    # What is not mounted was not looked into.
    assert set(found) == {f"dataset:{here.name}"}
    assert tool in found[f"dataset:{here.name}"].kept and found[f"dataset:{here.name}"].commands == ()
    some_file = {f"/{place}/web/config.json": "not even JSON"}
    assert find(datasets=(here,), files=some_file) == {}
    assert unknown(datasets=(here,), missing={"files": "no"}).keys() == {""}


@pytest.mark.parametrize(
    "base",
    [
        Dataset("zroot/cellblock/releases/14.2-RELEASE-amd64"),
        Dataset("zroot/cellblock/templates/web"),
        Dataset("zroot/cellblock/acme/base", marks={"cellblock:release": "14.2-RELEASE"}),
        Dataset("zroot/cellblock/acme/base", marks={"cellblock:template": "web"}),
    ],
)
def test_releases_and_templates_that_this_panel_does_not_know_are_left_to_a_person(base):
    one = find(datasets=(base,))[f"dataset:{base.name}"]
    assert "another panel" in one.kept and one.commands == ()
    assert find(datasets=(base,), rows=Rows(datasets=frozenset({base.name}))) == {}


def test_a_snapshot_that_a_clone_holds_is_shown_and_not_to_be_removed():
    held = Snapshot("zroot/cellblock/releases/13.1@cellblock", clones=("zroot/x",))
    one = find(snapshots=(held,))["snapshot:zroot/cellblock/releases/13.1@cellblock"]
    assert one.kept == "zroot/x is a clone of it: it goes with the last." and one.commands == ()
    assert find(snapshots=(held,), rows=Rows(datasets=frozenset({"zroot/cellblock/releases/13.1"}))) == {}


# Mounts

DEV = Mount("devfs", "/jail/old/dev", "devfs", ("rw",))


def test_a_mount_of_a_jail_that_does_not_run():
    found = find(mounts=(DEV, Mount("devfs", "/dev", "devfs", ())))
    assert list(found) == ["mount:/jail/old/dev"] and found["mount:/jail/old/dev"].jail == "old"
    assert "mount:/usr/jails/x/dev" in find(
        mounts=(Mount("devfs", "/usr/jails/x/dev", "devfs", ()),), files=conf("x { path = /usr/jails/x; }")
    )


@pytest.mark.parametrize(
    "owner",
    [
        {"jails": (running("old"),)},
        {"jails": (running("old", dying=True),)},
        {"jails": (running("deep", "/jail/old/inner"),)},
        {"survey": HostSurvey(files={"/etc/fstab": "devfs /jail/old/dev devfs rw 0 0\n"})},
    ],
)
def test_a_mount_with_an_owner(owner):
    assert find(mounts=(DEV,), **owner) == {}


def test_datasets_are_no_mounts_and_doubtful_lines_are_left_alone():
    zfs = Mount("zroot/x", "/jail/old/data", "zfs", ())
    assert find(mounts=(zfs, Mount("a", "/jail/old/x", "nullfs", (), ambiguous=True))) == {}


# Interfaces

PAIR = (interface("epair3a", ether="02:00:00:00:00:0a"), interface("epair3b", ether="02:00:00:00:00:0b"))


def test_a_pair_with_both_ends_on_the_host():
    bridge = interface("bridge0", members=("em0", "epair3a"))
    one = find(interfaces=(*PAIR, bridge))["epair:epair3a"]
    assert one.commands == (("ifconfig", "bridge0", "deletem", "epair3a"), ("ifconfig", "epair3a", "destroy"))


@pytest.mark.parametrize(
    "owner",
    [
        {"interfaces": PAIR[:1]},
        {"interfaces": (PAIR[0], interface("epair3b", "10.0.0.1/24"))},
        {"interfaces": (*PAIR, interface("bridge0", members=("epair3b",)))},
        {"interfaces": (*PAIR, interface("vlan5", vlan_parent="epair3b"))},
        {"interfaces": PAIR, "files": {"/etc/rc.conf": 'cloned_interfaces="bridge0 epair3"\n'}},
        {"interfaces": PAIR, "files": conf("x { vnet; vnet.interface = epair3b; }")},
        {"interfaces": PAIR, "survey": HostSurvey(files={"/etc/rc.local": "ifconfig epair3a up\n"})},
    ],
)
def test_a_pair_in_use(owner):
    assert find(**owner) == {}


def test_a_renamed_pair_is_known_by_its_group():
    a, b = interface("e0a_web", groups=("epair",), ether="02:00:00:00:00:0a"), interface("e0b_web")
    one = find(interfaces=(a, b))["epair:e0a_web"]
    assert one.commands == (("ifconfig", "e0a_web", "destroy"),) and one.jail == "web"
    assert find(interfaces=(interface("e0a_web"), b)) == {}, "no pair, whatever its name"
    assert find(interfaces=(a,)) == {} and find(interfaces=(a, interface("e0b_db"))) == {}
    assert find(interfaces=(a, b), files=conf("web { }")) == {}
    assert find(interfaces=(a, b), files=conf("x { vnet.interface = e0b_web; }")) == {}
    # Both may be the host's ends of two pairs.
    strangers = interface("web1a", groups=("epair",)), interface("web1b", groups=("epair",))
    assert find(interfaces=strangers) == {}


def test_pairs_are_not_looked_for_while_a_jail_with_a_stack_of_its_own_is_dying():
    dying = running("x", vnet=True, dying=True)
    assert "dying" in unknown(interfaces=PAIR, jails=(dying,))["epair"]


OFFICE = Rows(networks=("192.0.2.0/24", "2001:db8::/64"))


@pytest.mark.parametrize("ip", ["192.0.2.77/32", "203.0.113.5/32", "192.0.2.77/24", "2001:db8::77/128"])
def test_an_address_that_nobody_has(ip):
    found = find(interfaces=(interface("em0", "192.0.2.2/24", "2001:db8::2/64", ip),), rows=OFFICE)
    assert list(found) == [f"alias:{ip.partition('/')[0]}"]


@pytest.mark.parametrize(
    "owner",
    [
        {"jails": (running("x", ip4_addresses=("192.0.2.77",)),)},
        {"jails": (running("x", dying=True, ip4_addresses=("192.0.2.77",)),)},
        {"files": conf('x { ip4.addr = "em0|192.0.2.77/32"; }')},
        {"files": {"/etc/rc.conf": 'ifconfig_em0_alias0="inet 192.0.2.77/32"\n'}},
        {"files": {"/etc/rc.conf": 'ifconfig_em0_aliases="inet 192.0.2.70-80/32"\n'}},
        {"survey": HostSurvey(files={"/etc/rc.conf.d/netif": 'ifconfig_em0_alias0="192.0.2.77/32"\n'})},
        {"rows": Rows(jails=(Known("x", addresses=("192.0.2.77",)),))},
        {"rows": Rows(own=frozenset({"192.0.2.77"}))},
    ],
)
def test_an_address_with_an_owner(owner):
    assert find(interfaces=(interface("em0", "192.0.2.2/24", "192.0.2.77/32"),), **owner) == {}


@pytest.mark.parametrize(
    "one",
    [
        interface("em0", "203.0.113.5/24"),
        interface("lo0", "127.0.0.1/8", "127.0.0.53/32"),
        interface("wg0", "10.0.0.5/32", groups=("wg",)),
        interface("tun3", "10.0.0.5/32"),
        Interface("em0", (), 1500, addresses=(Address("inet", "192.0.2.77", 32, ("vhid",)),)),
    ],
)
def test_addresses_that_are_the_hosts_own_business(one):
    assert find(interfaces=(one,), rows=OFFICE) == {}


@pytest.mark.parametrize("ip", ["192.0.2.2/32", "2001:db8::2/128"])
def test_the_first_address_of_a_family_is_the_hosts_own(ip):
    em0 = interface("em0", "fe80::1/64", "169.254.1.1/16", ip)
    assert find(interfaces=(em0,), rows=OFFICE) == {}
    assert len(find(interfaces=(interface("lo1", ip),), rows=OFFICE)) == 1


@pytest.mark.parametrize("flag", ["autoconf", "temporary"])
def test_what_the_host_made_of_an_advertisement_is_its_own(flag):
    def em0(*flags):
        second = Address("inet6", "2001:db8::77", 64, flags)
        return Interface("em0", ("UP",), 1500, addresses=(Address("inet6", "2001:db8::2", 64), second))

    assert list(find(interfaces=(em0(),), rows=OFFICE)) == ["alias:2001:db8::77"]
    assert find(interfaces=(em0(flag),), rows=OFFICE) == {}
    # Nor is the next one its first because this one was not looked at.
    assert find(interfaces=(interface("em0", "2001:db8::77/64"),), rows=OFFICE) == {}


@pytest.mark.parametrize(
    "line",
    [
        'ifconfig_em0="DHCP"',
        'ifconfig_em0="up SYNCDHCP"',
        "ifconfig_em0=dhcp",
        'ifconfig_DEFAULT="DHCP"',
        'ifconfig_em0_ipv6="inet6 accept_rtadv"',
        'test -e /x && ifconfig_em0="DHCP"',
    ],
)
def test_interfaces_that_get_their_addresses_are_left_alone(line):
    em0 = interface("em0", "192.0.2.2/24", "192.0.2.77/32")
    assert find(interfaces=(em0,), files={"/etc/rc.conf": f"{line}\n"}) == {}
    survey = HostSurvey(files={"/etc/rc.conf.d/netif": f"{line}\n"})
    assert find(interfaces=(em0,), survey=survey) == {}
    for other in (line.replace("em0", "em1"), f"# {line}"):
        if "DEFAULT" not in other or other[0] == "#":
            assert len(find(interfaces=(em0,), files={"/etc/rc.conf": f"{other}\n"})) == 1


@pytest.mark.parametrize("word", ["192.0.2.77:80", "em0:192.0.2.77", "[2001:db8::77]:80", "2001:db8::77."])
def test_addresses_that_any_variable_names_are_somebodys(word):
    ip = "192.0.2.77/32" if "192" in word else "2001:db8::77/128"
    em0 = interface("em0", "192.0.2.2/24", "2001:db8::2/64", ip)
    assert find(interfaces=(em0,), files={"/etc/rc.conf": f'nginx_flags="{word}"\n'}) == {}
    assert len(find(interfaces=(em0,), files={"/etc/rc.conf": 'x="192.0.2.7 192.0.2.177 2001:db8::7"\n'})) == 1


def test_an_address_that_a_daemon_of_the_host_was_bound_to_stays():
    def held(*sockets):
        em0 = interface("em0", "192.0.2.2/24", "192.0.2.77/32")
        (one,) = find(interfaces=(em0,), survey=HostSurvey(sockets=sockets)).values()
        return one.kept

    assert "unbound of the host" in held(Socket("unbound", "unbound", 5, "udp4", "192.0.2.77", 53))
    ntpd = Socket("root", "ntpd", 5, "udp4", "192.0.2.77", 123), Socket("root", "ntpd", 5, "udp4", "*", 123)
    assert held(*ntpd) == ""


def test_an_address_written_otherwise_in_a_file():
    em0 = interface("em0", "2001:db8::2/64", "2001:db8::77/128")
    for text in ("2001:DB8:0:0::77", "2001:db8::70-7f"):
        assert find(interfaces=(em0,), rows=OFFICE, files={"/etc/rc.conf": f'x="inet6 {text}/128"\n'}) == {}


# Tables of the kernel


def test_limits_of_a_jail_that_is_gone():
    rules = (Rule("jail", "gone", "maxproc", "deny", 10), Rule("user", "ada", "maxproc", "deny", 10))
    found = find(survey=HostSurvey(rctl=rules))
    assert list(found) == ["rctl:jail:gone:maxproc:deny=10"]
    assert find(survey=HostSurvey(rctl=rules), jails=(running("gone"),)) == {}
    assert find(survey=HostSurvey(rctl=rules), files=conf("gone { }")) == {}
    assert find(survey=HostSurvey(rctl=rules), rows=Rows(jails=(Known("gone"),))) == {}
    at_boot = {"/etc/rctl.conf": "jail:gone:maxproc:deny=20 # at boot\n"}
    assert find(survey=HostSurvey(rctl=rules, files=at_boot)) == {}


def test_a_limit_that_no_command_can_name_is_left_to_a_person():
    (one,) = find(survey=HostSurvey(rctl=(Rule("jail", "a b", "maxproc", "deny", 10),))).values()
    assert "by hand" in one.kept and one.commands == ()


def test_device_rules_that_nobody_is_held_to():
    rules = (Ruleset(4, ("100 include 1",)), Ruleset(17, ("100 include 18",)), Ruleset(18, ("100 hide",)))
    assert set(find(survey=HostSurvey(devfs_rules=rules))) == {"devfs:17", "devfs:18"}
    held = HostSurvey(devfs_rules=rules, devfs_used=(17,))
    assert find(survey=held) == {}, "what a set in use includes is in use"
    for text in ("[mine=17]\nadd hide\n[more=18]\n",):
        assert find(survey=HostSurvey(devfs_rules=rules, files={"/etc/devfs.rules": text})) == {}
    for files in (
        conf("x { devfs_ruleset = 17; }"),
        {"/etc/rc.conf": 'devfs_system_ruleset="17"\n'},
        {"/x/config.json": '{"devfs_ruleset": "17"}'},
    ):
        assert find(survey=HostSurvey(devfs_rules=rules), files=files) == {}


# Files


def test_a_file_of_mounts_of_no_jail():
    texts = {"/etc/fstab": "", "/etc/fstab.gone": "x\n", "/etc/fstab.bak": "y\n"}
    found = find(survey=HostSurvey(files=texts))
    assert set(found) == {"fstab:/etc/fstab.gone", "fstab:/etc/fstab.bak"}
    assert found["fstab:/etc/fstab.gone"].kept == "" and "by hand" in found["fstab:/etc/fstab.bak"].kept
    for files in (conf("gone { }"), conf("x { mount.fstab = /etc/fstab.gone; }")):
        assert set(find(survey=HostSurvey(files=texts), files=files)) == {"fstab:/etc/fstab.bak"}


def test_names_in_a_file_are_as_rc_d_writes_them():
    assert find(survey=HostSurvey(files={"/etc/fstab.my_jail": ""}), files=conf("my-jail { }")) == {}


def test_what_operations_left():
    names = {"/jail": (f".www1.{ENDED}", f".www2.{OPEN}", "www3"), "/etc/jail.conf.d": (f".www1.conf.{ENDED}",)}
    locks = HostSurvey(locks=(ENDED, OPEN, "readme"))
    rows = Rows(open=frozenset({OPEN}), ended=frozenset({ENDED}))
    found = find(names=names, survey=locks, rows=rows)
    assert set(found) == {
        f"draft:/jail/.www1.{ENDED}",
        f"draft:/etc/jail.conf.d/.www1.conf.{ENDED}",
        f"lock:/var/run/cellblock/{ENDED}",
    }
    assert all(not one.kept for one in found.values())
    strange = find(names=names, survey=locks)
    assert len(strange) == 5 and all("another panel" in one.kept for one in strange.values())


# Work


def test_ten_times_the_jails_are_ten_times_the_work():
    """Counted in lines run of the module: it does not depend on the machine."""

    def lines(count):
        numbers = range(count)
        facts = HostFacts(
            zfs=True,
            jail_root="/jail",
            jails=tuple(running(f"j{n}") for n in numbers),
            datasets=tuple(
                Dataset(f"zroot/cellblock/host/j{n}", mountpoint=f"/jail/j{n}", mounted=True) for n in numbers
            ),
            mounts=tuple(Mount("devfs", f"/jail/j{n}/dev", "devfs", ()) for n in numbers),
        )
        ran = 0

        def trace(frame, event, argument):
            nonlocal ran
            if frame.f_code.co_filename != orphans.__file__:
                return None
            ran += 1
            return trace

        sys.settrace(trace)
        try:
            assert find(facts, rows=Rows(jails=tuple(Known(f"j{n}", f"/jail/j{n}") for n in numbers))) == {}
        finally:
            sys.settrace(None)
        return ran

    assert lines(200) < 15 * lines(20)


# What is not known


@pytest.mark.parametrize("section", ["jails", "files", "names", "mounts"])
def test_nothing_is_an_orphan_where_an_owner_could_be_unseen(section):
    found = orphans.find(HostFacts(zfs=True, datasets=(OLD,), missing={section: "no"}), SURVEY, Rows())
    assert found.orphans == () and found.unknown == (("", f"{section}: no"),)


def test_nor_where_a_file_of_jails_is_unreadable_or_nonsense():
    assert unknown(datasets=(OLD,), unreadable=("/etc/jail.conf",)) == {
        "": "/etc/jail.conf: it is not text, or too long, and may describe a jail"
    }
    assert "/etc/jail.conf.d/x.conf" in unknown(files={"/etc/jail.conf.d/x.conf": "x { path = "})[""]
    assert unknown(files={"/etc/jail.conf": "# no jails yet\n", "/etc/rc.conf": "x {"}) == {}


def test_what_a_survey_could_not_read_is_one_kind_less():
    assert set(unknown(survey=HostSurvey(missing={"rctl": "no"}))) == {"rctl"}
    assert set(unknown(survey=HostSurvey(missing={"files": "no"}))) == {
        "dataset", "mount", "epair", "alias", "rctl", "devfs", "fstab",
    }  # fmt: skip
    assert set(unknown(survey=None)) == {"dataset", "mount", "epair", "alias", "rctl", "devfs", "fstab", "lock"}
    assert set(unknown(missing={"zfs": "no"})) == {"dataset", "snapshot"}


@pytest.mark.parametrize(
    "pattern", ["/usr/local/etc/jails/*.conf", "/usr/local/etc/jails/old.conf", "/etc/jail.conf.d/*"]
)
def test_nor_where_a_file_that_is_not_read_may_describe_a_jail(pattern):
    facts = {"userland": "14.2-RELEASE", "files": conf(f'a {{ path = "/jail/a"; }}\n.include "{pattern}";\n')}
    assert pattern in unknown(**facts)[""]
    read = {**facts, "files": conf('.include "/etc/jail.conf.d/*.conf";\n.include "/etc/jail.*.conf";\n')}
    assert unknown(**read) == {}


@pytest.mark.parametrize(
    ("mount", "stays"),
    [
        (Mount("tmpfs", "/jail/old/tmp", "tmpfs", ("rw",)), True),
        (Mount("/dev/md3", "/jail/old/tmp", "ufs", ("rw",)), True),
        (Mount("/data", "/jail/old/tmp", "nullfs", ("rw",)), False),
    ],
)
def test_what_is_in_memory_only_is_not_thrown_away(mount, stays):
    one = find(mounts=(mount,))["mount:/jail/old/tmp"]
    assert ("in memory only" in one.kept, bool(one.commands)) == (stays, not stays)


def test_a_mount_that_a_script_of_the_host_makes_is_its_own():
    mounts = (Mount("/data", "/jail/old/data", "nullfs", ("rw",)),)
    survey = HostSurvey(files={"/etc/rc.local": "mount -t nullfs /data /jail/old/data\n"})
    assert find(mounts=mounts, survey=survey) == {} and find(mounts=mounts) != {}


def test_a_host_that_is_reached_by_a_name_may_be_reached_at_any_address():
    em0 = interface("em0", "192.0.2.2/24", "192.0.2.9/32")
    assert find(interfaces=(em0,))["alias:192.0.2.9"].kept == ""
    kept = find(interfaces=(em0,), rows=Rows(reached="warden1.example.org"))["alias:192.0.2.9"].kept
    assert "reaches the host as warden1.example.org" in kept
