"""Every fix of the report on a simulated host: what is wrong shows, is put right, and undone it leaves no trace."""

import json
import time

import pytest

from jails.hosts import surveying
from jails.models import AuditEntry, Host, Network
from jails.operations import fixes, layout, lifecycle
from jails.operations.kind import Refused
from jails.readiness.rows import report_of
from tests.operations.world import transcript

JAIL = 'www1 {{ path = "{path}"; host.hostname = "www1"; persist; {more} }}\n'


def state(world):
    return world.simulation.directory / "state.json"


def change(world, **values):
    """The state of the simulated host, behind its back."""
    known = json.loads(state(world).read_text())
    known.update(values)
    state(world).write_text(json.dumps(known))


def finding(world, key, *, at=None):
    world.refresh()
    surveying.survey(world.row, connection=lambda host: world.connection)
    found = report_of(world.row, time.time() if at is None else at)
    return found.find(key)


def status(world, key, **more):
    found = finding(world, key, **more)
    return (found.status.value, found.fix) if found else None


def files_of(world):
    """All files of the host outside /var/run, with their modes: an undone fix must leave these."""
    root = world.simulation.directory / "root"
    found = {}
    for folder in ("etc", "boot", "jail", "usr/local/etc"):
        for path in sorted((root / folder).glob("**/*")):
            if path.name != ".simulated-metadata":
                found[str(path.relative_to(root))] = path.read_bytes() if path.is_file() else "folder"
    return found


def picture(world):
    known = json.loads(state(world).read_text())
    sockets = sorted((row["command"], row["proto"], row["local"]) for row in known["sockets"])
    return {
        **world.picture(),
        "files": files_of(world),
        "sockets": sockets,
        "forwarding": world.simulation.run("sysctl", "-n", "net.inet.ip.forwarding"),
        "mode": world.sh('stat -f "%Mp%Lp" /jail 2>/dev/null || true'),
        "reservations": world.simulation.run("zfs", "list", "-Hp", "-o", "name,reservation") if world.zfs else "",
    }


def describe(world, name="www1", path="", more=""):
    world.sh("mkdir -p /etc/jail.conf.d")
    text = JAIL.format(path=path or f"/jail/{name}", more=more).replace("www1", name)
    world.write(f"/etc/jail.conf.d/{name}.conf", text)


# How each thing that a fix is for comes about


def sendmail_runs(world):
    world.sh("sysrc sendmail_enable=YES; service sendmail start")


def nothing(world):
    pass


def a_level(world):
    world.sh("sysrc kern_securelevel_enable=YES kern_securelevel=1")


def slow_clock(world):
    world.sh("sysrc ntpd_enable=YES; service ntpd start")
    change(world, skew=-900)


def private_network(world):
    world.row.interface = ""
    world.row.save()
    Network.objects.create(name="inside", cidr="10.0.0.0/24", host=world.row, interface="lo1")


def pf_by_hand(world):
    private_network(world)
    world.write("/etc/pf.conf", 'nat-anchor "cellblock/*"\npass\n')
    world.sh("service pf onestart")


def a_jail(world):
    describe(world)


def a_stale_list(world):
    describe(world)
    world.sh('sysrc jail_enable=YES jail_list="gone www1"')


def a_wrong_order(world):
    describe(world, more="depend = db1;")
    describe(world, "db1")
    world.sh('sysrc jail_enable=YES jail_list="www1 db1"')


def no_zfs_at_boot(world):
    world.sh("sysrc zfs_enable=NO")


def an_open_tree(world):
    world.sh("mkdir -p -m 0755 /jail")
    world.sh("chmod 0755 /jail")


def iocage(world):
    world.sh("zfs create -o mountpoint=/iocage zroot/iocage")


def lowered(world):
    world.done("host_setup", reserve=True)
    world.done("host_fix", fix="reserve_lower", pool="zroot")


def full(world):
    world.done("host_setup", reserve=True)
    pool = world.facts().pool("zroot")
    size = int((pool.used + pool.available) * 0.79)
    world.sh(f"zfs create -o mountpoint=/data -o reservation={size} zroot/data")


