"""Files as people write them, in tests/freebsd/corpus: each is read, given back byte for byte, and edited in one place.

What an edit changes stands in the tables below, written by hand.
"""

import difflib
from pathlib import Path

import pytest

from jails.freebsd.jailconf import EditRefused, edit, read
from jails.freebsd.jailconf.lexer import from_bytes_text, to_bytes_text

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path.stem for path in CORPUS.glob("*.conf"))

EDITS = {
    "append": ("app", "path", "/srv/app2", ['-\tpath = "/srv/app";', "+\tpath = /srv/app2;"]),
    "bastille-thin": (
        "site2",
        "osrelease",
        "13.3-RELEASE",
        ["-  osrelease = 13.2-RELEASE;", "+  osrelease = 13.3-RELEASE;"],
    ),
    "bastille-vnet": ("proxy1", "securelevel", 3, ["-  securelevel = 2;", "+  securelevel = 3;"]),
    "bhyve-jail": ("vmhost", "vnet.interface", "epair8b", ['-        = "epair7b"', "+        = epair8b"]),
    "booleans": ("perms", "allow.sysvipc", True, ["-\tallow.nosysvipc;", "+\tallow.sysvipc;"]),
    "conf-d-file": ("nextcloud", "enforce_statfs", 2, ["-\tenforce_statfs = 1;", "+\tenforce_statfs = 2;"]),
    "crlf": (
        "win",
        "ip4.addr",
        "192.0.2.45",
        ["-    ip4.addr = 192.0.2.44;\r", "+    ip4.addr = 192.0.2.45;\r"],
    ),
    "crlf-mixed": ("mixed", "securelevel", 1, ["+\tsecurelevel = 1;"]),
    "depends": (
        "front",
        "depend",
        ["app1"],
        ["-front { ip4.addr = 10.3.0.6; depend app1, app2; }", "+front { ip4.addr = 10.3.0.6; depend app1; }"],
    ),
    "disabled-blocks": (
        "live2",
        "path",
        "/jails/live3",
        ["-live2 { path = /jails/live2; persist; }", "+live2 { path = /jails/live3; persist; }"],
    ),
    "empty-statements": ("sparse", "path", "/jails/thin", ["-\tpath=/jails/sparse;;", "+\tpath=/jails/thin;;"]),
    "everything-on-one-line": (
        "one",
        "persist",
        False,
        [
            "-exec.clean; one { path = /jails/one; persist; } two { path = /jails/two; persist; ip4 = new; } # all",
            "+exec.clean; one { path = /jails/one; nopersist; } two { path = /jails/two; persist; ip4 = new; } # all",
        ],
    ),
    "ezjail-converted": (
        "db_example_com",
        "allow.raw_sockets",
        "true",
        ['-\tallow.raw_sockets = "false";', "+\tallow.raw_sockets = true;"],
    ),
    "globals-many": (
        "mail",
        "ip4.addr",
        ["203.0.113.11", "203.0.113.21"],
        [
            "-mail { ip4.addr = 203.0.113.11; allow.raw_sockets; }",
            "+mail { ip4.addr = 203.0.113.11, 203.0.113.21; allow.raw_sockets; }",
        ],
    ),
    "handbook-single": (
        "library",
        "ip4.addr",
        "192.0.2.152",
        ["-  ip4.addr = 192.0.2.151;", "+  ip4.addr = 192.0.2.152;"],
    ),
    "handbook-vnet": ("museum", "devfs_ruleset", 6, ["-  devfs_ruleset = 5;", "+  devfs_ruleset = 6;"]),
    "huge": ("worker207", "children.max", 9, ["-\tchildren.max = 3;", "+\tchildren.max = 9;"]),
    "include-globals": ("legacy", "exec.timeout", 120, ["-\texec.timeout = 90;", "+\texec.timeout = 120;"]),
    "include-relative": (
        "here",
        "securelevel",
        2,
        ['-here { path = "/jails/here"; persist; }', '+here { path = "/jails/here"; persist; securelevel = 2; }'],
    ),
    "ipv6-only": (
        "six",
        "ip6.addr",
        ["2001:db8::6", "vtnet1|fd00:6::6/128"],
        [
            '-  ip6.addr = "2001:db8::6", "2001:db8::7/64", "vtnet1|fd00:6::6/128";',
            "+  ip6.addr = 2001:db8::6, vtnet1|fd00:6::6/128;",
        ],
    ),
    "jails-of-jails": (
        "tenant.web",
        "path",
        "/tenants/acme/www",
        ["-\tpath = /tenants/acme/jails/web;", "+\tpath = /tenants/acme/www;"],
    ),
    "k-and-r": (
        "beta",
        "host.hostname",
        "b.example",
        ["-  host.hostname=beta.example;", "+  host.hostname=b.example;"],
    ),
    "latin1": ("cafe", "host.hostname", "bar", ["-\thost.hostname = cafe;", "+\thost.hostname = bar;"]),
    "linux-jail": (
        "debian",
        "linux.osrelease",
        "6.1.0",
        ['-    linux.osrelease = "5.15.0";', "+    linux.osrelease = 6.1.0;"],
    ),
    "many-mounts": (
        "poudriere",
        "allow.mount.devfs",
        False,
        [
            "-\tallow.mount.tmpfs; allow.mount.devfs; allow.mount.procfs;",
            "+\tallow.mount.tmpfs; allow.mount.nodevfs; allow.mount.procfs;",
        ],
    ),
    "name-value-form": ("terse", "securelevel", 1, ["-\tsecurelevel 3;", "+\tsecurelevel 1;"]),
    "netgraph": ("ng1", "devfs_ruleset", 8, ["-\tdevfs_ruleset\t\t= 7;", "+\tdevfs_ruleset\t\t= 8;"]),
    "no-trailing-newline": ("last", "ip4", "disable", ["-\tip4 = inherit;", "+\tip4 = disable;"]),
    "numbers-as-names": (
        "web-01",
        "path",
        "/jails/web",
        ["-web-01 { path = /jails/web-01; persist; }", "+web-01 { path = /jails/web; persist; }"],
    ),
    "one-liners": (
        "b",
        "ip4.addr",
        "10.0.0.9",
        ["-b{ip4.addr=10.0.0.2;persist;}", "+b{ip4.addr=10.0.0.9;persist;}"],
    ),
    "quoting-oddities": (
        "quoted name",
        "host.hostname",
        "plain",
        ['-\thost.hostname = "a\\"b";', "+\thost.hostname = plain;"],
    ),
    "rcconf-era": (
        "old1",
        "ip4.addr",
        "em0|10.1.1.22/32",
        ['-\tip4.addr += "em0|10.1.1.21/32";', "+\tip4.addr = em0|10.1.1.22/32;"],
    ),
    "salt-nested-dirs": (
        "minion2",
        "host.hostid",
        815,
        [
            '-minion2 { ip4.addr = "igb1|10.9.8.2/24"; host.hostid = 4712; }',
            '+minion2 { ip4.addr = "igb1|10.9.8.2/24"; host.hostid = 815; }',
        ],
    ),
    "string-over-lines": (
        "multi",
        "exec.start",
        "/bin/sh /etc/rc",
        ['-\texec.start = "/bin/sh \\', '-/etc/rc";', '+\texec.start = "/bin/sh /etc/rc";'],
    ),
    "tabs-aligned": (
        "web",
        "ip4.addr",
        "em0|192.0.2.52/32",
        [
            '-\t\tip4.addr\t= "em0|192.0.2.50/24" ,',
            '-\t\t\t\t  "em0|192.0.2.51/32" ;',
            "+\t\tip4.addr\t= em0|192.0.2.52/32 ;",
        ],
    ),
    "template-comments": (
        "jenkins",
        "stop.timeout",
        90,
        ["-        stop.timeout = 60;", "+        stop.timeout = 90;"],
    ),
    "three-comments": (
        "opac",
        "ip4.addr",
        "192.0.2.9",
        ["-\tip4.addr = 192.0.2.8;\t// moved in May", "+\tip4.addr = 192.0.2.9;\t// moved in May"],
    ),
    "two-blocks": (
        "pop3",
        "ip4",
        "disable",
        [
            "-pop3 { path = /jails/pop3; persist; ip4 = inherit; }",
            "+pop3 { path = /jails/pop3; persist; ip4 = disable; }",
        ],
    ),
    "umlauts": (
        "uni",
        "host.hostname",
        "uni.example",
        [
            '-\thost.hostname = "bücher.example";\t# IDN, später punycode',
            "+\thost.hostname = uni.example;\t# IDN, später punycode",
        ],
    ),
    "variable-lists": ("resolver", "ip4.addr", "192.0.2.55", ["-\tip4.addr = $dns;", "+\tip4.addr = 192.0.2.55;"]),
    "variables": (
        "wiki",
        "ip4.addr",
        "10.20.30.99",
        ['-\tip4.addr = "${net4}.${host}";', "+\tip4.addr = 10.20.30.99;"],
    ),
    "vnet-jib": (
        "client",
        "vnet.interface",
        ["e0b_c", "e1b_c"],
        ['-\tvnet.interface = "e0b_client";', "+\tvnet.interface = e0b_c, e1b_c;"],
    ),
    "vnet-shell-hooks": (
        "irc",
        "exec.poststop",
        "ifconfig irc0a destroy",
        ['-\texec.poststop = "ifconfig ${if}a destroy || true";', '+\texec.poststop = "ifconfig irc0a destroy";'],
    ),
    "wildcard-first": ("build", "securelevel", 1, ["-\tsecurelevel = 0;", "+\tsecurelevel = 1;"]),
    "wildcard-last": ("shop", "enforce_statfs", 2, ["-    enforce_statfs = 1;", "+    enforce_statfs = 2;"]),
    "wildcards-of-children": (
        "prod.web",
        "host.hostname",
        "www.prod",
        ["-prod.web { host.hostname = web.prod; }", "+prod.web { host.hostname = www.prod; }"],
    ),
}
"""(jail, parameter, its new values, the lines that go and come) for each file with a jail to change."""
WITHOUT_JAILS = {"common", "local"}

