"""What the panel may do on a host, tried on a simulated one behind a real sshd, and what is kept of it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jails.freebsd.command import Pipeline
from jails.hosts import access, accessing, connect, keys
from jails.hosts.access import Access, Subject, Verdict, examine
from jails.hosts.connection import CommandTimeout, HostUnavailable, Result, Unavailable
from jails.hosts.local import LocalConnection
from jails.hosts.simulated_connection import SimulatedConnection
from jails.models import Host, HostAccessRecord

from .simulation import Simulation
from .sshd import Sshd, free_port, make_key
from .stub import StubHost

ROOT = Subject("ssh", "root", pool="zroot")
DOAS = Subject("ssh", "cellblock", ("doas", "-n"), pool="zroot")
BECOMES = '#!/bin/sh\n[ "$1" = -n ] || exit 9\nshift\nexec "$@"\n'


@pytest.fixture
def simulation(tmp_path):
    return Simulation(tmp_path / "warden1", "--pool", "zroot=10G")


@pytest.fixture
def direct(simulation):
    return SimulatedConnection(str(simulation.directory))


@pytest.fixture
def server(tmp_path, simulation):
    server = Sshd(tmp_path / "sshd", command=simulation.login).start()
    yield server
    server.stop()


@pytest.fixture
def tried(server):
    """Access of a subject over that sshd."""
    opened = []

    def tried(subject=ROOT, **options):
        connection = server.connection(become=subject.become, **options)
        opened.append(connection)
        return examine(connection, subject)

    yield tried
    for connection in opened:
        connection.close()


def stub(folder, **tools):
    """A FreeBSD of which only what these tests change differs from what is wanted."""
    host = StubHost(folder / "stub", **TOOLS | tools)
    (host.directory / "printf").symlink_to("/usr/bin/printf")
    return host


def put(simulation, path, text):
    file = simulation.directory / "root" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def make_read_only(simulation, folder):
    copy = 'mkdir /mnt/copy && cp -Rp "$1/." /mnt/copy && mount_nullfs -o ro /mnt/copy "$1"'
    simulation.run("sh", "-ec", copy, "sh", folder)


def not_passing(found):
    return {line.name: line.verdict for line in found.lines if line.verdict != Verdict.PASS}


def only(found, name, verdict=Verdict.FAIL):
    """The one line that does not pass."""
    assert not_passing(found) == {name: verdict}, found
    return found.line(name)


def all_after(found, name):
    """The line fails, and of all that need it nothing is known."""
    names = [line.name for line in found.lines]
    at = names.index(name)
    assert {line.verdict for line in found.lines[:at] if line.name != "quiet"} <= {Verdict.PASS}
    assert found.line(name).verdict == Verdict.FAIL
    assert {line.verdict for line in found.lines[at + 1 :]} <= {Verdict.UNKNOWN, Verdict.PASS}
    return found.line(name)


@pytest.mark.sshd
class TestOverSSH:
    @pytest.mark.parametrize("login_shell", ["sh", "csh"])
    def test_all_is_well_with_either_login_shell(self, simulation, server, tried, login_shell):
        server.authorize(keys.public_key(server.key_directory), f"{simulation.login} --login-shell {login_shell}")
        found = tried()
        assert not_passing(found) == {}, found
        assert found.is_good and len(found.lines) == 15
        assert found.line("sign_in").title == "The host lets the worker in as root"
        assert found.line("zfs").reason == "zroot ONLINE"

    @pytest.mark.parametrize("tool", ["doas", "sudo"])
    def test_root_by_a_detour(self, simulation, tried, tool):
        put(simulation, f"usr/local/bin/{tool}", BECOMES)
        found = tried(Subject("ssh", "cellblock", (tool, "-n"), pool="zroot"))
        assert not_passing(found) == {}, found
        assert found.line("root").title == f"cellblock becomes root by {tool}"

    def test_doas_that_does_not_permit(self, simulation, tried):
        put(simulation, "usr/local/bin/doas", "#!/bin/sh\necho doas: Operation not permitted >&2\nexit 1\n")
        line = all_after(tried(DOAS), "root")
        assert "Operation not permitted" in line.reason
        assert "`doas -n id -u` must print 0" in line.advice

    def test_sudo_that_is_not_there(self, tried):
        line = all_after(tried(Subject("ssh", "ops", ("sudo", "-n"))), "root")
        assert "not found" in line.reason and "Paste the lines for sudo" in line.advice

    def test_a_key_that_the_host_does_not_know(self, tried, tmp_path):
        line = all_after(tried(key=lambda: keys.private_key(tmp_path / "stranger")), "sign_in")
        assert "authorized_keys" in line.reason and "Paste the lines" in line.advice

    def test_another_host_key(self, tried, tmp_path):
        other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
        assert "differs" in all_after(tried(host_key=other), "host_key").reason

    def test_no_pinned_key(self, tried):
        assert "compare and pin" in all_after(tried(host_key=""), "host_key").reason

    def test_nobody_answers(self, tried):
        assert "refused" in all_after(tried(port=free_port()), "reach").reason

    def test_a_key_that_may_run_no_commands(self, server, tried):
        server.authorize(keys.public_key(server.key_directory), "echo go away; false")
        line = all_after(tried(), "commands")
        assert "go away" in line.reason and "command=" in line.advice

    def test_a_start_up_file_that_prints(self, simulation, server, tried):
        server.authorize(keys.public_key(server.key_directory), f"echo Welcome; {simulation.login}")
        line = only(tried(), "quiet")
        assert line.reason == "Before each command comes: Welcome" and ".cshrc" in line.advice

    def test_a_start_up_file_that_complains(self, simulation, server, tried):
        server.authorize(keys.public_key(server.key_directory), f"echo no tty >&2; {simulation.login}")
        assert "no tty" in only(tried(), "quiet", Verdict.DOUBT).reason

    def test_noise_does_not_hide_that_root_is_become(self, simulation, server, tried):
        put(simulation, "usr/local/bin/doas", BECOMES)
        server.authorize(keys.public_key(server.key_directory), f"echo Welcome; {simulation.login}")
        only(tried(DOAS), "quiet")


class TestOnTheHost:
    def tried(self, direct, **values):
        return examine(direct, Subject("simulated", **{"pool": "zroot", **values}))

    def test_three_requests_and_a_dozen_processes_and_nothing_is_left(self, simulation, direct):
        before = sorted(path for path in (simulation.directory / "root").rglob("*"))
        simulation.forget_log()
        requests = []
        run = direct.run
        direct.run = lambda *args, **options: requests.append(1) or run(*args, **options)
        assert self.tried(direct).is_good
        assert len(requests) == 3
        assert len([entry for entry in simulation.log() if entry["argv"][0] != "sh"]) <= 12
        assert sorted(path for path in (simulation.directory / "root").rglob("*")) == before

    def test_not_root(self, simulation, direct):
        put(simulation, "usr/bin/id", "#!/bin/sh\necho 1001\n")
        found = self.tried(direct, username="ops")
        assert "1001" in found.line("root").reason and found.failing == (found.line("root"),)
        unknown = {name for name, verdict in not_passing(found).items() if verdict == Verdict.UNKNOWN}
        assert unknown == {"jails", "locks", "files", "data", "zfs"}
        assert found.line("locks").reason == "Only root can tell."

    @pytest.mark.parametrize(
        ("folder", "name", "said"),
        [
            ("/etc", "files", "/etc/jail.conf.d, /etc/newsyslog.conf.d, /etc/rc.conf"),
            ("/var/log", "data", "/var/log (for /var/log/cellblock)"),
            ("/usr", "data", "/usr (for /usr/jails)"),
        ],
    )
    def test_read_only(self, simulation, direct, folder, name, said):
        make_read_only(simulation, folder)
        line = only(self.tried(direct, jail_root="/usr/jails"), name)
        assert said in line.reason and "mount -p" in line.advice

    def test_a_lock_that_cannot_be_taken(self, simulation, direct):
        make_read_only(simulation, "/var/run")
        assert "/var/run" in only(self.tried(direct), "locks").reason

    def test_somebody_elses_test_at_the_same_time(self, simulation, direct):
        put(simulation, "usr/bin/lockf", "#!/bin/sh\nexit 75\n")
        assert not_passing(self.tried(direct)) == {}

    def test_a_missing_tool(self, simulation, direct):
        (simulation.directory / "root/usr/bin/fetch").unlink()
        (simulation.directory / "root/usr/sbin/jail").unlink()
        assert only(self.tried(direct), "tools").reason == "Missing: fetch, jail."

    def test_jls_that_fails(self, simulation, direct):
        simulation.fault(fail={"rc": 1, "stderr": "jls: no"}, match="^jls")
        assert "jls" in only(self.tried(direct), "jails").reason

    @pytest.mark.parametrize("level", ["1", "3"])
    def test_securelevel(self, tmp_path, level):
        found = examine(stub(tmp_path, sysctl=sysctls(kern_securelevel=level)), Subject("simulated"))
        line = found.line("securelevel")
        assert line.verdict == Verdict.DOUBT and "flags" in line.reason
        assert ("pf rules" in line.reason) == (level == "3")

    def test_a_jail_of_its_own(self, tmp_path):
        found = examine(stub(tmp_path, sysctl=sysctls(jailed="1")), Subject("simulated"))
        assert found.line("jailed").verdict == Verdict.DOUBT and "children.max" in found.line("jailed").reason

    @pytest.mark.parametrize(
        ("said", "verdict"),
        [
            ("FreeBSD 12.1-RELEASE-p10", Verdict.PASS),
            ("FreeBSD 15.0-STABLE", Verdict.PASS),
            ("FreeBSD 11.4-RELEASE", Verdict.DOUBT),
            ("FreeBSD home-made", Verdict.DOUBT),
            ("Linux 6.1.0", Verdict.FAIL),
            ("", Verdict.FAIL),
        ],
    )
    def test_what_it_is(self, tmp_path, said, verdict):
        found = examine(stub(tmp_path, sysctl=sysctls(), uname=said), Subject("simulated"))
        assert found.line("freebsd").verdict == verdict

    def test_sysctls_that_cannot_be_read_are_unknown(self, tmp_path):
        found = examine(stub(tmp_path, sysctl="kern.ostype=FreeBSD\n"), Subject("simulated"))
        assert {found.line(name).verdict for name in ("jailed", "securelevel")} == {Verdict.UNKNOWN}


class TestZFS:
    def tried(self, direct, pool):
        return examine(direct, Subject("simulated", pool=pool)).line("zfs")

    def test_no_pool_of_that_name(self, direct):
        line = self.tried(direct, "tank")
        assert (line.verdict, line.reason) == (Verdict.FAIL, "There is no pool tank.") and "zroot" in line.advice

    def test_any_pool(self, direct):
        assert self.tried(direct, "").reason == "zroot ONLINE"

    def test_read_only(self, simulation, direct):
        simulation.run("zfs", "set", "readonly=on", "zroot")
        assert self.tried(direct, "zroot").verdict == Verdict.FAIL

    def test_zpool_that_fails(self, simulation, direct):
        simulation.fault(fail={"rc": 1, "stderr": "permission denied"}, match="zpool list")
        assert self.tried(direct, "zroot").verdict == Verdict.FAIL

    def test_ufs(self, tmp_path):
        direct = SimulatedConnection(str(Simulation(tmp_path / "ufs").directory))
        assert self.tried(direct, "").verdict == Verdict.PASS
        line = self.tried(direct, "zroot")
        assert line.verdict == Verdict.FAIL and "zfs_enable" in line.advice


class Breaking:
    """A connection that breaks at one request."""

    def __init__(self, inner, at, error):
        self.inner, self.at, self.error = inner, at, error

    def run(self, pipeline: Pipeline, **options) -> Result:
        self.at -= 1
        if self.at == 0:
            raise self.error
        return self.inner.run(pipeline, **options)


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize(
    "error", [HostUnavailable(Unavailable.LOST, "connection lost"), CommandTimeout(60, Result(-1))]
)
def test_a_host_that_stops_answering_in_the_middle_fails(direct, at, error):
    found = examine(Breaking(direct, at, error), Subject("simulated", pool="zroot"))
    assert len(found.failing) == 1 and not found.is_good
    assert found.line("zfs").verdict == Verdict.UNKNOWN
    assert "connection lost" in str(found) or "still running" in str(found)


def test_an_answer_that_is_cut_off(direct):
    class Cutting(Breaking):
        def run(self, pipeline, **options):
            result = self.inner.run(pipeline, **options)
            return (
                Result(0, result.stdout[: len(result.stdout) // 2]) if b"cellblock-batch" in result.stdout else result
            )

    found = examine(Cutting(direct, 0, None), Subject("simulated"))
    assert not found.is_good and "cut off" in str(found)


class TestThisMachine:
    """Whatever runs the tests is no FreeBSD; what is looked at is how the worker gets to be root."""

    def test_how_the_lines_are_called(self):
        titles = Subject("local", "cellblock", ("doas", "-n")).titles
        assert titles["root"] == "The worker becomes root by doas"
        assert not {"reach", "host_key", "sign_in"} & set(titles)
        assert Subject("local").titles["root"] == "Commands run as root"

    def test_without_doas(self):
        found = examine(LocalConnection(become=("no-such-doas", "-n")), Subject("local", "w", ("no-such-doas", "-n")))
        assert found.failing == (found.line("root"),)
        assert "not found" in found.line("root").reason

    def test_a_worker_that_is_not_root_is_told_what_to_do(self, tmp_path):
        found = examine(stub(tmp_path, sysctl=sysctls(), id="1001"), Subject("local"))
        assert "Run the worker as root" in found.line("root").advice


def test_what_was_not_tried_is_told_by_its_reason(simulation, direct):
    put(simulation, "usr/bin/id", "#!/bin/sh\necho 1001\n")
    found = examine(direct, Subject("simulated"))
    assert list(found.untried) == ["Only root can tell."]
    assert "Reads all jails" in found.untried["Only root can tell."]


def test_it_survives_json(direct):
    found = examine(direct, Subject("simulated", pool="tank"))
    assert Access.from_data(found.to_data()) == found


@pytest.mark.django_db
class TestKeeping:
    @pytest.fixture
    def host(self, simulation):
        host = Host.objects.create(name="warden1", kind="simulated", directory=str(simulation.directory), pool="zroot")
        HostAccessRecord.objects.create(host=host, wanted_at=timezone.now())
        return host

    def test_what_was_found_is_kept_with_when(self, host):
        accessing.test(host)
        record = HostAccessRecord.objects.get()
        assert record.tested_at >= record.wanted_at
        assert Access.from_data(record.data).is_good

    def test_not_of_a_place_that_has_changed_meanwhile(self, host):
        Host.objects.filter(pk=host.pk).update(username="ops")
        accessing.test(host)
        assert HostAccessRecord.objects.get().tested_at is None

    def test_the_newer_test_stays(self, host):
        later = timezone.now() + timedelta(minutes=1)
        HostAccessRecord.objects.update(tested_at=later, data={"lines": []})
        accessing.test(host)
        assert HostAccessRecord.objects.get().tested_at == later

    def test_a_forgotten_host_is_no_error(self, host):
        Host.objects.all().delete()
        accessing.test(host)

    def test_what_failed_is_tried_again_after_a_while(self, host):
        failed = examine(Breaking(None, 1, HostUnavailable(Unavailable.REFUSED, "refused")), Subject("simulated"))
        HostAccessRecord.objects.update(tested_at=timezone.now(), data=failed.to_data())
        accessing.test_again(host)
        assert HostAccessRecord.objects.get().access == failed
        HostAccessRecord.objects.update(tested_at=timezone.now() - timedelta(minutes=11))
        accessing.test_again(host)
        assert HostAccessRecord.objects.get().access.is_good

    def test_what_was_good_is_left_alone(self, host):
        accessing.test(host)
        at = timezone.now() - timedelta(days=1)
        HostAccessRecord.objects.update(tested_at=at)
        accessing.test_again(host)
        assert HostAccessRecord.objects.get().tested_at == at

    @pytest.mark.sshd
    def test_by_the_workers_own_connection(self, host, server, settings, monkeypatch):
        settings.WORKER_DIR = server.directory
        monkeypatch.setattr(keys, "directory", lambda: server.key_directory)
        Host.objects.update(
            kind="ssh", address="127.0.0.1", port=server.port, username=server.user, host_key=server.host_key
        )
        host.refresh_from_db()
        monkeypatch.setattr(connect, "become", lambda host: ())
        try:
            accessing.test(host)
        finally:
            connect.close_all()
        assert Access.from_data(HostAccessRecord.objects.get().data).is_good


TOOLS = {
    "id": "0",
    "uname": "FreeBSD 14.2-RELEASE",
    "which": "\n".join(f"/usr/bin/{name}" for name in access.TOOLS),
    "lockf": "",
}


def sysctls(kern_securelevel="-1", jailed="0"):
    return f"kern.ostype=FreeBSD\nkern.securelevel={kern_securelevel}\nsecurity.jail.jailed={jailed}\n"
