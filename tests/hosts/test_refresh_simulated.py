"""What a refresh costs a host, and what it learns: on a simulated one, for 1, 100 and 1,000 jails."""

import pytest

from jails.hosts.facts import gather
from jails.hosts.refresh import refresh
from jails.hosts.simulated_connection import SimulatedConnection
from jails.models import Host, Jail, ObservedAddress, Pool

from .simulation import Simulation

HOSTILE = ("a 'b' \"c\"", "$(reboot)", "x;y&z", "caf\u00e9", "-rf", "a\tb", "a\nb", "<script>")


@pytest.fixture
def simulation(tmp_path):
    simulation = Simulation(tmp_path / "warden1", "--pool", "zroot=100G", "--hostname", "warden1")
    simulation.run(
        "sh",
        "-c",
        "zfs create zroot/cellblock; zfs create zroot/cellblock/host; "
        "zfs create -o mountpoint=/jail/www -o cellblock:operation=op zroot/cellblock/host/www; "
        "zfs snapshot zroot/cellblock/host/www@first; zfs snapshot zroot@others; "
        "jail -c name=www path=/jail/www host.hostname=www persist",
    )
    return simulation


class Counting(SimulatedConnection):
    requests = 0

    def run(self, *args, **options):
        self.requests += 1
        return super().run(*args, **options)


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_six_requests_and_thirteen_processes(simulation, count):
    simulation.multiply("www", count - 1, HOSTILE[: count - 1])
    simulation.forget_log()
    connection = Counting(simulation.directory)
    facts = gather(connection)
    log = simulation.log()
    assert connection.requests == len({entry["exec"] for entry in log}) <= 6
    assert len([entry for entry in log if not entry.get("replaces")]) <= 13
    assert facts.errors == ()
    assert len(facts.jails) == count
    assert {jail.name for jail in facts.jails} >= set(HOSTILE[: count - 1])
    assert len(facts.children("zroot/cellblock/host")) == count
    assert len(facts.snapshots) == count


def test_identity(simulation):
    facts = gather(SimulatedConnection(simulation.directory))
    assert (facts.hostname, facts.release, facts.architecture) == ("warden1", "14.2-RELEASE", "amd64")
    assert facts.includes and facts.zfs
    assert facts.pool("zroot").available > 50 * 2**30
    assert facts.free_bytes("/jail/www") == facts.dataset("zroot/cellblock/host/www").available
    assert facts.dataset_at("/jail/www").operation == "op"
    assert facts.file("/etc/rc.conf") is not None
    assert facts.file("/etc/jail.conf.d/none.conf") is None


def test_files_that_go_before_those_of_the_folder(simulation):
    simulation.run("sh", "-c", "echo 'old { persist; }' > /etc/jail.old.conf")
    facts = gather(SimulatedConnection(simulation.directory))
    assert "old" in facts.own_files
    assert facts.boot_state().boots_today == ()


def test_a_host_of_ufs_only(tmp_path):
    simulation = Simulation(tmp_path / "warden2", "--ufs-size", "20G")
    simulation.forget_log()
    facts = gather(SimulatedConnection(simulation.directory))
    assert facts.errors == ()
    assert not facts.zfs and facts.pools == ()
    assert facts.free_bytes("/jail/www") > 10 * 2**30
    assert not any(entry["argv"][0] in ("zfs", "zpool") for entry in simulation.log())


def test_an_old_release(tmp_path):
    simulation = Simulation(tmp_path / "old", "--release", "12.1-STABLE", "--pool", "tank=10G")
    facts = gather(SimulatedConnection(simulation.directory))
    assert facts.errors == ()
    assert facts.pool("tank").health == "ONLINE"
    assert not facts.includes


@pytest.mark.django_db
def test_a_thousand_jails_with_hostile_names_are_stored(simulation):
    simulation.multiply("www", 999, HOSTILE)
    host = Host.objects.create(name="warden1", kind="simulated", directory=str(simulation.directory))
    refresh(host)
    refresh(host)
    assert Jail.objects.filter(state="running").count() == 1000
    assert Jail.objects.filter(state="stopped").count() == len(HOSTILE)
    assert ObservedAddress.objects.exclude(jail_name="").count() == 999
    assert Pool.objects.get().name == "zroot"


@pytest.fixture
def configured(simulation):
    def write(**files):
        for path, text in files.items():
            simulation.run("sh", "-c", 'printf %s "$1" >"$2"', "sh", text, path)
        return gather(SimulatedConnection(simulation.directory))

    simulation.run("mkdir", "-p", "/etc/jail.conf.d")
    return write


OWN, OLDER, SHARED = "/etc/jail.conf.d/www1.conf", "/etc/jail.www1.conf", "/etc/jail.conf.d/web.conf"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({OWN: "www1 { path = /own; }", "/etc/jail.conf": "www1 { path = /all; }"}, OWN),
        ({OWN: "www1 { path = /own; }", OLDER: "www1 { path = /older; }"}, OLDER),
        ({"/etc/jail.conf": "www1 { path = /all; }"}, "/etc/jail.conf"),
        ({SHARED: "www1 { path = /web; }", "/etc/jail.conf": '.include "/etc/jail.conf.d/*.conf";'}, "/etc/jail.conf"),
        ({SHARED: "www1 { path = /web; }", "/etc/jail.conf": "other { persist; }"}, SHARED),
        ({"/etc/jail.conf": "other { persist; }"}, ""),
    ],
)
def test_the_file_that_rc_hands_to_jail(configured, files, expected):
    facts = configured(**files)
    assert facts.config_file("www1") == expected
    if expected == OLDER:
        assert facts.configured_jail("www1").path == "/older"


def test_a_file_that_rc_conf_names_is_not_guessed_at(configured, simulation):
    simulation.run("sysrc", "jail_www1_conf=/root/www1.conf")
    facts = configured(**{OWN: "www1 { path = /own; }"})
    with pytest.raises(ValueError, match="jail_www1_conf is /root"):
        facts.config_file("www1")
