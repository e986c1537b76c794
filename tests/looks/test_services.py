import pytest

from jails.freebsd import rcservices
from jails.hosts.connection import CommandTimeout, Result
from jails.looks import services

pytestmark = pytest.mark.django_db


def test_what_starts_with_a_jail_and_what_runs(warden, look):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("jexec www1 service sshd onestart; jexec www1 service syslogd onestop || true")
    found = look(www1, "services")
    assert (found.state, found.problem) == ("done", "")
    rows = {row["name"]: row for row in found.result["services"]}
    assert rows["cron"]["enabled"] and rows["cron"]["runs"] and rows["cron"]["pid"] > 0
    assert rows["syslogd"]["runs"] is False
    assert "sshd" not in rows and "sshd" in found.result["others"] and not found.result["partial"]
    assert not {"netif", "newsyslog", "DAEMON"} & {*rows, *found.result["others"]}


def test_what_a_package_brought_is_asked_for_its_status(warden, look):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("jexec www1 sh -c 'mkdir -p /usr/local/etc/rc.d; echo >/usr/local/etc/rc.d/nginx'")
    rows = {row["name"]: row for row in look(www1, "services").result["services"]}
    assert (rows["nginx"]["local"], rows["nginx"]["enabled"], rows["nginx"]["runs"]) == (True, False, False)
    warden.sh("jexec www1 service nginx enable; jexec www1 service nginx start")
    rows = {row["name"]: row for row in look(www1, "services").result["services"]}
    assert (rows["nginx"]["local"], rows["nginx"]["enabled"], rows["nginx"]["runs"]) == (True, True, True)


def test_a_jail_without_service_says_so(warden, look):
    www1 = warden.make("www1", "192.0.2.11", start=False)
    warden.sh("mkdir -p /jail/bare/bin /jail/bare/etc /jail/bare/root; cp /bin/sh /jail/bare/bin/sh")
    warden.sh("jail -c name=bare path=/jail/bare persist")
    www1.name, www1.path = "bare", "/jail/bare"
    www1.save()
    found = look(www1, "services")
    assert found.state == "failed" and "no service(8)" in found.problem


def test_a_script_that_hangs_costs_only_what_comes_after_it(monkeypatch):
    class Place:
        def inside(self, command):
            raise CommandTimeout(30, Result(124, b"enabled /etc/rc.d/cron\nknown cron\nstatus cron cron is running as"))

    found = services.kind.look(Place(), {})
    assert found["partial"] and [row["name"] for row in found["services"]] == ["cron"]


def test_what_a_script_prints_is_only_believed_where_it_can_be():
    found, others = rcservices.parse(
        "enabled /etc/rc.d/cron\nenabled /etc/rc.d/../../x y\nenabled /usr/local/etc/rc.d/mysql-server\nknown inetd\n"
        "known $(reboot)\nknown -rf\nstatus cron cron is running as pid 12.\n"
        "status mysql-server mysql is not running.\nstatus redis redis is running as pids 7 8.\n"
        "status odd Usage: /etc/rc.d/odd [fast|force]\nrubbish\n\n"
    )
    assert [(one.name, one.enabled, one.runs, one.pid, one.local) for one in found] == [
        ("cron", True, True, 12, False),
        ("mysql-server", True, False, 0, True),
        ("odd", False, None, 0, True),
        ("redis", False, True, 7, True),
    ]
    assert others == ("inetd",)


@pytest.mark.parametrize("name", ["", "-x", "../sshd", "a b", "a/b", "a\nb", "$(x)", "x" * 64])
def test_a_name_that_is_no_script_is_refused(name):
    assert rcservices.name_error(name)
    with pytest.raises(ValueError):
        rcservices.change("www1", name, "onestart")


def test_only_what_is_known_is_done():
    assert rcservices.change("www1", "sshd", "enable") == ("jexec", "-l", "www1", "/usr/sbin/service", "sshd", "enable")
    for verb in ("delete", "start; reboot"):
        with pytest.raises(ValueError):
            rcservices.change("www1", "sshd", verb)
