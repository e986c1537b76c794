import json

import pytest

from jails.hosts import facts
from jails.hosts.connection import HostUnavailable, Unavailable
from jails.hosts.facts import HostFacts, Missing, gather, plain_address

from .stub import SYSCTL, StubHost, archive


@pytest.fixture
def stub(tmp_path):
    return StubHost(tmp_path / "bin")


def jls(*jails):
    return json.dumps({"__version": "2", "jail-information": {"jail": list(jails)}}) + "\n"


def jail(name, **parameters):
    return {"jid": 3, "name": name, "path": f"/jail/{name}", "host.hostname": name, "dying": False, **parameters}


def files(**texts):
    """By the last part of their path."""
    places = {"rc": "/etc/rc.conf", "rc_local": "/etc/rc.conf.local", "jail_conf": "/etc/jail.conf"}
    return archive({places.get(name, f"/etc/jail.conf.d/{name}.conf"): text for name, text in texts.items()})


def test_identity(stub):
    facts = gather(stub)
    assert (facts.hostname, facts.release, facts.architecture) == ("warden1.example.com", "14.2-RELEASE-p1", "amd64")
    assert (facts.processors, facts.memory, facts.booted_at) == (4, 8 * 2**30, 1795491443)
    assert facts.racct and facts.vnet and facts.zfs
    assert facts.errors == ()


def test_the_architecture_is_called_as_the_mirror_calls_it(stub):
    stub.tool("sysctl", SYSCTL.replace("machine_arch=amd64", "machine_arch=aarch64"))
    assert gather(stub).architecture == "arm64"


def test_it_takes_six_requests_and_thirteen_processes(stub):
    stub.tool("zfs", "zroot/cellblock" + "\t-" * 19 + "\n")
    gather(stub)
    assert stub.requests <= 6
    assert len(stub.commands) + 1 <= 13


def test_a_host_without_zfs_is_not_made_to_load_it(tmp_path):
    mounts = "/dev/ada0p2\t\t/\tufs\trw\t1 1\n"
    stub = StubHost(tmp_path / "bin", sysctl=SYSCTL.replace("vfs.zfs", "other"), mount=mounts)
    facts = gather(stub)
    assert not facts.zfs
    assert not any(command.startswith("z") for command in stub.commands)


def test_it_survives_json(stub):
    stub.tool("jls", jls(jail("www1", **{"ip4.addr": ["192.0.2.5"], "allow.mount": True})))
    facts = gather(stub)
    assert HostFacts.from_data(json.loads(json.dumps(facts.to_data()))) == facts


def test_what_no_database_stores_is_replaced():
    facts = HostFacts(hostname="a\0b\udcff", files={"/etc/rc.conf": "x\0"})
    assert facts.to_data()["hostname"] == "a\ufffdb?"
    assert "\0" not in json.dumps(facts.to_data(), ensure_ascii=False)


def test_fields_of_another_version_do_no_harm():
    facts = HostFacts.from_data({"hostname": "warden1", "invented": 1, "pools": [{"name": "z", "health": "ONLINE"}]})
    assert facts.pools[0].name == "z"


def test_hostile_names_come_through(stub):
    name = "a 'b'\n\"c\" $(id)"
    stub.tool("jls", jls(jail(name)))
    assert gather(stub).jail(name).path == f"/jail/{name}"


@pytest.mark.parametrize(
    ("tool", "answer", "section", "ask"),
    [
        ("jls", (1, "", "jls: no\n"), "jails", lambda facts: facts.jail("www1")),
        ("jls", "nonsense", "jails", lambda facts: facts.address_in_use("192.0.2.1")),
        ("ifconfig", (1, "", ""), "interfaces", lambda facts: facts.address_in_use("192.0.2.1")),
        ("mount", "nonsense\n", "mounts", lambda facts: facts.mount_of("/jail")),
        ("tar", (1, "", "tar: broken\n"), "files", lambda facts: facts.file("/etc/rc.conf")),
        ("tar", "no archive", "files", lambda facts: facts.configured),
        ("zfs", (1, "", "permission denied\n"), "zfs", lambda facts: facts.dataset("zroot")),
        ("zpool", (1, "", "permission denied\n"), "zfs", lambda facts: facts.pool("zroot")),
    ],
)
def test_what_could_not_be_read_is_missing_and_not_absent(stub, tool, answer, section, ask):
    stub.tool(tool, answer)
    facts = gather(stub)
    assert list(facts.missing) == [section]
    assert any(section in error for error in facts.errors)
    with pytest.raises(Missing, match="could not be read"):
        ask(facts)


def test_the_rest_is_there_when_one_part_is_missing(stub):
    stub.tool("ifconfig", (1, "", ""))
    assert gather(stub).hostname == "warden1.example.com"


