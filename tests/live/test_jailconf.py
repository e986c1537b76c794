"""jail.conf(5) on this host: its own files read and left byte for byte, and what jail(8) makes of one of ours."""

import pytest

from jails.freebsd import jailconf, jls
from jails.freebsd.jailconf import Document
from jails.hosts.facts import JAIL_CONF, JAIL_CONF_D, gather
from tests.live.site import Site

CONF = """\
# All three kinds of comment,
// a wildcard that comes first, variables, and values that are added up.
* {{ persist; path = "{path}"; host.hostname = "${{name}}.$domain"; }}
$domain = "example.org";
exec.clean;
{prefix}-one {{
\tchildren.max = 2; /* of its own */
\tallow.set_hostname = 0;
\tsecurelevel = 2;
}}
"{prefix}-two" {{
\t$domain = 'example.net';
\tallow.raw_sockets;
\tallow.nochflags;
\tip4 = disable;
\tsysvshm = new;
}}
"""
COMPARED = ("path", "host.hostname", "children.max", "allow.set_hostname", "securelevel", "allow.raw_sockets",
            "allow.chflags", "ip4", "sysvshm", "persist")  # fmt: skip


def files_of(site: Site) -> dict[str, str]:
    facts = gather(site.connection)
    return {path: text for path, text in facts.files.items() if path.startswith((JAIL_CONF, JAIL_CONF_D, "/etc/jail."))}


def test_the_hosts_own_files_are_read_and_would_be_written_back_byte_for_byte(site: Site):
    files = files_of(site)
    if not files:
        pytest.skip("this host has no jail.conf")
    for path, text in files.items():
        assert Document(text, filename=path).text == text
        assert jailconf.read(text, filename=path).jails or not text.strip() or "{" not in text


def test_the_jails_in_them_are_those_that_jail_lists(site: Site):
    """`jail -e` came with FreeBSD 13.3 and 14.0; before that only starting them would tell."""
    files = files_of(site)
    listed = site.output("jail", "-e", "\t", "-f", JAIL_CONF).decode()
    if JAIL_CONF not in files or not listed:
        pytest.skip("this host has no /etc/jail.conf, or a jail(8) that lists none")
    names = {
        word.removeprefix("name=")
        for line in listed.splitlines()
        for word in line.split("\t")
        if word.startswith("name=")
    }
    facts = gather(site.connection)
    assert {jail.name for jail in facts.jails_of(JAIL_CONF)} >= {name for name in names if name}


@pytest.fixture
def ours(site: Site, live_directory: str):
    path = f"{live_directory}/jail.conf"
    text = CONF.format(path=live_directory, prefix=site.prefix)
    site.run("tee", path, stdin=text.encode())
    yield path, text
    site.sh('for j in $(jls name); do case $j in "$1"-*) jail -R "$j";; esac; done', site.prefix)


def test_what_we_read_is_what_jail_sets(site: Site, ours):
    path, text = ours
    read = jailconf.read(text, filename=path)
    assert read.rc == 0 and read.errors == ()
    assert [jail.name for jail in read.jails] == [f"{site.prefix}-one", f"{site.prefix}-two"]
    site.run("jail", "-f", path, "-c")
    running = {jail.name: jail for jail in jls.parse(site.output(*jls.LIST))}
    for jail in read.jails:
        seen = running[jail.name]
        for name in COMPARED:
            wanted = expected(jail, name)
            if wanted is not None:
                assert seen.parameters[name] == wanted, (jail.name, name)


def expected(jail: jailconf.Jail, name: str):
    """As jls prints it, None where the file leaves it to the kernel."""
    if jail.get(name) is None:
        return None
    return jail.enabled(name) if name.startswith("allow.") or name == "persist" else jail.last(name)


def test_one_value_changed_changes_one_line_and_one_jail(site: Site, ours):
    path, text = ours
    name = f"{site.prefix}-one"
    changed = Document(text, filename=path).set(name, "children.max", ["5"]).text
    before, after = text.splitlines(), changed.splitlines()
    assert len(before) == len(after) and sum(old != new for old, new in zip(before, after, strict=True)) == 1
    site.run("tee", path, stdin=changed.encode())
    site.run("jail", "-f", path, "-c")
    running = {jail.name: jail for jail in jls.parse(site.output(*jls.LIST))}
    assert running[name].number("children.max", 0) == 5
    assert running[f"{site.prefix}-two"].number("children.max", 0) == 0
    site.run("jail", "-f", path, "-r", name)
    assert name not in site.run("jls", "name").split()
