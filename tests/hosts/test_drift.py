"""What differs, in each of the three columns, and which spellings mean the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import jls
from jails.hosts import drift
from jails.hosts.drift import OFF, ON, Comparison, Difference, Wanted
from jails.hosts.facts import HostFacts

from .test_facts import jail as running
from .test_facts import jls as printed

FILE = "/etc/jail.conf.d/www1.conf"
WANTED = {
    "path": ("/jail/www1",),
    "host.hostname": ("www1.example.org",),
    "ip4.addr": ("em0|192.0.2.11/32",),
    "ip6": ("disable",),
    "persist": (),
    "exec.clean": (),
    "exec.start": ("/bin/sh /etc/rc",),
    "mount.devfs": (),
    "devfs_ruleset": ("4",),
    "enforce_statfs": ("2",),
}
CONF = """www1 {
    path = /jail/www1;
    host.hostname = www1.example.org;
    ip4.addr = "em0|192.0.2.11/32";
    ip6 = disable;
    persist;
    exec.clean;
    exec.start = "/bin/sh /etc/rc";
    mount.devfs;
    devfs_ruleset = 4;
    enforce_statfs = 2;
}
"""
RUNS = {
    "path": "/jail/www1",
    "host.hostname": "www1.example.org",
    "ip4": "disable",
    "ip6": "disable",
    "ip4.addr": ["192.0.2.11"],
    "persist": True,
    "vnet": "inherit",
    "devfs_ruleset": "4",
    "enforce_statfs": "2",
    "securelevel": "-1",
    "children.max": "0",
    "sysvmsg": "disable",
    "allow.set_hostname": True,
    "allow.raw_sockets": False,
    "host.hostuuid": "00000000-0000-0000-0000-000000000000",
    "osrelease": "14.2-RELEASE",
}


def facts(conf=CONF, *, runs=None, rc_conf="", names=None, **more):
    files = {"/etc/rc.conf": rc_conf, **({FILE: conf} if conf is not None else {})}
    found = jls.parse(printed(running("www1", **(RUNS | runs))).encode()) if runs is not None else ()
    return HostFacts(jails=found, files=files, names=names or {}, userland="14.2-RELEASE", **more)


def wanted(parameters=None, **more):
    values = {"name": "www1", "file": FILE, "path": "/jail/www1"} | more
    return Wanted(parameters=WANTED if parameters is None else WANTED | parameters, **values)


def differences(known, want=None):
    return {one.parameter: one for one in Comparison(known).differences(want or wanted())}


def columns(known, want=None):
    return {name: (one.wanted, one.configured, one.running) for name, one in differences(known, want).items()}


def conf(**changes):
    """CONF with other lines: name → the whole statement, None for none."""
    lines = CONF.splitlines()
    for name, line in changes.items():
        at = next((n for n, old in enumerate(lines) if old.split()[:1] in ([name], [f"{name};"])), len(lines) - 1)
        new = [] if line is None else [f"    {line}"]
        lines[at : at + (1 if at < len(lines) - 1 else 0)] = new
    return "\n".join(lines)


def test_nothing_differs():
    assert columns(facts()) == columns(facts(runs={})) == {}


X, Y = ("x.example.org",), ("y.example.org",)
WWW1 = WANTED["host.hostname"]


@pytest.mark.parametrize(
    ("file", "runs", "expected", "in_file", "in_kernel"),
    [
        # wanted = configured = running, and each other pattern of equal and different
        (WWW1, WWW1, None, False, False),
        (X, None, (WWW1, X, None), True, False),
        (X, X, (WWW1, X, X), True, True),
        (X, WWW1, (WWW1, X, WWW1), True, False),
        (WWW1, Y, (WWW1, WWW1, Y), False, True),
        (X, Y, (WWW1, X, Y), True, True),
        (None, WWW1, (WWW1, None, WWW1), True, False),
        (None, Y, (WWW1, None, Y), True, True),
        (None, None, (WWW1, None, None), True, False),
    ],
)
def test_three_columns(file, runs, expected, in_file, in_kernel):
    text = conf(**{"host.hostname": f"host.hostname = {file[0]};" if file else None})
    found = differences(facts(text, runs={"host.hostname": runs[0]} if runs else None))
    one = found.pop("host.hostname", None)
    assert found == {} and (one and (one.wanted, one.configured, one.running)) == expected
    if one:
        assert (one.in_file, one.in_kernel) == (in_file, in_kernel)


def test_what_the_panel_says_nothing_of():
    text = conf(**{"allow.raw_sockets": "allow.raw_sockets;"})
    assert columns(facts(text)) == {"allow.raw_sockets": (None, ON, None)}
    assert columns(facts(text, runs={})) == {"allow.raw_sockets": (None, ON, OFF)}
    assert columns(facts(runs={"allow.raw_sockets": True})) == {"allow.raw_sockets": (None, None, ON)}
    assert columns(facts(runs={"allow.set_hostname": False})) == {"allow.set_hostname": (None, None, OFF)}
    assert columns(facts(conf(depend="depend = db;"))) == {"depend": (None, ("db",), None)}


@pytest.mark.parametrize(
    "lines",
    [
        {"enforce_statfs": None},
        {"enforce_statfs": "enforce_statfs = 02;"},
        {"persist": "persist = 1;"},
        {"persist": "persist = true;"},
        {"mount.devfs": "mount.devfs = TRUE;"},
        {"allow.mount": "allow.nomount;"},
        {"allow.mount": "allow.mount = 0;"},
        {"allow.mount": "allow.mount = false;"},
        {"allow.set_hostname": "allow.set_hostname;"},
        {"children.max": "children.max = 0;"},
        {"securelevel": "securelevel = -1;"},
        {"vnet": "vnet = inherit;"},
        {"ip4": "ip4 = new;"},
        {"ip6": None},
        {"ip4.addr": 'ip4.addr = "em0|192.0.2.11";'},
        {"ip4.addr": 'ip4.addr = "em0|192.0.2.11/255.255.255.255";'},
        {"ip4.addr": "ip4.addr = 192.0.2.11; interface = em0;"},
        {"exec.start": '$sh = "/bin/sh"; exec.start = "$sh /etc/rc";'},
    ],
    ids=str,
)
def test_other_spellings_of_the_same(lines):
    assert columns(facts(conf(**lines), runs={})) == {}


def test_the_order_of_addresses_does_not_count():
    both = {"ip4.addr": ("em0|192.0.2.11/32", "em0|192.0.2.9")}
    text = conf(**{"ip4.addr": 'ip4.addr = "em0|192.0.2.9", "em0|192.0.2.11/32";'})
    assert columns(facts(text, runs={"ip4.addr": ["192.0.2.9", "192.0.2.11"]}), wanted(both)) == {}


def test_addresses():
    six = {"ip6.addr": ("em0|2001:db8:0::0:11/64",)}
    text = conf(ip6='ip6.addr = "em0|2001:db8::11/64";')
    assert columns(facts(text, runs={"ip6.addr": ["2001:db8::11"]}), wanted(six | {"ip6": None})) == {}
    assert columns(facts(conf(ip6='ip6.addr = "em0|2001:db8::11";')), wanted(six)) == {
        "ip6.addr": (("em0|2001:db8::11/64",), ("em0|2001:db8::11",), None)
    }
    # Another interface shows in the file alone, another address in both.
    other = conf(**{"ip4.addr": 'ip4.addr = "em1|192.0.2.11";'})
    assert columns(facts(other, runs={})) == {
        "ip4.addr": (("em0|192.0.2.11",), ("em1|192.0.2.11",), ("192.0.2.11",)),
    }
    assert differences(facts(other, runs={}))["ip4.addr"].in_kernel is False
    live = differences(facts(runs={"ip4.addr": ["192.0.2.11", "192.0.2.12"]}))
    assert live["ip4.addr"].running == ("192.0.2.11", "192.0.2.12") and not live["ip4.addr"].in_file
    assert columns(facts(runs={"ip4.addr": []})) == {"ip4.addr": (("em0|192.0.2.11",), ("em0|192.0.2.11",), ())}
    assert columns(facts(conf(**{"ip4.addr": "ip4 = inherit;"}), runs={"ip4": "inherit", "ip4.addr": []})) == {
        "ip4.addr": (("em0|192.0.2.11",), None, ()),
        "ip4": (None, ("inherit",), ("inherit",)),
    }


def test_the_level_of_the_host_is_everybodys():
    assert columns(facts(runs={"securelevel": "1"}, sysctls={"kern.securelevel": "1"})) == {}
    assert columns(facts(runs={"securelevel": "1"})) == {}, "not known"
    assert columns(facts(runs={"securelevel": "2"}, sysctls={"kern.securelevel": "1"})) == {
        "securelevel": (None, None, ("2",))
    }
    two = {"securelevel": ("2",)}
    text = conf(securelevel="securelevel = 2;")
    assert columns(facts(text, runs={"securelevel": "2"}, sysctls={"kern.securelevel": "-1"}), wanted(two)) == {}
    assert "securelevel" in columns(facts(text, runs={}, sysctls={"kern.securelevel": "-1"}), wanted(two))


def test_sysvipc_gives_all_three():
    text = conf(**{"allow.sysvipc": "allow.sysvipc;"})
    live = {"allow.sysvipc": True, "sysvmsg": "inherit"}
    assert list(columns(facts(text, runs=live))) == ["allow.sysvipc"]


def test_boot():
    boots = 'jail_enable="YES"\njail_list="www1"\n'
    assert columns(facts(rc_conf=boots), wanted(boot=True)) == {}
    assert columns(facts(rc_conf=boots), wanted(boot=False)) == {"boot": (OFF, ON, None)}
    assert columns(facts(), wanted(boot=True)) == {"boot": (ON, OFF, None)}
    assert columns(facts(rc_conf=boots), wanted(boot=None)) == {}
    assert columns(facts(rc_conf=". /etc/other\n"), wanted(boot=True)) == {}, "only sh can tell"


def test_the_definition_as_a_whole():
    assert columns(facts(None)) == {"file": ((FILE,), None, None)}
    assert columns(facts("other { persist; }")) == {"file": ((FILE,), None, None)}
    assert columns(facts("www1 { broken")) == {"file": ((FILE,), ("refused",), None)}
    assert columns(facts('www1 { path = "$nothing"; }')) == {"file": ((FILE,), ("refused",), None)}
    assert columns(facts(None, unreadable=(FILE,))) == {"file": ((FILE,), ("refused",), None)}
    older = facts(runs={})
    older = HostFacts(jails=older.jails, files={**older.files, "/etc/jail.www1.conf": CONF}, userland="14.2-RELEASE")
    assert columns(older) == {"file": ((FILE,), ("/etc/jail.www1.conf",), None)}
    named = facts(rc_conf='jail_www1_conf="/root/x.conf"\n')
    assert columns(named) == {"file": ((FILE,), ("/root/x.conf",), None)}
    # What runs is looked at all the same.
    assert list(columns(facts(None, runs={"host.hostname": "x"}))) == ["file", "host.hostname"]


def test_the_tree():
    there, gone = {"/jail": ("www1",)}, {"/jail": ()}
    assert columns(facts(names=there), wanted(tree="/jail/www1")) == {}
    assert columns(facts(names=gone), wanted(tree="/jail/www1")) == {"tree": (("/jail/www1",), None, None)}
    assert columns(facts(), wanted(tree="/jail/www1")) == {}, "nobody looked"


def test_another_jail_of_the_same_name_tells_nothing():
    assert columns(facts(runs={"path": "/elsewhere", "host.hostname": "x"})) == {}
    # Where only the kernel knows it, it may have followed a link.
    assert list(columns(facts(runs={"path": "/elsewhere", "host.hostname": "x"}), wanted(path=""))) == ["host.hostname"]


def test_a_file_that_cannot_be_told_from_another_is_cut_off():
    lines = "".join(f"    env.k{n} = {n};\n" for n in range(1000))
    found = Comparison(facts(CONF.replace("    persist;", lines + "    persist;"))).differences(wanted())
    assert len(found) == drift.MOST


def test_what_is_missing_is_not_compared():
    with pytest.raises(Exception, match="could not be read"):
        Comparison(HostFacts(missing={"files": "tar failed"}))


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (
            Difference("host.hostname", WWW1, X, Y),
            "host.hostname: the panel wants www1.example.org, the file says x.example.org, it runs with y.example.org.",
        ),
        (
            Difference("allow.raw_sockets", None, ON, OFF),
            "allow.raw_sockets: the panel wants false, as by default, the file says true, it runs with false.",
        ),
        (
            Difference("host.hostname", WWW1, WWW1, Y, False, True),
            "host.hostname: the panel wants www1.example.org, and so says the file, it runs with y.example.org.",
        ),
        (Difference("file", (FILE,), None, None), f"file: {FILE} does not define it any more."),
        (Difference("file", (FILE,), ("refused",), None), f"file: jail(8) does not take what {FILE} says of it."),
        (Difference("tree", ("/jail/www1",), None, None), "tree: /jail/www1 is gone."),
        (
            Difference("boot", ON, OFF, None),
            "boot: the panel wants it to start when its host boots, and it does not.",
        ),
    ],
)
def test_words(difference, words):
    assert drift.words(difference) == words


@pytest.mark.parametrize(
    ("name", "restart"),
    [
        ("host.hostname", False),
        ("allow.raw_sockets", False),
        ("exec.timeout", False),
        ("ip4.addr", True),
        ("mount", True),
        ("path", True),
        ("boot", False),
        ("nobody.knows", True),
    ],
)
def test_which_need_a_restart(name, restart):
    assert drift.needs_restart(name) is restart


def test_columns_are_json_and_bounded():
    long = ("x" * 10_000, "y")
    found = Difference("exec.start", long, None, long).columns()
    assert json.loads(json.dumps(found)) == found and len(str(found)) < 3 * drift.LONGEST


NAMES = st.one_of(
    st.sampled_from(["boot", "file", "tree", "name", "ip4.addr", "allow.nomount", "persist", "vnet", "x.y", "", "no"]),
    st.text(max_size=300),
)
VALUES = st.lists(st.one_of(st.text(max_size=40), st.sampled_from(["em0|1.2.3.4/99", "-", "²", "9" * 400])), max_size=3)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_hostile_parameters_are_normal_once_and_stay_so(parameters):
    found = drift.normal(parameters)
    assert drift.normal((name, value or ()) for name, value in found.items()) == found
    assert not {"boot", "file", "tree", "name", ""} & found.keys()
    for name, value in found.items():
        drift.words(Difference(name, value, None, value))
        drift.for_file(name, value)