ADDED = {
    "handbook-single": ("library", "securelevel", 2, "  securelevel = 2;"),
    "crlf": ("win", "exec.timeout", 60, "    exec.timeout = 60;\r"),
    "tabs-aligned": ("web", "devfs_ruleset", 4, "\t\tdevfs_ruleset = 4;"),
    "k-and-r": ("beta", "persist", None, "  persist;"),
    "template-comments": ("jenkins", "meta", "a b", '        meta = "a b";'),
    "umlauts": ("uni", "depend", ["a", "b"], "\tdepend = a, b;"),
    "no-trailing-newline": ("last", "meta", "$x", "\tmeta = '$x';"),
    "latin1": ("cafe", "allow.mlock", True, "\tallow.mlock;"),
}
"""(jail, parameter, values, the line that comes) for parameters that the jail has not."""

REMOVED = {
    "three-comments": (
        "opac",
        "host.hostname",
        ["-\thost.hostname = opac;\t/* both } and ; in a comment */", "+\t/* both } and ; in a comment */"],
    ),
    "append": (
        "app",
        "ip4.addr",
        [
            "-\tip4.addr = 198.51.100.80;",
            "-\tip4.addr += 198.51.100.81;",
            '-\tip4.addr += "198.51.100.82", 198.51.100.83;',
        ],
    ),
    "crlf-mixed": ("mixed", "ip4.addr", ["-\tip4.addr = 192.0.2.45,", "-\t\t192.0.2.46;"]),
    "many-mounts": (
        "poudriere",
        "allow.mount.tmpfs",
        ["-\tallow.mount.tmpfs; allow.mount.devfs; allow.mount.procfs;", "+\tallow.mount.devfs; allow.mount.procfs;"],
    ),
    "one-liners": (
        "c",
        "host.hostname",
        ["-c{ip4.addr=10.0.0.3;host.hostname=c.lan;securelevel=1;}", "+c{ip4.addr=10.0.0.3;securelevel=1;}"],
    ),
    "string-over-lines": (
        "multi",
        "exec.prestart",
        [
            "-\texec.prestart = \"/bin/sh -c '",
            "-\t\tmkdir -p /var/run/multi",
            "-\t\tchown 80:80 /var/run/multi",
            "-\t'\";",
        ],
    ),
}
"""(jail, parameter, the lines that go and come)."""