def test_what_is_no_freebsd_is_refused(stub):
    stub.tool("sysctl", "kern.ostype=Linux\n")
    assert "FreeBSD" in gather(stub).missing["identity"]


def test_a_host_that_runs_nothing_is_refused(stub):
    (stub.directory / "sh").unlink()
    with pytest.raises(HostUnavailable) as caught:
        gather(stub)
    assert caught.value.reason == Unavailable.PERMISSION


def test_files_missing_on_the_host_make_tar_fail_and_are_absent(stub):
    stub.tool("tar", (1, files(rc='hostname="warden1"\n'), "tar: etc/jail.conf: Cannot stat\n"))
    facts = gather(stub)
    assert facts.missing == {}
    assert facts.file("/etc/rc.conf") == 'hostname="warden1"\n'


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\0b", b"x" * 1_000_001])
def test_a_file_that_is_no_text_is_not_taken_for_absent(stub, content):
    stub.tool("tar", files(jail_conf=content))
    facts = gather(stub)
    assert "/etc/jail.conf" in facts.unreadable
    with pytest.raises(Missing):
        facts.file("/etc/jail.conf")


def test_names_in_directories_hold_anything(stub, tmp_path):
    root = tmp_path / "jail"
    names = ("www1", ".hidden", "a\nb", "cellblock-batch 0123456789abcdef 1\n")
    for name in names:
        (root / name).mkdir(parents=True)
    facts = gather(stub, jail_root=str(root))
    assert facts.names[str(root)] == tuple(sorted(names))
    assert facts.exists(str(root), "www1") and not facts.exists(str(root), "www2")


def test_a_directory_that_is_not_there_has_no_names(stub, tmp_path):
    assert str(tmp_path / "none") not in gather(stub, jail_root=str(tmp_path / "none")).names


def test_rc_conf_is_read_in_the_order_of_rc(stub):
    stub.tool("tar", files(rc="a=1\n", rc_local="a=2\n"))
    assert gather(stub).rc_conf.index("a=1") < gather(stub).rc_conf.index("a=2")


@pytest.mark.parametrize(
    ("release", "jail_conf", "includes"),
    [
        ("14.0-RELEASE", "", True),
        ("12.1-RELEASE", '.include "/etc/jail.conf.d/*.conf";\n', False),
        ("13.2-RELEASE", "", False),
        ("13.5-RELEASE", '.include "/etc/jail.conf.d/*.conf";\n', True),
    ],
)
def test_which_hosts_know_include(release, jail_conf, includes):
    assert HostFacts(userland=release, files={"/etc/jail.conf": jail_conf}).includes is includes


def test_configured_jails_of_both_places():
    facts = HostFacts(
        userland="14.2-RELEASE",
        files={
            "/etc/jail.conf": 'old { path = "/old"; }\n',
            "/etc/jail.conf.d/www1.conf": 'www1 { path = "/jail/www1"; ip4.addr = "em0|192.0.2.5/24"; }\n',
            "/etc/jail.conf.d/notes.txt": "not { a: jail }\n",
        },
    )
    assert {jail.name: jail.file for jail in facts.configured} == {
        "www1": "/etc/jail.conf.d/www1.conf",
        "old": "/etc/jail.conf",
    }
    assert facts.configured_jail("www1").addresses == ("em0|192.0.2.5/24",)


def test_a_file_that_relies_on_what_includes_it():
    facts = HostFacts(
        userland="14.2-RELEASE",
        files={
            "/etc/jail.conf": 'path = "/jail/$name";\n.include "/etc/jail.conf.d/*.conf";\n',
            "/etc/jail.conf.d/www1.conf": "www1 { persist; }\n",
        },
    )
    found = facts.configured_jail("www1")
    assert (found.path, found.file) == ("/jail/www1", "/etc/jail.conf.d/www1.conf")


def test_a_broken_file_hides_no_other():
    facts = HostFacts(
        files={
            "/etc/jail.conf.d/a.conf": "a { ",
            "/etc/jail.conf.d/b.conf": 'b { path = "/b"; }',
            "/etc/jail.conf": "}",
        }
    )
    assert [jail.name for jail in facts.configured] == ["b"]


def test_who_has_an_address(stub):
    stub.tool("jls", jls(jail("www1", **{"ip4.addr": ["192.0.2.5"]})))
    stub.tool("tar", files(www2='www2 { path = "/jail/www2"; ip6.addr = "em0|2001:DB8:0::6/128"; }\n'))
    facts = gather(stub)
    assert facts.address_in_use("192.0.2.2") == "interface em0"
    assert facts.address_in_use("192.0.2.5") == "jail www1"
    assert "www2" in facts.address_in_use("2001:db8::6")
    assert facts.address_in_use("192.0.2.9") == ""


