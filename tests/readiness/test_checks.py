"""Each check by itself: every status it can have, from facts and surveys made by hand."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from jails.freebsd.ifconfig import Address, Interface
from jails.freebsd.mount import Mount
from jails.freebsd.sockstat import Socket
from jails.freebsd.zpool import PoolStatus
from jails.hosts.facts import HostFacts
from jails.hosts.survey import HostSurvey, Mode, PacketFilter
from jails.hosts.zfs_reader import Pool
from jails.readiness import GROUPS, Look, Status, report

NOW = datetime(2025, 6, 1, tzinfo=UTC).timestamp()
GiB = 1 << 30
RC = 'jail_enable="YES"\nzfs_enable="YES"\nntpd_enable="YES"\nsyslogd_flags="-ss"\nsshd_enable="YES"\n'
SSHD = "ListenAddress 192.0.2.2\n"
SCRUBBED = "scrub repaired 0B in 00:00:01 with 0 errors on Wed May 28 03:00:00 2025"


def socket(command, ip="*", port=1, proto="tcp4", jail=""):
    return Socket("root", command, 100, proto, ip, port, jail)


QUIET = (socket("sshd", "192.0.2.2", 22), socket("ntpd", "*", 123, "udp4"))


def status_of(name="tank", **values):
    known = {"state": "ONLINE", "status": "", "scan": SCRUBBED, "scanning": False, "percent": None}
    known |= {"errors": "No known data errors", "vdevs": ("mirror",), "others": ()}
    return PoolStatus(name=name, **(known | values))


def facts(**values):
    """Of a host that is fit: a mirrored pool of its own for jails, one jail that runs."""
    known = {
        "kernel": "14.2-RELEASE",
        "userland": "14.2-RELEASE",
        "sysctls": {"kern.racct.enable": "1", "kern.features.vimage": "1"},
        "zfs": True,
        "pools": (
            Pool("tank", "ONLINE", used=30 * GiB, available=70 * GiB, reserve=20 * GiB, reserve_dataset="tank/r"),
        ),
        "mounts": (Mount("/dev/da0", "/", "ufs", ("rw",)), Mount("tank/www1", "/jail/www1", "zfs", ("rw",))),
        "files": {
            "/etc/rc.conf": RC,
            "/etc/jail.conf": 'www1 { path = "/jail/www1"; ip4.addr = "em0|192.0.2.10/32"; }\n',
            "/etc/ssh/sshd_config": SSHD,
        },
    }
    return HostFacts(**(known | values))


def survey(**values):
    known = {
        "at": NOW,
        "time": int(NOW),
        "sockets": QUIET,
        "modes": {"/jail": Mode("0700", "root", "wheel"), "/jail/www1": Mode("0755", "root", "wheel")},
        "sysctls": {"kern.securelevel": "-1", "net.inet.ip.forwarding": "0"},
        "pool_status": (status_of(),),
    }
    return HostSurvey(**(known | values))


def look(facts_=None, survey_=None, **values):
    return Look(facts_ or facts(), survey_ or survey(), NOW, **({"pool": "tank"} | values))


def find(key, *args, **values):
    found = report(look(*args, **values)).find(key)
    assert found is not None, key
    return found


def rc(text, base=RC):
    return facts(files={**facts().files, "/etc/rc.conf": base + text})


def without(section, of="survey"):
    made = {"survey": survey, "facts": facts}[of]()
    return replace(made, missing={section: "the command failed"})


def test_a_host_that_is_fit_passes_everything():
    found = report(look())
    assert [(one.key, one.reason) for one in found.findings if one.status is not Status.PASS] == []
    assert found.is_fine and len(found.findings) > 15


def test_what_was_never_looked_at_is_unknown_and_says_why():
    found = report(Look(None, None, NOW))
    assert {one.status for one in found.findings} == {Status.UNKNOWN}
    assert all("not answered" in one.reason or "not been checked" in one.reason for one in found.findings)


def test_nothing_passes_where_everything_is_missing():
    sections = ("identity", "version", "jails", "interfaces", "mounts", "space", "files", "names", "zfs")
    blind = HostFacts(zfs=True, missing=dict.fromkeys(sections, "cut off"))
    names = ["time", "sockets", "rctl", "devfs", "files", "modes", "sysctls", "pools", "pf", "updates", "sshd", "locks"]
    unseen = HostSurvey(missing=dict.fromkeys(names, "cut off"))
    found = report(Look(blind, unseen, NOW, private=("inside",), iocage=True))
    assert {one.status for one in found.findings} == {Status.UNKNOWN}
    assert all("cut off" in one.reason for one in found.findings)


@pytest.mark.parametrize("section", ["time", "sockets", "modes", "sysctls", "pools", "updates", "sshd"])
def test_a_part_that_is_missing_is_unknown_and_the_rest_is_not(section):
    found = report(look(survey_=without(section)))
    unknown = [one for one in found.findings if one.status is Status.UNKNOWN]
    assert unknown and all("could not be read: the command failed" in one.reason for one in unknown)
    assert found.count(Status.PASS) > 8


def test_every_finding_names_a_man_page_and_has_a_way_out():
    bad = facts(sysctls={}, files={}, zfs=False, pools=())
    open_ = survey(
        sockets=(socket("sshd"), socket("syslogd"), socket("inetd"), socket("nginx")), updates=("x-install",)
    )
    for one in report(look(bad, open_, private=("inside",), iocage=True)).findings:
        assert one.man.endswith(")") and one.reason.endswith((".", "”.")), one
        if one.status in (Status.FAIL, Status.WARN):
            assert one.fix or one.advice, one


def test_worst_first():
    found = report(look(facts(userland="12.1-RELEASE"), survey(updates=("x-install",))))
    weights = [group.worst.weight for group in found.groups]
    assert weights == sorted(weights, reverse=True) and found.groups[0].findings[0].key == "release"


def test_keys_of_checks_are_unique():
    keys = [check[0] for _, checks in GROUPS for check in checks]
    assert len(keys) == len(set(keys))


# FreeBSD


@pytest.mark.parametrize(
    ("release", "status"),
    [
        ("14.2-RELEASE-p3", "pass"),
        ("13.4-RELEASE", "warn"),
        ("12.1-RELEASE", "fail"),
        ("14.1-RELEASE", "fail"),
        ("16.0-CURRENT", "unknown"),
        ("", "unknown"),
    ],
)
def test_release(release, status):
    assert find("release", facts(userland=release, kernel=release)).status == status


def test_release_names_the_day():
    assert "2021-01-31" in find("release", facts(userland="12.1-RELEASE")).reason


def test_vnet():
    assert find("vnet").status == "pass"
    assert find("vnet", facts(sysctls={})).status == "warn"


def test_updates():
    assert find("updates").status == "pass"
    assert find("updates", survey_=survey(updates=("abc-install",))).status == "warn"


@pytest.mark.parametrize(
    ("skew", "status", "words"),
    [
        (1, "pass", ""),
        (-4, "pass", ""),
        (30, "warn", "30 s ahead"),
        (-600, "fail", "10 min behind"),
        (9000, "fail", "2 h"),
    ],
)
def test_clock(skew, status, words):
    found = find("clock", survey_=survey(time=int(NOW) + skew))
    assert found.status == status and words in found.reason and (status == "pass" or found.fix == "clock")


def test_the_clock_is_not_set_where_nothing_keeps_it():
    found = find("clock", rc("", 'jail_enable="YES"\n'), survey(time=1))
    assert found.status == "fail" and not found.fix and "Time service" in found.advice


@pytest.mark.parametrize(
    ("level", "conf", "status"), [("-1", "", "pass"), ("0", "", "pass"), ("1", "", "warn"), ("3", "", "warn")]
)
def test_securelevel(level, conf, status):
    found = find("securelevel", survey_=survey(sysctls={"kern.securelevel": level}))
    assert found.status == status and found.fix == ""
    assert status == "pass" or f"is {level}" in found.reason


def test_securelevel_of_rc_conf():
    assert find("securelevel", rc('kern_securelevel_enable="YES"\n')).fix == "securelevel"
    assert find("securelevel", survey_=survey(sysctls={})).status == "unknown"


def test_racct():
    off = facts(sysctls={"kern.racct.enable": "0"})
    assert (find("racct", off).status, find("racct", off).fix) == ("fail", "racct")
    set_ = replace(off, files={**off.files, "/boot/loader.conf": "kern.racct.enable=1\n"})
    assert (find("racct", set_).status, find("racct", set_).fix) == ("warn", "")
    local = survey(files={"/boot/loader.conf.local": "kern.racct.enable=0\n"})
    found = find("racct", set_, local)
    assert found.status == "fail" and "/boot/loader.conf.local" in found.advice


@pytest.mark.parametrize(
    ("now", "conf", "status"), [("1", "YES", "pass"), ("1", "NO", "warn"), ("0", "YES", "fail"), ("", "YES", "unknown")]
)
def test_forwarding(now, conf, status):
    seen = survey(sysctls={"net.inet.ip.forwarding": now} if now else {})
    assert find("forwarding", rc(f'gateway_enable="{conf}"\n'), seen, private=("inside",)).status == status


def test_nat_is_no_matter_where_nobody_wants_it():
    assert report(look()).find("forwarding") is None and report(look()).find("pf") is None


@pytest.mark.parametrize(
    ("pf", "conf", "status", "fix"),
    [
        (None, "", "fail", ""),
        (PacketFilter(False), "", "fail", ""),
        (PacketFilter(True), "", "warn", "pf_enable"),
        (PacketFilter(True), 'pf_enable="YES"\n', "pass", ""),
        (PacketFilter(True, ("nat-anchor cellblock/*",)), 'pf_enable="YES"\n', "pass", ""),
    ],
)
def test_pf(pf, conf, status, fix):
    found = find("pf", rc(conf), survey(pf=pf), private=("inside",))
    assert (found.status, found.fix) == (status, fix)


# Services


@pytest.mark.parametrize(
    ("one", "key", "status", "fix"),
    [
        (socket("sendmail", "*", 25), "service:sendmail", "fail", "service_off"),
        (socket("sendmail", "127.0.0.1", 25), "service:sendmail", "warn", "service_off"),
        (socket("nginx", "192.0.2.10", 80), "service:nginx", "fail", ""),
        (socket("nginx", "192.0.2.2", 80), "service:nginx", "warn", ""),
    ],
)
def test_services(one, key, status, fix):
    found = find(key, survey_=survey(sockets=(*QUIET, one)))
    assert (found.status, found.fix) == (status, fix) and f"{one.ip}:{one.port}" in found.reason


def test_what_only_inetd_runs_has_no_script_to_turn_it_off_by():
    found = find("service:telnetd", survey_=survey(sockets=(*QUIET, socket("telnetd", "*", 23))))
    assert (found.status, found.fix) == ("fail", "") and "/etc/inetd.conf" in found.advice


def test_ftpd_is_turned_off_where_rc_conf_starts_it_and_else_is_inetds():
    sockets = survey(sockets=(*QUIET, socket("ftpd", "*", 21)))
    found = find("service:ftpd", rc('ftpd_enable="YES"\n'), sockets)
    assert (found.fix, found.parameters) == ("service_off", {"service": "ftpd"})
    found = find("service:ftpd", rc(""), sockets)
    assert (found.status, found.fix) == ("fail", "") and "/etc/inetd.conf" in found.advice


def test_what_jails_run_is_not_the_hosts():
    seen = survey(sockets=(*QUIET, socket("nginx", "192.0.2.10", 80, jail="www1")))
    assert find("services", survey_=seen).status == "pass"


@pytest.mark.parametrize(
    ("sockets", "flags", "status"),
    [
        ((), "-ss", "pass"),
        ((socket("syslogd", "*", 514, "udp6"),), "-s", "fail"),
        ((socket("syslogd", "192.0.2.10", 514, "udp4"),), "-b 192.0.2.10", "fail"),
        ((socket("syslogd", "192.0.2.2", 514, "udp4"),), "-b 192.0.2.2", "pass"),
        ((), "-s", "warn"),
        ((socket("syslogd", "*", 514, "udp4"),), "-ss", "fail"),
    ],
)
def test_syslogd(sockets, flags, status):
    conf = rc("", RC.replace('"-ss"', f'"{flags}"'))
    found = find("syslogd", conf, survey(sockets=(*QUIET, *sockets)))
    assert (found.status, found.fix) == (status, "" if status == "pass" else "syslogd")


@pytest.mark.parametrize(
    ("sockets", "config", "status"),
    [
        ((socket("sshd", "192.0.2.2", 22),), SSHD, "pass"),
        ((socket("sshd", "*", 22),), "", "fail"),
        ((socket("sshd", "192.0.2.10", 22),), SSHD, "fail"),
        ((socket("sshd", "192.0.2.2", 22), socket("sshd", "*", 8080)), SSHD, "pass"),
        ((socket("sshd", "*", 2222),), "Port 2222\n", "fail"),
        ((socket("sshd", "*", 2222),), "Include /etc/ssh/more\n", "fail"),
        ((socket("sshd", "192.0.2.2", 22),), "", "warn"),
        ((), "", "pass"),
    ],
)
def test_sshd(sockets, config, status):
    known = facts(files={**facts().files, "/etc/ssh/sshd_config": config})
    assert find("sshd", known, survey(sockets=sockets)).status == status


def test_an_sshd_config_that_sshd_would_not_take():
    found = find("sshd", survey_=survey(sshd_test="/etc/ssh/sshd_config: line 3: Bad configuration option: Foo\n"))
    assert found.status == "fail" and "Bad configuration option: Foo" in found.reason and found.advice


@pytest.mark.parametrize(
    ("sockets", "conf", "status", "fix"),
    [
        ((socket("ntpd", "*", 123, "udp4"),), 'ntpd_enable="YES"\n', "pass", ""),
        ((socket("ntpd", "*", 123, "udp4"),), "", "warn", "ntpd"),
        ((), 'ntpd_enable="YES"\n', "fail", "ntpd"),
        ((), "", "fail", "ntpd"),
        ((), 'openntpd_enable="YES"\n', "pass", ""),
        ((socket("ntpd", "192.0.2.10", 123, "udp4", jail="www1"),), 'ntpd_enable="YES"\n', "fail", ""),
    ],
)
def test_time_service(sockets, conf, status, fix):
    found = find("ntpd", rc(conf, 'jail_enable="YES"\n'), survey(sockets=sockets))
    assert (found.status, found.fix) == (status, fix)


def test_openntpd_shows_by_the_time_alone():
    found = find("ntpd", rc('openntpd_enable="YES"\n', ""), survey(sockets=(), time=1))
    assert found.status == "unknown"


# ZFS


def test_a_pool_for_jails_alone():
    shared = facts(mounts=(Mount("tank/ROOT/default", "/", "zfs", ("rw",)),))
    assert find("separate").status == "pass" and find("separate", shared).status == "warn"
    assert find("separate", facts(zfs=False, pools=())).status == "pass"
    assert find("separate", pool="nosuch").status == "fail"


@pytest.mark.parametrize(
    ("vdevs", "others", "status"),
    [
        (("mirror",), (), "pass"),
        (("raidz2", "raidz2"), ("logs:disk",), "pass"),
        (("disk",), (), "warn"),
        (("mirror", "disk"), (), "warn"),
        (("mirror",), ("special:disk",), "warn"),
        ((), (), "unknown"),
    ],
)
def test_redundancy(vdevs, others, status):
    found = find("redundancy:tank", survey_=survey(pool_status=(status_of(vdevs=vdevs, others=others),)))
    assert found.status == status


def test_both_pools_are_looked_at():
    known = facts(
        mounts=(Mount("zroot/ROOT/default", "/", "zfs", ("rw",)),),
        pools=(Pool("zroot", "ONLINE"), *facts().pools, Pool("backup", "ONLINE")),
    )
    seen = survey(pool_status=(status_of("backup", vdevs=("disk",)), status_of(), status_of("zroot", vdevs=("disk",))))
    found = report(look(known, seen))
    assert found.find("redundancy:zroot").status == "warn" and found.find("redundancy:tank").status == "pass"
    assert found.find("redundancy:backup") is None


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, "pass"),
        ({"state": "DEGRADED", "status": "One or more devices has been taken offline."}, "fail"),
        ({"errors": "3 data errors, use '-v' for a list"}, "fail"),
        ({"status": "Some supported features are not enabled on the pool."}, "warn"),
    ],
)
def test_health(values, status):
    assert find("health:tank", survey_=survey(pool_status=(status_of(**values),))).status == status


@pytest.mark.parametrize(
    ("scan", "scanning", "status"),
    [
        (SCRUBBED, False, "pass"),
        ("scrub repaired 0 in 0 days 01:00:00 with 0 errors on Sun Mar  2 03:00:00 2025", False, "warn"),
        ("none requested", False, "fail"),
        ("", False, "fail"),
        ("scrub in progress since Sun Jun  1 03:00:00 2025 50.0% done", True, "pass"),
        ("resilvered 1M in 00:00:01 with 0 errors on Wed May 28 03:00:00 2025", False, "warn"),
    ],
)
def test_scrub(scan, scanning, status):
    found = find("scrub:tank", survey_=survey(pool_status=(status_of(scan=scan, scanning=scanning),)))
    assert found.status == status and (
        status == "pass" or (found.fix, dict(found.parameters)) == ("scrub", {"pool": "tank"})
    )


@pytest.mark.parametrize(
    ("reserve", "available", "status", "fix"),
    [
        (20, 70, "pass", ""),
        (0, 70, "fail", "reserve"),
        (10, 70, "fail", "reserve"),
        (15, 70, "warn", "reserve"),
        (20, 1, "warn", "reserve_lower"),
    ],
)
def test_reserve(reserve, available, status, fix):
    pool = Pool("tank", "ONLINE", used=(100 - available) * GiB, available=available * GiB, reserve=reserve * GiB)
    found = find("reserve:tank", facts(pools=(pool,)))
    assert (found.status, found.fix) == (status, fix)


def test_a_host_that_hides_its_kernel_may_have_zfs():
    found = report(look(facts(zfs=False, pools=(), missing={"identity": "cut off"})))
    assert {found.find(key).status for key in ("separate", "reserve", "zfs_enable")} == {"unknown"}


# Boot


def jail_conf(text, conf, **own):
    files = {"/etc/rc.conf": conf, "/etc/jail.conf": text, **{f"/etc/jail.conf.d/{k}.conf": v for k, v in own.items()}}
    return facts(files=files, names={"/etc/jail.conf.d": tuple(f"{name}.conf" for name in own)})


ONE = 'www1 { path = "/jail/www1"; }\n'


@pytest.mark.parametrize(
    ("text", "conf", "status"),
    [(ONE, 'jail_enable="YES"\n', "pass"), (ONE, "", "fail"), ("", "", "warn"), (ONE, "jail_enable=`x`\n", "unknown")],
)
def test_jail_enable(text, conf, status):
    assert find("jail_enable", jail_conf(text, conf)).status == status


@pytest.mark.parametrize(
    ("conf", "own", "status", "words"),
    [
        ('jail_enable="YES"\njail_list="www1"\n', {}, "pass", "names 1 jail"),
        ('jail_enable="YES"\njail_list="www1 gone"\n', {}, "fail", "gone"),
        ('jail_enable="YES"\njail_list="www1 a-b"\njail_a_b_conf=/etc/x.conf\n', {}, "pass", "names 2 jails"),
        ('jail_enable="YES"\njail_list="c"\njail_c_rootdir=/c\njail_c_hostname=c\n', {}, "pass", "names 1 jail"),
        ('jail_enable="YES"\njail_list="c"\njail_c_rootdir=/c\n', {}, "fail", "names c"),
        ('jail_enable="YES"\njail_list="c"\njail_c_conf=$(x)\n', {}, "pass", "names 1 jail"),
        ('jail_enable="YES"\n', {}, "pass", "no jail is left out"),
        ('jail_enable="YES"\n', {"db1": 'db1 { path = "/jail/db1"; }\n'}, "warn", "db1"),
    ],
)
def test_jail_list(conf, own, status, words):
    found = find("jail_list", jail_conf(ONE, conf, **own))
    assert found.status == status and words in found.reason


@pytest.mark.parametrize(
    ("order", "text", "status", "fix"),
    [
        ("db1 www1", 'www1 { depend = db1; }\ndb1 { path = "/x"; }\n', "pass", ""),
        ("www1 db1", 'www1 { depend = db1; }\ndb1 { path = "/x"; }\n', "warn", "boot_order"),
        ("www1 db1", "www1 { depend = db1; }\ndb1 { depend = www1; }\n", "fail", ""),
        ("www1", "www1 { depend = db1; }\ndb1 { }\n", "pass", ""),
    ],
)
def test_boot_order(order, text, status, fix):
    found = find("boot_order", jail_conf(text, f'jail_enable="YES"\njail_list="{order}"\n'))
    assert (found.status, found.fix) == (status, fix)


def test_zfs_enable():
    assert find("zfs_enable").status == "pass"
    assert find("zfs_enable", rc("", 'jail_enable="YES"\n')).fix == "zfs_enable"
    assert report(look(facts(zfs=False, pools=()))).find("zfs_enable") is None


# Trees


def tree(mode, path="/jail", **more):
    modes = {path: Mode(mode, "root", "wheel"), **{p: Mode(m, "root", "wheel") for p, m in more.items()}}
    return survey(modes=modes)


def test_trees():
    assert find("tree:/jail", survey_=tree("0700")).status == "pass"
    assert find("tree:/jail", survey_=tree("0750")).status == "pass"
    found = find("tree:/jail", survey_=tree("0755"))
    assert (found.status, found.fix, dict(found.parameters)) == ("fail", "tree_mode", {"path": "/jail"})
    assert "www1" in found.reason and "0755" in found.reason
    assert find("tree:/jail", survey_=survey(modes={})).status == "unknown"


def test_a_folder_above_may_keep_people_out():
    known = facts(files={"/etc/rc.conf": RC, "/etc/jail.conf": 'a { path = "/data/jails/a"; }\n'})
    seen = survey(modes={"/data": Mode("0700", "root", "wheel"), "/data/jails": Mode("0755", "root", "wheel")})
    assert find("tree:/data/jails", known, seen).status == "pass"


def test_a_folder_that_others_need_is_not_closed():
    known = facts(files={"/etc/rc.conf": RC, "/etc/jail.conf": 'a { path = "/usr/home/a"; }\n'})
    found = find("tree:/usr/home", known, survey(modes={"/usr/home": Mode("0755", "root", "wheel")}))
    assert found.status == "fail" and not found.fix and found.advice


def test_trees_of_tools_are_closed_above_the_folders_of_the_jails():
    known = facts(files={"/etc/rc.conf": RC, "/etc/jail.conf": 'a { path = "/usr/local/bastille/jails/a/root"; }\n'})
    seen = survey(modes={"/usr/local/bastille/jails": Mode("0755", "root", "wheel")})
    assert find("tree:/usr/local/bastille/jails", known, seen).fix == "tree_mode"


@pytest.mark.parametrize(
    ("mount", "status"),
    [
        (Mount("/usr/base", "/jail/www1", "unionfs", ("rw",)), "fail"),
        (Mount("nas:/x", "/jail/www1/srv", "nfs", ("rw",)), "warn"),
        (Mount("nas:/x", "/jail", "nfs", ("rw",)), "warn"),
        (Mount("nas:/x", "/mnt", "nfs", ("rw",)), "pass"),
        (Mount("/usr/ports", "/jail/www1/usr/ports", "nullfs", ("ro",)), "pass"),
    ],
)
def test_file_systems(mount, status):
    assert find("filesystems", facts(mounts=(*facts().mounts, mount))).status == status


def test_what_iocage_wants():
    fstab = {**facts().files, "/etc/fstab": "fdesc\t/dev/fd\tfdescfs\trw\t0\t0\n"}
    mounted = (*facts().mounts, Mount("fdescfs", "/dev/fd", "fdescfs", ("rw",)))
    assert find("fdescfs", iocage=True).status == "fail"
    assert find("fdescfs", facts(mounts=mounted), iocage=True).status == "warn"
    assert find("fdescfs", facts(mounts=mounted, files=fstab), iocage=True).status == "pass"
    utf8 = {**facts().files, "/etc/login.conf": "default:\\\n\t:charset=UTF-8:\\\n\t:lang=C.UTF-8:\n"}
    plain = {**facts().files, "/etc/login.conf": "default:\\\n\t:path=/bin:\n"}
    assert find("locale", facts(files=utf8), iocage=True).status == "pass"
    assert find("locale", facts(files=plain), iocage=True).fix == "locale"
    assert find("locale", iocage=True).status == "unknown"
    assert report(look()).find("fdescfs") is None


def test_the_addresses_to_choose_from_are_the_hosts_own():
    addresses = tuple(Address("inet", ip, 24) for ip in ("192.0.2.2", "192.0.2.10", "127.0.0.1"))
    known = facts(
        interfaces=(Interface("em0", ("UP",), 1500, addresses=(*addresses, Address("inet6", "fe80::1", 64))),)
    )
    assert look(known).own_addresses() == ["192.0.2.2"]