# Finding, its status before, the fix with its parameters, what brings it about
CASES = [
    ("service:sendmail", "fail", {"fix": "service_off", "service": "sendmail"}, sendmail_runs),
    ("syslogd", "fail", {"fix": "syslogd", "address": ""}, nothing),
    ("syslogd", "fail", {"fix": "syslogd", "address": "192.0.2.2"}, nothing),
    ("sshd", "fail", {"fix": "sshd", "addresses": ["192.0.2.2", "2001:db8::2"]}, nothing),
    ("ntpd", "fail", {"fix": "ntpd"}, nothing),
    ("clock", "fail", {"fix": "clock"}, slow_clock),
    ("securelevel", "warn", {"fix": "securelevel"}, a_level),
    ("forwarding", "fail", {"fix": "forwarding"}, private_network),
    ("pf", "warn", {"fix": "pf_enable"}, pf_by_hand),
    ("scrub:zroot", "fail", {"fix": "scrub", "pool": "zroot"}, nothing),
    ("reserve:zroot", "fail", {"fix": "reserve", "pool": "zroot"}, nothing),
    ("reserve:zroot", "warn", {"fix": "reserve", "pool": "zroot"}, lowered),
    ("jail_enable", "fail", {"fix": "jail_enable"}, a_jail),
    ("jail_enable", "warn", {"fix": "jail_enable"}, nothing),
    ("jail_list", "fail", {"fix": "jail_list"}, a_stale_list),
    ("boot_order", "warn", {"fix": "boot_order"}, a_wrong_order),
    ("zfs_enable", "fail", {"fix": "zfs_enable"}, no_zfs_at_boot),
    ("tree:/jail", "fail", {"fix": "tree_mode", "path": "/jail"}, an_open_tree),
    ("fdescfs", "fail", {"fix": "fdescfs"}, iocage),
    ("locale", "fail", {"fix": "locale"}, iocage),
]
NAMES = [f"{key} {wish['fix']} {bring.__name__}" for key, _, wish, bring in CASES]


@pytest.mark.parametrize(("key", "before", "wish", "bring"), CASES, ids=NAMES)
def test_it_shows_and_the_fix_puts_it_right(world, key, before, wish, bring):
    bring(world)
    assert status(world, key) == (before, wish["fix"])
    world.done("host_fix", **wish)
    after = finding(world, key)
    assert after is None or after.status.value == "pass", after


SPARE = {"scrub"}
"""Nothing of it can be taken back, or needs to be."""


@pytest.mark.parametrize(
    ("wish", "bring"),
    [case[2:] for case in CASES if case[2]["fix"] not in SPARE],
    ids=[name for name in NAMES if name.split()[1] not in SPARE],
)
def test_undone_it_leaves_the_host_as_it_was(world, wish, bring, monkeypatch):
    bring(world)
    before = picture(world)
    _fail_at_the_end(monkeypatch)
    operation = world.confirm("host_fix", **wish)
    assert world.work(operation) == "failed", transcript(operation)
    done = operation.steps.filter(status__in=["undone", "skipped"]).count()
    assert done, transcript(operation)
    assert picture(world) == before


def _fail_at_the_end(monkeypatch):
    """One more step, after all of the fix's own, that fails."""
    from dataclasses import replace

    from jails.operations.host_fix import HostFix
    from jails.operations.step import Run, Step

    real = HostFix.plan

    def plan(self, request):
        found = real(self, request)
        return replace(found, steps=(*found.steps, Step(key="last", purpose="Fail", action=Run((("false",),)))))

    monkeypatch.setattr(HostFix, "plan", plan)


def test_limits_count_from_the_next_start(world):
    assert status(world, "racct") == ("fail", "racct")
    operation = world.done("host_fix", fix="racct")
    assert world.read("/boot/loader.conf") == 'kern.racct.enable="1"\n'
    assert "restarted" in operation.plan["warnings"][0]
    waits = finding(world, "racct")
    assert waits.status.value == "warn" and waits.fix == "" and "next start" in waits.reason
    world.sh("shutdown -r now")
    assert status(world, "racct") == ("pass", "")


