"""What is done to jails on the oldest release that must work: its tools say and know other things than those of 14."""

import pytest

from jails.models import Jail
from tests.operations.warden import Warden


@pytest.fixture
def old(prepared, tmp_path, admin, messages):
    return Warden(prepared(True, release="12.1-STABLE"), tmp_path / "old", admin, name="old")


def test_the_life_of_a_jail(old):
    row = old.make("www1", "192.0.2.11", start=False)

    def do(kind, **more):
        operation = old.do(kind, **({"jail": str(row.uuid)} if more else {"jails": [str(row.uuid)]}), **more)
        assert (operation.status, operation.error) == ("done", ""), kind
        row.refresh_from_db()

    do("jail_start")
    assert old.running() == {"www1": "/jail/www1"} and old.addresses() == ["192.0.2.11"]
    do("jail_restart")
    addresses = [{"network": old.network.pk, "ip": "192.0.2.12"}]
    limits = {"quota": 1 << 30, "children_max": 1, "securelevel": 1, "enforce_statfs": 2}
    do("jail_change", hostname="shop.example.org", addresses=addresses, boot=True, limits=limits)
    assert old.addresses() == ["192.0.2.12"] and old.facts().boot_state().boots_today == ("www1",)
    do("jail_rename", name="web1")
    assert old.running() == {"web1": "/jail/web1"} and old.facts().boot_state().boots_today == ("web1",)
    do("jail_stop")
    assert old.running() == {} and old.addresses() == []
    operation = old.do("jail_destroy", jail=str(row.uuid), name="web1")
    assert (operation.status, operation.error) == ("done", "")
    assert not Jail.objects.exists() and not any("web1" in name for name in old.datasets())
    assert old.simulation.run("ls", "-A", "/jail", "/etc/jail.conf.d").split() == ["/etc/jail.conf.d:", "/jail:"]


def test_a_failed_change_is_undone(old):
    row = old.make("www1", "192.0.2.11", boot=True)
    before = old.picture()
    operation = old.confirm("jail_rename", jail=str(row.uuid), name="web1")
    old.fail("jail -f /etc/jail.conf.d/web1.conf")
    assert old.work(operation) == "failed", operation.error
    assert old.picture() == before