REFUSED = {
    "two-blocks": ("smtp", "persist", True, r"several blocks for jail smtp \(lines 2, 6\)"),
    "wildcard-last": ("stage", "exec.start", "/bin/true", "another part of the file sets it too"),
    "include-relative": ("one", "persist", True, "no block for jail one"),
    "common": ("x", "persist", True, "no block for jail x"),
    "local": ("*", "persist", True, "for many jails"),
    "three-comments": ("nosuch", "persist", True, "no block for jail nosuch"),
}
"""(jail, parameter, values, why not)."""

EFFECTIVE = {
    "globals-many": (
        "git",
        {"path": ["/jails/git"], "host.hostname": ["code.example.net"], "interface": ["igb0"], "mount.devfs": []},
    ),
    "wildcard-first": ("build", {"securelevel": ["0"], "path": ["/usr/jails/build"], "devfs_ruleset": ["4"]}),
    "wildcard-last": ("stage", {"exec.clean": [], "exec.start": ["/bin/sh /etc/rc"], "path": ["/jails/stage"]}),
    "wildcards-of-children": (
        "prod.db",
        {"path": ["/jails/prod/prod.db"], "enforce_statfs": ["2"], "allow.sysvipc": []},
    ),
    "variables": (
        "wiki",
        {
            "path": ["/tank/jails/wiki"],
            "host.hostname": ["wiki.example.org"],
            "ip4.addr": ["10.20.30.12"],
            "ip6.addr": ["2001:db8:20:30::12"],
            "depend": ["auth"],
        },
    ),
    "variable-lists": (
        "resolver",
        {"ip4.addr": ["192.0.2.53", "192.0.2.54"], "exec.start": ["/sbin/ldconfig", "/bin/sh /etc/rc"]},
    ),
    "append": (
        "app",
        {
            "ip4.addr": ["198.51.100.80", "198.51.100.81", "198.51.100.82", "198.51.100.83"],
            "mount": ["tmpfs /srv/app/tmp tmpfs rw,mode=1777 0 0", "/srv/data /srv/app/data nullfs ro 0 0"],
            "exec.poststart": ["logger -t jail started", "/usr/local/libexec/announce app"],
        },
    ),
    "quoting-oddities": (
        "quoted name",
        {
            "path": ["/jails/with blank"],
            "host.hostname": ['a"b'],
            "exec.start": ["/bin/sh -c 'echo \"hi there\"'", '/bin/sh -c "echo $HOME"'],
            "exec.poststart": ["printf 'AB\t\n' > /dev/null"],
            "exec.stop": ["/bin/sh /etc/rc.shutdown"],
            "meta": ["single $not_a_variable"],
            "mount.fstab": ["/etc/fstab.quoted"],
            "exec.prestop": [""],
        },
    ),
    "string-over-lines": (
        "multi",
        {
            "exec.prestart": ["/bin/sh -c '\n\t\tmkdir -p /var/run/multi\n\t\tchown 80:80 /var/run/multi\n\t'"],
            "exec.start": ["/bin/sh /etc/rc"],
        },
    ),
    "vnet-shell-hooks": (
        "irc",
        {
            "vnet.interface": ["irc0b"],
            "exec.prestart": [
                "ifconfig epair create > /tmp/epair.irc",
                "sh -c 'ifconfig $(cat /tmp/epair.irc) name irc0a'",
                "ifconfig bridge0 addm irc0a && ifconfig irc0a up",
            ],
        },
    ),
    "handbook-vnet": (
        "museum",
        {
            "vnet": [],
            "vnet.interface": ["epair54b"],
            "exec.start": [
                "/sbin/ifconfig epair54b 192.0.2.54/24 up",
                "/sbin/route add default 192.0.2.1",
                "/bin/sh /etc/rc",
            ],
            "exec.poststop": ["/sbin/ifconfig bridge1 deletem epair54a", "/sbin/ifconfig epair54a destroy"],
        },
    ),
    "bastille-vnet": (
        "proxy1",
        {
            "exec.prestart": [
                "jib addm bastille3 em0",
                'ifconfig e0a_bastille3 description "vnet host interface for Bastille jail proxy1"',
            ]
        },
    ),
    "ezjail-converted": (
        "www_example_com",
        {"exec.stop": [""], "exec.clean": ["true"], "allow.set_hostname": ["false"]},
    ),
    "two-blocks": ("smtp", {"ip4.addr": ["192.0.2.25"], "name": ["smtp"]}),
    "depends": ("app2", {"depend": ["pgsql", "redis"], "path": ["/jail/app2"]}),
    "latin1": ("cafe", {"path": ["/jails/caf\udce9"]}),
    "umlauts": ("uni", {"host.hostname": ["bücher.example"], "path": ["/jails/größe"]}),
    "crlf": ("win", {"path": ["/jails/win"], "ip4.addr": ["192.0.2.44"], "exec.clean": []}),
    "name-value-form": (
        "terse",
        {"path": ["/jails/terse"], "ip4.addr": ["192.0.2.60", "192.0.2.61"], "securelevel": ["3"]},
    ),
    "numbers-as-names": ("42", {"jid": ["42"], "path": ["/jails/answer"]}),
    "include-relative": ("two", {"path": ["/jails/two"], "exec.clean": [], "host.hostname": ["two.lab"]}),
    "booleans": (
        "perms",
        {"allow.nosysvipc": [], "nopersist": [], "allow.mount.noprocfs": [], "mount.devfs": ["TRUE"], "vnet": []},
    ),
    "huge": ("worker300", {"path": ["/farm/worker300"], "ip4.addr": ["ix0|10.51.3.51/16"]}),
}
"""(jail, what it gets of some parameters)."""