def test_what_is_in_loader_conf_stays(world, monkeypatch):
    world.sh("mkdir -p /boot")
    world.write("/boot/loader.conf", '# mine\nzfs_load="YES"')
    world.done("host_fix", fix="racct")
    assert world.read("/boot/loader.conf") == '# mine\nzfs_load="YES"\nkern.racct.enable="1"\n'
    with pytest.raises(Refused, match="has it already"):
        world.draft("host_fix", fix="racct")


def test_a_secure_level_is_gone_after_a_restart(world):
    a_level(world)
    world.sh("shutdown -r now")
    assert "kern.securelevel is 1" in finding(world, "securelevel").reason
    world.done("host_fix", fix="securelevel")
    waits = finding(world, "securelevel")
    assert waits.status.value == "warn" and waits.fix == "" and "after a restart" in waits.advice
    world.sh("shutdown -r now")
    assert status(world, "securelevel") == ("pass", "")


def test_forwarding_holds_after_a_restart(world):
    private_network(world)
    world.done("host_fix", fix="forwarding")
    world.sh("shutdown -r now")
    assert status(world, "forwarding") == ("pass", "")


# The reserve


def test_the_reserve_is_lowered_when_there_is_hardly_any_room_and_raised_again(world):
    full(world)
    assert status(world, "reserve:zroot") == ("warn", "reserve_lower")
    held = world.facts().pool("zroot").reserve
    world.done("host_fix", fix="reserve_lower", pool="zroot")
    assert world.facts().pool("zroot").reserve == pytest.approx(held * 0.75, rel=0.01)
    assert status(world, "reserve:zroot") == ("warn", "reserve")
    with pytest.raises(Refused, match="No more than 15 %"):
        world.draft("host_fix", fix="reserve_lower", pool="zroot")
    world.sh("zfs destroy zroot/data")
    world.done("host_fix", fix="reserve", pool="zroot")
    assert world.facts().pool("zroot").reserve == held
    assert status(world, "reserve:zroot") == ("pass", "")


def test_what_a_person_holds_back_is_not_lowered(world):
    world.sh("zfs create -o mountpoint=none -o canmount=off -o reservation=2G zroot/spare")
    with pytest.raises(Refused, match="zroot/spare that holds back, made by hand"):
        world.draft("host_fix", fix="reserve_lower", pool="zroot")


# sshd


def over_ssh(world, address):
    world.row.kind, world.row.address = Host.Kind.SSH, address
    world.row.save()
    return lambda **wish: lifecycle.draft("host_fix", wish, host=world.row, user=world.user)


def test_the_address_the_panel_uses_must_stay(world):
    world.refresh()
    draft = over_ssh(world, "192.0.2.2")
    with pytest.raises(Refused) as refused:
        draft(fix="sshd", addresses=["2001:db8::2"])
    assert refused.value.errors == {"addresses": "192.0.2.2 must stay: the panel reaches warden1 there."}
    assert draft(fix="sshd", addresses=["192.0.2.2"]).status == "draft"


@pytest.mark.parametrize("address", ["warden1.example.org", "203.0.113.9"])
def test_where_its_address_is_not_certain_all_must_stay(world, address):
    world.refresh()
    draft = over_ssh(world, address)
    with pytest.raises(Refused, match="2001:db8::2 must stay as well"):
        draft(fix="sshd", addresses=["192.0.2.2"])
    assert draft(fix="sshd", addresses=["192.0.2.2", "2001:db8::2"]).status == "draft"


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        ([], "names no address"),
        (["192.0.2.99"], "is no address of warden1"),
        (["192.0.2.10"], "belongs to jail www1"),
        (["192.0.2.2; reboot"], "192.0.2.2; reboot"),
        ("192.0.2.2", "names no address"),
    ],
)
def test_addresses_are_the_hosts_own(world, addresses, words):
    describe(world, more='ip4.addr = "em0|192.0.2.10/32";')
    with pytest.raises(Refused, match=words):
        world.draft("host_fix", fix="sshd", addresses=addresses)


