"""What is read of each tool's files; the files are those of tests/hosts/foreign.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jails.freebsd import jailconf
from jails.freebsd.foreign import GLOBS, Evidence, cbsd, jailadmin, read
from jails.freebsd.foreign.appjail import template
from jails.freebsd.foreign.words import variables
from jails.models import Jail
from tests.hosts.foreign import LAYOUTS, cbsd_database


def evidence(tool):
    layout = LAYOUTS[tool]
    texts = {
        path: cbsd.database_text(content) if isinstance(content, bytes) else content
        for path, content in layout.files.items()
    }
    origins = {"tank/iocage/jails/db/root": "tank/iocage/releases/13.2-RELEASE/root@db"}
    return Evidence(files=texts, rc_conf=texts.get("/etc/rc.conf", ""), datasets=dict(layout.datasets), origins=origins)


def jails(tool, changed=None):
    found = evidence(tool)
    if changed:
        files = {**found.files, **changed}
        found = Evidence(files=files, rc_conf=files["/etc/rc.conf"], datasets=found.datasets, origins=found.origins)
    return {jail.name: jail for jail in read(found)}


@pytest.mark.parametrize("tool", LAYOUTS)
def test_all_of_a_host_is_of_one_tool_whose_name_the_model_knows(tool):
    found = jails(tool)
    assert {jail.manager for jail in found.values()} == {tool}
    assert tool in Jail.Manager.values


@pytest.mark.parametrize("tool", LAYOUTS)
def test_what_it_says_of_each_is_a_jail_conf_that_jail_would_take(tool):
    for jail in jails(tool).values():
        text = jailconf.render_jail("copy", jail.parameters, header="")
        conf = jailconf.read(text)
        assert (conf.errors, conf.jails[0].failed) == ((), False), text
        assert conf.jails[0].last("path") == jail.root
        assert conf.jails[0].last("host.hostname") == jail.hostname or not jail.hostname
        interface = conf.jails[0].last("interface")
        told = [*(conf.jails[0].get("ip4.addr") or ()), *(conf.jails[0].get("ip6.addr") or ())]
        told = [f"{interface}|{one}" if interface and "|" not in one else one for one in told]
        assert jail.vnet or tuple(told) == jail.addresses


@pytest.mark.parametrize("tool", LAYOUTS)
def test_switching_its_autostart_off_leaves_every_other_jail_as_it_was(tool):
    before = jails(tool)
    for jail in before.values():
        if not jail.autostart_off:
            continue
        files = dict(evidence(tool).files)
        for edit in jail.autostart_off:
            assert files.get(edit.path) == edit.before
            if edit.after is None:
                del files[edit.path]
            else:
                files[edit.path] = edit.after
        after = {one.name: one for one in read(Evidence(files, rc_conf=files["/etc/rc.conf"]))}
        now = after.pop(jail.name, None)
        assert now is None or not now.autostart
        assert {name: one.boot for name, one in after.items()} == {
            name: one.boot for name, one in before.items() if name != jail.name
        }


@pytest.mark.parametrize("tool", LAYOUTS)
def test_without_the_tools_own_service_nothing_of_it_boots(tool):
    if tool == "jailadmin":
        changed = {"/usr/local/etc/rc.d/jail.sh": None}
        files = {path: text for path, text in evidence(tool).files.items() if path not in changed}
        assert not any(jail.boot for jail in read(Evidence(files)))
        return
    rc_conf = LAYOUTS[tool].files["/etc/rc.conf"].replace('_enable="YES"', '_enable="NO"')
    assert any(jail.autostart for jail in jails(tool).values())
    assert not any(jail.boot for jail in jails(tool, {"/etc/rc.conf": rc_conf}).values())


def test_iocage():
    found = jails("iocage")
    web, db, net = found["web.example"], found["db"], found["net"]
    assert (web.running_name, web.boot, web.release) == ("ioc-web_example", True, "13.2-RELEASE-p4")
    assert web.parameters["allow.raw_sockets"] == ()
    assert web.parameters["mount.fstab"] == ("/iocage/jails/web.example/fstab",)
    assert web.hooks == ("exec.prestart",)
    assert any("memoryuse" in note for note in web.notes)
    assert (web.dataset, db.kind, web.kind) == ("tank/iocage/jails/web.example/root", "thin", "thick")
    assert (net.kind, net.vnet) == ("base", True)
    assert any("vnet0:bridge0" in problem for problem in net.problems) and not web.problems
    assert db.autostart_off == ()


def test_iocage_takes_what_a_jail_does_not_say_from_the_defaults():
    config = "/iocage/jails/db/config.json"
    found = jails("iocage", {"/iocage/defaults.json": '{"boot": 1, "securelevel": "3"}', config: "{}"})
    assert found["db"].parameters["securelevel"] == ("3",)
    assert found["db"].boot
    (edit,) = found["db"].autostart_off
    assert not jails("iocage", {"/iocage/defaults.json": '{"boot": 1}', config: edit.after})["db"].autostart


def test_iocage_changes_the_one_value_and_no_other_byte():
    (edit,) = jails("iocage")["web.example"].autostart_off
    assert edit.after == edit.before.replace('"boot": 1', '"boot": 0')


def test_iocage_with_a_file_that_is_no_json_is_shown_and_not_taken_over():
    jail = jails("iocage", {"/iocage/jails/db/config.json": "{oops"})["db"]
    assert jail.problems[0].startswith("is no JSON")


def test_iocage_on_a_pool_of_truenas():
    files = {path.replace("/iocage", "/mnt/tank/iocage"): text for path, text in LAYOUTS["iocage"].files.items()}
    assert {jail.root for jail in read(Evidence(files))} >= {"/mnt/tank/iocage/jails/db/root"}


def test_iocell():
    (jail,) = jails("iocell").values()
    assert (jail.name, jail.running_name) == ("mail", "ioc-5d2f1c0e-7d0b-11e6-9f0c-0800279a2b3c")
    assert (jail.hostname, jail.boot, jail.addresses) == ("mail.example.org", True, ("em0|192.0.2.30",))
    assert jail.autostart_off[0].after == jail.autostart_off[0].before.replace('boot = "on"', 'boot = "off"')


def test_ezjail_as_recorded():
    found = jails("ezjail")
    www, db = found["www.example.org"], found["db"]
    assert (www.running_name, www.root, www.kind) == ("www_example_org", "/usr/jails/www.example.org", "base")
    assert db.addresses == ("vtnet0|192.0.2.72/32", "lo0|127.0.1.1/32")
    assert www.parameters["mount.fstab"] == ("/etc/fstab.www_example_org",)
    assert www.parameters["exec.consolelog"] == ("/var/log/jail_www_example_org_console.log",)
    assert [(edit.path, edit.after is None) for edit in db.autostart_off] == [
        ("/usr/local/etc/ezjail/db", True),
        ("/usr/local/etc/ezjail/db.norun", False),
    ]


def test_a_disabled_jail_of_ezjail():
    files = dict(evidence("ezjail").files)
    files["/usr/local/etc/ezjail/db.norun"] = files.pop("/usr/local/etc/ezjail/db")
    jail = next(jail for jail in read(Evidence(files, rc_conf=files["/etc/rc.conf"])) if jail.name == "db")
    assert (jail.boot, jail.autostart, jail.autostart_off) == (False, False, ())


def test_bsdploy_is_told_from_ezjail_by_its_own_marks():
    (jail,) = jails("bsdploy").values()
    assert jail.parameters["allow.raw_sockets"] == ("1",)
    assert jail.parameters["exec.start"] == ("/bin/sh /etc/rc",)
    files = {path: text for path, text in evidence("bsdploy").files.items() if "bsdploy_base" not in path}
    assert [one.manager for one in read(Evidence(files))] == ["bsdploy"]
    files["/etc/fstab.webserver"] = files["/etc/fstab.webserver"].splitlines()[0]
    assert [one.manager for one in read(Evidence(files))] == ["ezjail"]


def test_bastille_as_recorded():
    found = jails("bastille")
    web1, db1 = found["web1"], found["db1"]
    assert (web1.kind, db1.kind, web1.release) == ("thin", "thick", "12.1-RELEASE")
    assert web1.addresses == ("vtnet0|192.0.2.61",)
    own = dict(jailconf.read(evidence("bastille").files[web1.config]).jails[0].parameters)
    assert web1.parameters == {key: values for key, values in own.items() if key != "name"}
    assert web1.autostart_off[0].after == '\nboot="off"\ndepend=""\npriority="99"\n'
    assert found["empty1"].addresses == ()


def test_a_jail_of_bastille_without_settings_boots():
    files = {path: text for path, text in evidence("bastille").files.items() if not path.endswith("settings.conf")}
    jail = read(Evidence(files, rc_conf=files["/etc/rc.conf"]))[0]
    assert jail.boot
    assert (jail.autostart_off[0].before, jail.autostart_off[0].after) == (None, 'boot="off"\n')


def test_settings_of_bastille_that_do_not_end_their_last_line():
    files = dict(evidence("bastille").files)
    path = next(path for path in files if path.endswith("web1/settings.conf"))
    files[path] = 'priority="99"'
    jail = next(one for one in read(Evidence(files, rc_conf=files["/etc/rc.conf"])) if one.name == "web1")
    (edit,) = jail.autostart_off
    assert (edit.before, edit.after) == ('priority="99"', 'priority="99"\nboot="off"\n')


def test_appjail():
    nginx, build = jails("appjail")["nginx"], jails("appjail")["build"]
    assert (nginx.kind, build.kind, nginx.boot, build.boot) == ("thin", "thick", True, False)
    assert nginx.addresses == ("em0|192.0.2.40", "em0|192.0.2.41")
    assert nginx.hostname == "nginx.appjail"
    assert nginx.fstab == (
        "/usr/local/appjail/releases/amd64/13.2-RELEASE/default/release "
        "/usr/local/appjail/jails/nginx/jail/.appjail nullfs ro 0 0\n"
    )
    assert nginx.autostart_off[0].after is None


def test_templates_of_appjail():
    text = 'a: "x y", z\n+a: w\nb\n*c: "q\\"r"\n$v: 1\nd+: 1\nd+: 2\n'
    assert template(text) == {"a": ("x y", "z", "w"), "b": (), "c": ('q"r',), "d": ("1", "2")}


def test_pot():
    cache, old = jails("pot")["cache"], jails("pot")["old"]
    assert (cache.addresses, cache.boot, cache.kind) == (("em0|192.0.2.50",), True, "thick")
    assert cache.fstab == (
        "/var/cache/data /opt/pot/jails/cache/m/mnt nullfs ro 0 0\ntmpfs /opt/pot/jails/cache/m/tmp tmpfs rw 0 0\n"
    )
    assert (old.vnet, old.kind) == (True, "base")
    assert len(old.problems) == 3 and not cache.problems


def test_cbsd():
    found = jails("cbsd")
    shop, thin, away = found["shop"], found["thin1"], found["away"]
    assert sorted(found) == ["away", "shop", "thin1"]
    assert (shop.root, shop.kind, shop.boot) == ("/usr/jails/jails-data/shop-data", "thick", True)
    assert shop.addresses == ("em0|192.0.2.60",)
    assert shop.autostart_off_argv == ("cbsd", "jset", "jname=shop", "astart=0")
    # Also where it does not start at boot: the way back is one command.
    assert (thin.kind, thin.problems != (), thin.boot) == ("base", True, False)
    assert thin.autostart_off_argv == ("cbsd", "jset", "jname=thin1", "astart=0")
    assert (away.start, away.config) == ((), "/usr/jails/jails-rcconf/rc.conf_away")


@pytest.mark.parametrize(
    "data", [b"", b"text", b"SQLite format 3\0" + b"\0" * 500, cbsd_database({"jname": "a"})[:700]]
)
def test_what_is_no_database_of_cbsd(data):
    with pytest.raises(ValueError, match="is no database"):
        cbsd.database_text(data)


def test_jailadmin():
    one, two = jails("jailadmin")["server1"], jails("jailadmin")["server2"]
    assert (one.root, one.hostname, one.addresses) == ("/var/jail/server1", "www.example.net", ("192.0.2.70",))
    assert (one.boot, two.boot) == (True, False)
    assert one.fstab == "/usr/ports /var/jail/server1/usr/ports nullfs ro,noauto 0 0\n"
    assert one.autostart_off[0].after.endswith("\ngroup_all = ALL, !server2, !server1\n")


def test_defaults_of_jailadmin_count_from_where_they_stand():
    text = "jaildir=/a\ndefault_x=1\none\n    ip: 1\ndefault_x=2\njaildir=/b\ntwo\n    !x\n    dir: /c\n"
    found, _ = jailadmin.parse(text)
    assert (found["one"]["x"], found["one"]["dir"]) == ("1", "/a/one")
    assert ("x" in found["two"], found["two"]["dir"]) == (False, "/c")


def test_rc_conf():
    found = jails("rc.conf")
    www, mail, spare = found["www"], found["mail.old"], found["spare"]
    assert www.addresses == ("em0|192.0.2.80/32", "em0|192.0.2.81/25")
    assert www.hooks == ("exec.prestart",)
    assert (mail.running_name, mail.boot, spare.boot) == ("mail_old", True, False)
    assert mail.parameters["ip6.addr"] == ("em0|2001:db8::82/128",)
    assert mail.parameters["mount.fstab"] == ("/etc/fstab.mail_old",)
    assert mail.parameters["exec.stop"] == ("/bin/sh /etc/rc.shutdown jail",)
    (edit,) = www.autostart_off
    left = variables(edit.after)
    assert "jail_www_rootdir" not in left and left["jail_list"] == "www mail.old"


def of_rc_conf(text, **more):
    files = {"/etc/rc.conf": text, **more}
    return {jail.name: jail for jail in read(Evidence(files, rc_conf="\n".join(files.values())))}


WEB = 'jail_web_rootdir="/usr/jail/web"\njail_web_hostname="web.example.com"\n'


def test_a_value_of_several_lines_becomes_a_comment_as_a_whole():
    text = f'{WEB}  export jail_web_ip="192.0.2.80,\n192.0.2.81,\n192.0.2.82" # all three\nsshd_enable="YES"\n'
    (edit,) = of_rc_conf(text)["web"].autostart_off
    lines = edit.after.splitlines()
    assert [line.startswith("#") for line in lines] == [True] * 5 + [False]
    assert [line.removeprefix("#") for line in lines] == text.splitlines()
    assert variables(edit.after) == {"sshd_enable": "YES"}


@pytest.mark.parametrize(
    "line",
    [
        'jail_web_ip="192.0.2.80"; sshd_enable="YES"',
        'jail_web_ip="192.0.2.80" sshd_enable="YES"',
        'spare="a\nb"; jail_web_ip="192.0.2.80"',
        'spare="${jail_web_hostname}"',
        'if true; then\njail_web_ip="192.0.2.80"\nfi\njail_web_ip="192.0.2.81"',
    ],
)
def test_a_jail_whose_lines_do_other_things_as_well_is_not_taken_over(line):
    web = of_rc_conf(f"{WEB}{line}\n")["web"]
    assert web.autostart_off == ()
    assert web.problems


def test_a_jail_whose_variables_another_file_reads_is_not_taken_over():
    more = {"/etc/rc.conf.local": 'spare="${jail_web_rootdir}"\n'}
    (problem,) = of_rc_conf(WEB, **more)["web"].problems
    assert problem == "rc.conf: spare is made of the jail's own variables."


def test_the_variables_of_a_jail_whose_name_goes_on_are_left_to_it():
    other = WEB.replace("web", "web_db") + 'jail_web_db_ip="192.0.2.81"\n'
    unclear = "jail_web_db_interface=$(ifconfig -l)\n"
    found = of_rc_conf(WEB, **{"/etc/rc.conf.local": other + unclear})
    web, web_db = found["web"], found["web_db"]
    assert ([edit.path for edit in web.autostart_off], web.files, web.problems) == (
        ["/etc/rc.conf"],
        ("/etc/rc.conf",),
        (),
    )
    assert (web_db.files, len(web_db.problems)) == (("/etc/rc.conf.local",), 1)
    (edit,) = of_rc_conf(WEB + other)["web"].autostart_off
    assert edit.after.endswith(other)
    listed = of_rc_conf(f'{WEB}jail_list="web web_db"\njail_web_db_parameters="allow.mlock"\n')["web"].autostart_off
    assert listed[0].after.endswith('\njail_web_db_parameters="allow.mlock"\n')


def test_a_value_that_only_sh_could_tell_is_said():
    changed = LAYOUTS["rc.conf"].files["/etc/rc.conf"] + 'if true; then\njail_www_ip="192.0.2.99"\nfi\n'
    assert jails("rc.conf", {"/etc/rc.conf": changed})["www"].problems


def test_the_globs_find_every_file_that_is_read():
    from jails.hosts.facts import _FOREIGN

    for layout in LAYOUTS.values():
        for jail in read(Evidence({path: text for path, text in layout.files.items() if isinstance(text, str)})):
            assert all(_FOREIGN.fullmatch(path) or path == "/etc/rc.conf" for path in jail.files)
    assert len(GLOBS) == len(set(GLOBS))


PATHS = [path for layout in LAYOUTS.values() for path, text in layout.files.items() if isinstance(text, str)]
TEXTS = [text for layout in LAYOUTS.values() for text in layout.files.values() if isinstance(text, str)]
TEXT = st.one_of(
    st.text(max_size=200),
    st.builds(
        lambda text, at, piece: text[:at] + piece + text[at + len(piece) :],
        st.sampled_from(TEXTS), st.integers(0, 400), st.text(max_size=5),
    ),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(PATHS), TEXT, max_size=4))
def test_no_text_makes_it_fail(files):
    everything = dict(zip(PATHS, TEXTS, strict=True))
    for jail in read(Evidence({**everything, **files}, rc_conf=files.get("/etc/rc.conf", ""))):
        assert all(isinstance(value, str) for values in jail.parameters.values() for value in values)