NAMES = {
    "globals-many": ["www", "mail", "dns1", "dns2", "git"],
    "disabled-blocks": ["live", "live2"],
    "jails-of-jails": ["tenant", "tenant.web", "tenant.web.cgi"],
    "numbers-as-names": ["42", "7up", "web-01", "under_score"],
    "two-blocks": ["smtp", "imap", "smtp", "imap", "pop3"],
    "include-relative": ["one", "two", "here"],
    "include-globals": ["legacy"],
    "quoting-oddities": ["quoted name", "single"],
    "common": [],
    "local": [],
}


def text_of(name):
    return (CORPUS / f"{name}.conf").read_bytes().decode("utf-8", "surrogateescape")


def include(pattern):
    for path in sorted(CORPUS.parent.glob(pattern)):
        yield str(path.relative_to(CORPUS.parent)), path.read_text()


def reading(name):
    """As jail(8) would in the folder of the tests; what is included by an absolute path is not there."""
    found = read(text_of(name), filename=f"corpus/{name}.conf", include=lambda p: () if p[0] == "/" else include(p))
    assert found.stderr == ""
    return found


def changed(before, after):
    """The lines that went and came, in order, as `-line` and `+line`."""
    matcher = difflib.SequenceMatcher(None, before.split("\n"), after.split("\n"), autojunk=False)
    lines = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            lines += [f"-{line}" for line in matcher.a[a:b]] + [f"+{line}" for line in matcher.b[c:d]]
    return lines