def test_sshd_is_asked_about_the_file_before_it_takes_its_place(world):
    operation = world.confirm("host_fix", fix="sshd", addresses=["192.0.2.2"])
    world.fail("sshd -t -f", "it is bad")
    before = world.read("/etc/ssh/sshd_config")
    assert world.work(operation) == "failed" and "it is bad" in operation.error
    assert world.read("/etc/ssh/sshd_config") == before and world.list("/etc/ssh").count("sshd_config") == 1
    assert not any("reload" in " ".join(entry["argv"]) for entry in world.simulation.log())


def test_a_reload_that_does_not_take_is_undone(world):
    before = picture(world)
    operation = world.confirm("host_fix", fix="sshd", addresses=["192.0.2.2"])
    for nth in (1, 2, 3):
        world.fail("service sshd reload", nth=nth)
    assert world.work(operation) == "failed", transcript(operation)
    assert picture(world) == before


@pytest.mark.parametrize("line", ["ListenAddress 192.0.2.2:2222", "ListenAddress warden1", "Include /etc/ssh/more"])
def test_a_file_with_more_in_it_is_left_to_people(world, line):
    world.sh('echo "$1" >>/etc/ssh/sshd_config', line)
    with pytest.raises(Refused, match="by hand"):
        world.draft("host_fix", fix="sshd", addresses=["192.0.2.2"])


# rc.conf


@pytest.mark.parametrize(
    "was",
    [
        "syslogd_flags=-s\n",
        "syslogd_flags='-s -v'   # mine\n",
        'export syslogd_flags="-s"\n',
        'syslogd_flags="-s"  # mine\nhostname="x"\n',
        'syslogd_flags="-s"\nsyslogd_flags="-sv"\n',
        'hostname="x"',
        "",
    ],
)
def test_rc_conf_is_put_back_byte_for_byte(world, was, monkeypatch):
    world.write("/etc/rc.conf", was)
    before = picture(world)
    _fail_at_the_end(monkeypatch)
    operation = world.confirm("host_fix", fix="syslogd", address="")
    assert world.work(operation) == "failed", transcript(operation)
    assert world.read("/etc/rc.conf") == was and picture(world) == before


def test_rc_conf_is_written_by_sysrc_where_it_can_be(world):
    operation = world.draft("host_fix", fix="syslogd", address="")
    assert operation.plan["steps"][0]["action"]["argvs"] == [["sysrc", "syslogd_flags=-ss"]]


@pytest.mark.parametrize(
    "was", ['syslogd_flags="$x -s"\n', "syslogd_flags=`date`\n", '. /etc/more\nsyslogd_flags="-s"\n']
)
def test_an_rc_conf_that_only_sh_can_tell_is_left_alone(world, was):
    world.write("/etc/rc.conf", was)
    with pytest.raises(Refused):
        world.draft("host_fix", fix="syslogd", address="")


@pytest.mark.parametrize(
    ("was", "address", "flags"),
    [
        ("-s", "", "-ss"),
        ("-vv -b 192.0.2.9 -a 192.0.2.0/24", "", "-ss -vv"),
        ("-a 192.0.2.0/24 -C", "192.0.2.2", "-b 192.0.2.2 -a 192.0.2.0/24 -C"),
        ("-b192.0.2.9", "192.0.2.2", "-s -b 192.0.2.2"),
    ],
)
def test_flags_of_syslogd(was, address, flags):
    assert fixes._syslogd_flags(was, address) == flags


def test_openntpd_is_left_to_keep_the_time(world):
    world.sh("sysrc openntpd_enable=YES")
    assert status(world, "ntpd") == ("pass", "")
    with pytest.raises(Refused, match="openntpd is to keep the time"):
        world.draft("host_fix", fix="ntpd")


