"""SIGKILL to the worker everywhere while drift is put right, or accepted."""

import pytest

from jails.models import Address, Drift
from tests.operations.test_kill_jails import run, worked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def drifted(warden):
    """Its file, its boot and what runs are other ones; the first was changed before it was started."""
    www1 = warden.make("www1", "192.0.2.11", boot=True)
    warden.as_made = warden.picture(), warden.read(www1.config_path)
    warden.sh("service jail onestop www1; sysrc -q jail_enable=NO jail_list=")
    text = (
        warden.as_made[1]
        .replace("192.0.2.11/32", "192.0.2.66/32")
        .replace("\tpersist;", "\tallow.chflags;\n\tpersist;")
    )
    warden.write(www1.config_path, text)
    warden.sh("service jail onestart www1; jail -m name=www1 host.hostname=y")
    warden.refresh()
    assert set(Drift.objects.values_list("parameter", flat=True)) == {
        "host.hostname",
        "ip4.addr",
        "allow.chflags",
        "boot",
    }
    return www1


def test_a_repair(committed, warden, drifted, tmp_path):
    operation = warden.confirm("drift_repair", jail=str(drifted.uuid), parameters=None)
    assert run(warden, operation, tmp_path) == "done", operation.error
    assert warden.picture() == warden.as_made[0] and warden.read(drifted.config_path) == warden.as_made[1]
    assert worked(warden, "jail", "-c", "www1") == 1
    warden.refresh()
    assert not Drift.objects.exists()


def test_a_repair_that_fails(committed, warden, drifted, tmp_path):
    before = warden.picture()
    operation = warden.confirm("drift_repair", jail=str(drifted.uuid), parameters=["ip4.addr", "boot"])
    warden.fail("sysrc jail_list=www1")
    assert run(warden, operation, tmp_path) == "failed", operation.error
    assert warden.picture() == before
    warden.refresh()
    # What it ran with beside its file is lost with the restart.
    assert set(Drift.objects.values_list("parameter", flat=True)) == {"ip4.addr", "allow.chflags", "boot"}


def test_a_live_repair(committed, warden, tmp_path):
    www1 = warden.make("www1", "192.0.2.11")
    warden.sh("jail -m name=www1 allow.raw_sockets children.max=3")
    operation = warden.confirm("drift_repair", jail=str(www1.uuid), parameters=None)
    assert run(warden, operation, tmp_path) == "done", operation.error
    assert warden.simulation.run("jls", "-j", "www1", "allow.raw_sockets", "children.max").split() == ["0", "0"]


def test_accepting(committed, warden, drifted, tmp_path):
    before = warden.picture()
    operation = warden.confirm("drift_accept", jail=str(drifted.uuid), parameters=["allow.chflags", "boot", "ip4.addr"])
    assert run(warden, operation, tmp_path) == "done", operation.error
    drifted.refresh_from_db()
    assert warden.picture() == before and (drifted.boot, drifted.wanted) == (False, {"allow.chflags": ["true"]})
    assert list(Address.objects.values_list("ip", "operation")) == [("192.0.2.66", None)]
