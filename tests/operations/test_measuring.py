"""What jails use, on a simulated host that counts it and on one that does not."""

import json

import pytest

from jails import usage
from jails.freebsd import racct
from jails.hosts import usage as gathering
from jails.models import HostSampling, Sample

pytestmark = pytest.mark.django_db


def count(warden, on):
    path = warden.simulation.directory / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"racct": on}))


def busy(warden):
    """Two jails that run, one with a process that has been there for an hour, and one that does not run."""
    www1, db1 = warden.make("www1", "192.0.2.11"), warden.make("db1", "192.0.2.12")
    warden.make("idle", start=False)
    warden.sh("jexec www1 daemon -f sleep 3600")
    path = warden.simulation.directory / "state.json"
    state = json.loads(path.read_text())
    for row in state["processes"]:
        row["started"] -= 3600
    path.write_text(json.dumps(state))
    warden.refresh()
    return www1, db1


def test_a_host_that_counts(warden):
    count(warden, True)
    www1, _db1 = busy(warden)
    usage.measure(warden.row, connection=lambda host: warden.connection)
    samples = {sample.jail.name: sample for sample in Sample.objects.select_related("jail")}
    assert {name: sample.running for name, sample in samples.items()} == {"www1": True, "db1": True, "idle": False}
    assert samples["www1"].processes == samples["db1"].processes + 1
    assert samples["www1"].memory > samples["db1"].memory > 2**20 and samples["www1"].disk > 0
    assert HostSampling.objects.get().by_racct
    www1.refresh_from_db()
    counted = json.loads(json.dumps(HostSampling.objects.get().counters))[str(www1.jid)]
    printed = warden.simulation.run(*racct.usage(["www1"]))
    assert counted["cpu"] > 0 and abs(int(printed.split()[0].partition("=")[2]) - counted["cpu"]) <= 1


def test_a_host_that_does_not_count(warden):
    count(warden, False)
    www1, _ = busy(warden)
    usage.measure(warden.row, connection=lambda host: warden.connection)
    assert not HostSampling.objects.get().by_racct
    www1.refresh_from_db()
    seen = HostSampling.objects.get().counters[str(www1.jid)]
    assert seen["cpu"] is None and sum(one["cpu"] for one in seen["processes"].values()) > 1


def test_a_refresh_and_a_measurement_are_few_commands(warden):
    busy(warden)
    warden.simulation.forget_log()
    usage.measure(warden.row, connection=lambda host: warden.connection)
    assert [entry["argv"][0] for entry in warden.simulation.log()] == ["sh", "ps", "rctl"]


def test_a_host_that_is_cut_off_leaves_a_gap(warden):
    busy(warden)
    warden.fault(offline=True)
    usage.measure(warden.row, connection=lambda host: warden.connection)
    assert not Sample.objects.exists()
    assert gathering.gather(warden.connection, {}) == {}