def test_a_jail_that_has_the_time_port_is_named(world):
    describe(world, more='ip4.addr = "em0|192.0.2.10/32";')
    world.sh("mkdir -p /jail/www1; jail -q -f /etc/jail.conf.d/www1.conf -c www1")
    known = json.loads(state(world).read_text())
    jid = known["jails"][0]["jid"]
    known["processes"] = [
        {"pid": 900, "jid": jid, "user": "root", "name": "ntpd", "args": "ntpd", "started": 1.0, "real": None}
    ]
    known["sockets"].append(
        {"user": "root", "command": "ntpd", "pid": 900, "fd": 3, "proto": "udp4", "local": "192.0.2.10:123",
         "foreign": "*:*", "jid": jid}
    )  # fmt: skip
    state(world).write_text(json.dumps(known))
    found = finding(world, "ntpd")
    assert found.status.value == "fail" and "www1" in found.reason and found.advice


# Boot


def test_turning_jails_on_names_what_starts_then(world):
    world.sh("echo '.include \"/etc/jail.conf.d/*.conf\";' >/etc/jail.conf")
    describe(world)
    describe(world, "old")
    operation = world.draft("host_fix", fix="jail_enable")
    assert "old" in operation.plan["summary"][0] and "www1" in operation.plan["summary"][0]
    assert operation.plan["warnings"]


def test_a_list_of_nothing_but_strangers_does_not_start_everything(world):
    world.sh('sysrc jail_enable=YES jail_list="gone"')
    world.write("/etc/jail.conf", JAIL.format(path="/jail/www1", more=""))
    world.done("host_fix", fix="jail_list")
    assert world.facts().boot_state().boots_today == ()


# Who may, and what is refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"fix": "nosuch"},
        {},
        {"fix": "service_off", "service": "jail"},
        {"fix": "service_off"},
        {"fix": "scrub", "pool": "zroot; reboot"},
        {"fix": "ntpd", "more": "x"},
        {"fix": "tree_mode", "path": "relative"},
    ],
)
def test_parameters_are_checked(world, wrong):
    with pytest.raises(Refused):
        world.draft("host_fix", **wrong)


@pytest.mark.parametrize("path", ["/etc", "/usr", "/root", "/", "/home"])
def test_no_folder_of_the_system_is_closed(world, path):
    with pytest.raises(Refused, match="no folder for jails alone"):
        world.draft("host_fix", fix="tree_mode", path=path)


def test_what_is_fine_has_no_fix(world):
    with pytest.raises(Refused, match="already"):
        world.draft("host_fix", fix="zfs_enable")
    with pytest.raises(Refused, match="no pool tank"):
        world.draft("host_fix", fix="scrub", pool="tank")
    with pytest.raises(Refused, match="right as it is"):
        world.draft("host_fix", fix="boot_order")


def test_it_is_audited_and_the_host_looked_at_again(world, messages, django_capture_on_commit_callbacks):
    operation = world.confirm("host_fix", fix="ntpd")
    with django_capture_on_commit_callbacks(execute=True):
        assert world.work(operation) == "done"
    assert AuditEntry.objects.get(operation=str(operation.pk), action="host.fix").outcome == "done"
    assert ("survey_host", world.row.pk) in [(task, argument) for task, argument, *_ in messages]


def test_the_plan_holds_the_lock_of_rc_conf(world):
    operation = world.draft("host_fix", fix="ntpd")
    assert operation.plan["resources"] == [layout.rc_conf_lock(world.row)]


def test_who_binds_to_an_address_that_rc_conf_does_not_name_is_warned():
    from jails.hosts.facts import HostFacts
    from jails.operations import fixes

    conf = 'ifconfig_em0="DHCP"\nifconfig_em0_alias0="inet 192.0.2.2/24"\n'
    facts = HostFacts(missing={}, files={"/etc/rc.conf": conf}, jail_root="/jail")
    (warning,) = fixes._not_static(facts, ["192.0.2.2", "192.0.2.3", "127.0.0.1"], "sshd")
    assert "192.0.2.3 " in warning and "192.0.2.2" not in warning
    assert fixes._not_static(facts, ["192.0.2.2"], "sshd") == ()