def test_addresses_as_jail_conf_writes_them():
    assert plain_address("em0|192.0.2.5/24") == "192.0.2.5"
    assert plain_address("em0|192.0.2.5 netmask 255.255.255.0") == "192.0.2.5"
    assert plain_address("inherit") == "inherit"
    assert plain_address("") == ""


def test_the_live_one_of_two_jails_with_one_name(stub):
    stub.tool("jls", jls(jail("www1", jid=1, dying=True), jail("www1", jid=2)))
    assert gather(stub).jail("www1").jid == 2


def test_free_bytes_of_ufs(tmp_path):
    mounts = "/dev/ada0p2\t\t/\tufs\trw\t1 1\n"
    df = "Filesystem 1024-blocks Used Avail Capacity Mounted on\n/dev/ada0p2 1000 400 600 40% /\n"
    facts = gather(StubHost(tmp_path / "bin", sysctl=SYSCTL.replace("vfs.zfs", "other"), mount=mounts, df=df))
    assert facts.free_bytes("/jail/www1") == 600 * 1024


def test_what_is_mounted_below_deepest_first(stub):
    stub.tool("mount", "a\t/jail/w\tzfs\trw\t0 0\nb\t/jail/w/dev/x\tdevfs\trw\t0 0\nc\t/jail/w/dev\tdevfs\trw\t0 0\n")
    assert [row.path for row in gather(stub).mounted_below("/jail/w")] == ["/jail/w/dev/x", "/jail/w/dev", "/jail/w"]


def booting(rc_conf, **files):
    texts = {"/etc/rc.conf": rc_conf, **files}
    folder = {path.rpartition("/")[2] for path in texts if path.startswith("/etc/jail.conf.d/")}
    return HostFacts(userland="14.2-RELEASE", files=texts, names={"/etc/jail.conf.d": tuple(sorted(folder))})


WWW1 = {"/etc/jail.conf.d/www1.conf": 'www1 { path = "/jail/www1"; }\n'}


def test_boot_by_a_list():
    state = booting('jail_enable="YES"\njail_list="www1"\n', **WWW1).boot_state()
    assert (state.mode, state.boots_today) == ("list", ("www1",))
    assert state.own_files == {"www1"}


def test_boot_of_everything_that_is_included():
    conf = {"/etc/jail.conf": 'old { path = "/old"; }\n.include "/etc/jail.conf.d/*.conf";\n'}
    state = booting('jail_enable="YES"\n', **WWW1, **conf).boot_state()
    assert (state.mode, state.boots_today, state.includes_folder) == ("all", ("old", "www1"), True)


def test_boot_of_everything_without_the_folder():
    state = booting('jail_enable="YES"\n', **WWW1, **{"/etc/jail.conf": 'old { path = "/old"; }\n'}).boot_state()
    assert (state.boots_today, state.includes_folder) == (("old",), False)


def test_a_list_that_stands_over_rc_conf_is_left_to_people():
    with pytest.raises(ValueError, match=r"rc\.conf\.d"):
        booting("", **{"/etc/rc.conf.d/jail": 'jail_list="www1"\n'}).boot_state()


def test_boot_is_not_guessed_where_files_are_missing():
    with pytest.raises(Missing):
        HostFacts(missing={"files": "tar: status 1"}).boot_state()


def test_a_pattern_goes_over_no_slash_and_finds_nothing_hidden():
    conf = {
        "/etc/jail.conf": '.include "/etc/jail.conf.d/*";\n.include "/etc/*/*.conf";\n',
        "/etc/jail.conf.d/a.conf": "a { }",
        "/etc/jail.conf.d/.versions/a.conf.1": "old { }",
        "/etc/jail.conf.d/more/b.conf": "b { }",
        "/etc/jail.conf.d/.draft.conf": "draft { }",
    }
    facts = HostFacts(userland="14.2-RELEASE", files=conf)
    assert [jail.name for jail in facts.jails_of("/etc/jail.conf")] == ["a", "a"]


@pytest.mark.parametrize(
    "told",
    [
        {"/etc/jail.conf": 'stopped { path = "/usr/local/bastille/jails/"; }\n'},
        {"/etc/rc.conf": 'jail_list="stopped"\njail_stopped_rootdir="/usr/local/bastille/jails"\n'},
    ],
    ids=["jail.conf", "rc.conf"],
)
def test_no_file_of_a_tool_is_one_in_the_tree_of_a_jail_also_of_one_that_does_not_run(told):
    theirs = {"/usr/local/bastille/jails/evil/jail.conf": 'evil { exec.prestart = "rm -rf /"; }\n'}
    found = {"jail_root": "/jail", "files": {**told, **theirs}, "unreadable": (), "jails": ()}
    facts._leave_trees_alone(found)
    assert found["files"] == told
    found = {"jail_root": "/jail", "files": dict(theirs), "unreadable": (), "jails": ()}
    facts._leave_trees_alone(found)
    assert found["files"] == theirs
