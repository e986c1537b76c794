"""The report of a host: what it shows, to whom, in which state, and where its buttons lead."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jails.freebsd.ifconfig import Address, Interface
from jails.freebsd.mount import Mount
from jails.freebsd.sockstat import Socket
from jails.freebsd.zpool import PoolStatus
from jails.hosts.facts import HostFacts
from jails.hosts.survey import HostSurvey, Mode
from jails.hosts.zfs_reader import Pool
from jails.models import Host, HostFactsRecord, HostSurveyRecord, Operation

URL = "/hosts/warden1/readiness"
GiB = 1 << 30
RC = 'jail_enable="YES"\nzfs_enable="YES"\nntpd_enable="YES"\nsshd_enable="YES"\n'


def listening(command, ip="*", port=1, proto="tcp4"):
    return Socket("root", command, 100, proto, ip, port)


GOOD = (listening("sshd", "192.0.2.2", 22), listening("ntpd", "*", 123, "udp4"))


@pytest.fixture
def known(fleet):
    """Give warden1 facts and a survey; what is given is on top of a host that is fit."""

    def store(*, ago=60, files=None, **seen):
        now = timezone.now()
        facts = HostFacts(
            kernel="15.0-RELEASE",
            userland="15.0-RELEASE",
            sysctls={"kern.racct.enable": "1", "kern.features.vimage": "1"},
            zfs=True,
            pools=(Pool("zroot", "ONLINE", used=30 * GiB, available=70 * GiB, reserve=20 * GiB),),
            interfaces=(Interface("em0", ("UP",), 1500, addresses=(Address("inet", "192.0.2.2", 24),)),),
            mounts=(Mount("/dev/da0", "/", "ufs", ("rw",)),),
            files={"/etc/rc.conf": RC + 'syslogd_flags="-ss"\n', "/etc/ssh/sshd_config": "ListenAddress 192.0.2.2\n"}
            | (files or {}),
        )
        at = now.timestamp()
        scan = now.strftime("scrub repaired 0B in 00:00:01 with 0 errors on %a %b %d %H:%M:%S %Y")
        pool = PoolStatus("zroot", "ONLINE", "", scan, False, None, "No known data errors", ("mirror",))
        values = {"at": at, "time": int(at), "sockets": GOOD, "modes": {"/jail": Mode("0700", "root", "wheel")}}
        values |= {"sysctls": {"kern.securelevel": "-1"}, "pool_status": (pool,)}
        survey = HostSurvey(**(values | seen))
        HostFactsRecord.objects.update_or_create(host=fleet.zfs, defaults={"data": facts.to_data(), "gathered_at": now})
        HostSurveyRecord.objects.update_or_create(
            host=fleet.zfs, defaults={"data": survey.to_data(), "gathered_at": now - timedelta(seconds=ago)}
        )

    return store


@pytest.fixture(autouse=True)
def the_day(monkeypatch):
    """On which 15.0 is supported."""
    from jails.freebsd import uname

    monkeypatch.setitem(uname.END_OF_LIFE, "15.0-RELEASE", timezone.now().date() + timedelta(days=400))


def test_all_fine_is_one_line(known, as_person):
    known()
    text = as_person("operator").get(URL).text
    assert 'id="readiness-fine"' in text and "All that was looked at is fine" in text
    assert "What was looked at" in text and "to fix" not in text
    assert "Readiness: <a" in as_person("operator").get("/hosts/warden1/").text


def test_worst_first_with_reason_and_man_page(known, as_person):
    known(sockets=(listening("sshd", port=22), listening("inetd", "192.0.2.2", 7)), updates=("x-install",))
    text = as_person("administrator").get(URL).text
    assert (
        text.index("sshd listens at *:22 (tcp4)")
        < text.index("inetd listens at 192.0.2.2:7")
        < text.index("freebsd-update(8)")
    )
    assert "sshd_config(5)" in text and "4 to fix" not in text
    assert "2 to fix, 2 warnings" in text
    assert (
        '<a href="/hosts/warden1/readiness">2 to fix, 2 warnings</a>'
        in as_person("operator").get("/hosts/warden1/").text
    )


def test_what_is_unknown_says_why(known, as_person):
    known(missing={"pools": "zpool: status 1"})
    text = as_person("auditor").get(URL).text
    assert "3 unknown" in text and "pools could not be read: zpool: status 1." in text


def test_buttons_are_for_those_who_may(known, as_person):
    known(sockets=(listening("sshd", port=22), listening("inetd")), files={"/boot/loader.conf": ""})
    button, form = 'action="/hosts/warden1/readiness/service_off"', 'href="/hosts/warden1/readiness/sshd"'
    text = as_person("administrator").get(URL).text
    assert button in text and form in text and "Check this host" in text
    text = as_person("operator").get(URL).text
    assert button in text and form not in text and "An administrator can fix it" in text
    text = as_person("auditor").get(URL).text
    assert button not in text and form not in text and "Check this host" not in text


def test_a_button_leads_to_a_plan(known, as_person, planned):
    known(sockets=(listening("inetd"),))
    response = as_person("operator").post(f"{URL}/service_off", {"service": "inetd"})
    operation = Operation.objects.get()
    assert response.url == f"/operations/{operation.pk}/"
    assert operation.parameters == {"fix": "service_off", "service": "inetd"}


def test_refused_it_says_why_on_the_report(known, as_person):
    known()
    response = as_person("operator").post(f"{URL}/zfs_enable", follow=True)
    assert (
        response.redirect_chain == [(URL, 302)]
        and "zfs_enable is “YES” in rc.conf of warden1 already." in response.text
    )


def test_the_worker_is_told_what_an_operator_may_not(known, as_person, fleet):
    """Whoever asks by another way than the button: at the plan, and again at the confirmation."""
    from django.core.exceptions import PermissionDenied

    from jails.operations import lifecycle

    known(files={"/boot/loader.conf": ""})
    for name, may in (("administrator", True), ("operator", False)):
        wish = {"fix": "sshd", "addresses": ["192.0.2.2"]}
        if may:
            assert lifecycle.draft("host_fix", wish, host=fleet.zfs, user=fleet.people[name]).status == "draft"
        else:
            with pytest.raises(PermissionDenied, match="fix_system"):
                lifecycle.draft("host_fix", wish, host=fleet.zfs, user=fleet.people[name])


class TestForms:
    def test_addresses_of_sshd(self, known, as_person, planned):
        known(sockets=(listening("sshd", port=22),))
        client = as_person("administrator")
        assert 'value="192.0.2.2"' in client.get(f"{URL}/sshd").text
        client.post(f"{URL}/sshd", {"addresses": ["192.0.2.2"]})
        assert Operation.objects.get().parameters == {"fix": "sshd", "addresses": ["192.0.2.2"]}

    def test_none_and_strange_ones_are_refused_at_the_field(self, known, as_person):
        known()
        client = as_person("administrator")
        response = client.post(f"{URL}/sshd", {})
        assert response.status_code == 422 and "Choose an address" in response.text
        assert client.post(f"{URL}/sshd", {"addresses": ["192.0.2.99"]}).status_code == 422
        assert not Operation.objects.exists()

    def test_what_the_kind_refuses_is_at_the_field(self, known, as_person, planned):
        known()
        planned.refuses = {"addresses": "192.0.2.2 must stay."}
        response = as_person("administrator").post(f"{URL}/sshd", {"addresses": ["192.0.2.2"]})
        assert response.status_code == 422 and "192.0.2.2 must stay." in response.text

    @pytest.mark.parametrize("address", ["", "192.0.2.2"])
    def test_syslogd(self, known, as_person, planned, address):
        known()
        client = as_person("operator")
        assert "Nowhere (-ss)" in client.get(f"{URL}/syslogd").text
        client.post(f"{URL}/syslogd", {"address": address})
        assert Operation.objects.get().parameters == {"fix": "syslogd", "address": address}

    def test_a_host_that_has_never_answered(self, fleet, as_person):
        HostFactsRecord.objects.all().delete()
        response = as_person("administrator").get(f"{URL}/sshd", follow=True)
        assert "has not answered yet" in response.text


class TestStates:
    def test_never_checked(self, fleet, as_person):
        client = as_person("operator")
        assert "Not checked yet" in client.get(URL).text
        assert "not checked yet" in client.get("/hosts/warden1/").text

    def test_never_seen(self, fleet, as_person):
        Host.objects.filter(pk=fleet.zfs.pk).update(refreshed_at=None)
        HostFactsRecord.objects.all().delete()
        client = as_person("operator")
        assert "shows here once it has answered" in client.get(URL).text
        assert "Readiness:" not in client.get("/hosts/warden1/").text

    def test_asked_for_it_says_so_and_comes_by_itself(
        self, known, fleet, as_person, django_capture_on_commit_callbacks, monkeypatch
    ):
        from jails.operations import queue

        sent = []
        monkeypatch.setattr(queue, "_send", lambda task, *rest, **more: sent.append(task.name) is None)
        known()
        client = as_person("operator")
        with django_capture_on_commit_callbacks(execute=True):
            response = client.post("/hosts/warden1/survey", {"next": URL})
        assert response.url == URL and {name.rpartition(".")[2] for name in sent} == {"refresh_host", "survey_host"}
        text = client.get(URL).text
        assert "being checked" in text
        known(ago=-5)
        Host.objects.filter(pk=fleet.zfs.pk).update(refreshed_at=timezone.now())
        assert "being checked" not in client.get(URL, headers={"HX-Request": "true"}).text

    def test_away_and_old(self, known, fleet, as_person):
        known(ago=7200)
        client = as_person("operator")
        text = client.get(URL).text
        assert 'id="readiness-old"' in text and "2 h ago" in text
        since = timezone.now() - timedelta(hours=1)
        Host.objects.filter(pk=fleet.zfs.pk).update(unavailable_since=since, unavailable_reason="timed out")
        text = client.get(URL).text
        assert 'id="host-unavailable"' in text and 'id="readiness-old"' not in text

    def test_nothing_is_sent_while_nothing_changes(self, known, as_person):
        known()
        client = as_person("operator")
        mark = client.get(URL)["ETag"]
        assert client.get(URL, headers={"HX-Request": "true", "If-None-Match": mark}).status_code == 304


def test_hostile_text_stays_text(known, as_person):
    evil = "<script>alert(1)</script>"
    known(sockets=(listening(evil),), sshd_test=evil)
    assert evil not in as_person("administrator").get(URL).text