def test_there_are_enough_and_none_is_forgotten():
    assert len(FILES) >= 40
    assert set(EDITS) | WITHOUT_JAILS == set(FILES)
    assert len({text_of(name) for name in FILES}) == len(FILES)


@pytest.mark.parametrize("name", FILES)
def test_is_read_without_a_fault_and_given_back(name):
    text = text_of(name)
    assert from_bytes_text(to_bytes_text(text)) == text
    conf = reading(name)
    assert not any(jail.failed for jail in conf.jails)
    assert conf.notes == ()
    assert edit(text).text.encode("utf-8", "surrogateescape") == (CORPUS / f"{name}.conf").read_bytes()


@pytest.mark.parametrize("name", sorted(EDITS))
def test_one_edit_changes_these_lines(name):
    jail, parameter, values, lines = EDITS[name]
    before = text_of(name)
    assert changed(before, edit(before).set(jail, parameter, values).text) == lines


@pytest.mark.parametrize("name", sorted(EDITS))
def test_an_edit_is_what_jail8_then_reads(name):
    jail, parameter, values, _ = EDITS[name]
    after = read(edit(text_of(name)).set(jail, parameter, values).text)
    before = read(text_of(name))
    expected = () if values in (True, False) and isinstance(values, bool) else values
    expected = (str(expected),) if isinstance(expected, (str, int)) else tuple(expected)
    assert after.jail(jail).get(parameter) == expected
    if isinstance(values, bool):
        assert after.jail(jail).enabled(parameter) is values
    assert [item for item in after.jails if item.name != jail] == [item for item in before.jails if item.name != jail]


@pytest.mark.parametrize("name", sorted(ADDED))
def test_a_new_parameter_adds_this_line(name):
    jail, parameter, values, line = ADDED[name]
    before = text_of(name)
    assert changed(before, edit(before).set(jail, parameter, values).text) == [f"+{line}"]


@pytest.mark.parametrize("name", sorted(REMOVED))
def test_removing_takes_these_lines(name):
    jail, parameter, lines = REMOVED[name]
    before = text_of(name)
    assert changed(before, edit(before).remove(jail, parameter).text) == lines


@pytest.mark.parametrize("name", sorted(ADDED))
def test_adding_and_removing_gives_the_file_back(name):
    jail, parameter, values, _ = ADDED[name]
    before = text_of(name)
    assert edit(before).set(jail, parameter, values).remove(jail, parameter).text == before


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_would_be_wrong_is_refused(name):
    jail, parameter, values, why = REFUSED[name]
    with pytest.raises(EditRefused, match=why):
        edit(text_of(name)).set(jail, parameter, values)


@pytest.mark.parametrize("name", sorted(EFFECTIVE))
def test_effective_parameters(name):
    jail, expected = EFFECTIVE[name]
    parameters = dict(reading(name).jail(jail).parameters)
    assert {parameter: list(parameters[parameter]) for parameter in expected} == expected


@pytest.mark.parametrize("name", sorted(NAMES))
def test_names(name):
    assert [jail.name for jail in reading(name).jails] == NAMES[name]


def test_the_huge_one_has_them_all():
    assert len(reading("huge").jails) == 300
