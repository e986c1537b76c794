import json

import pytest

from jails.hosts.facts import HostFacts, gather


@pytest.fixture(scope="module")
def facts(live_connection):
    return gather(live_connection)


def test_all_of_it_could_be_read(facts):
    assert facts.errors == ()


def test_identity(facts):
    assert facts.release and facts.hostname and facts.architecture
    assert facts.memory > 0 and facts.processors > 0 and facts.booted_at > 0


def test_the_root_is_mounted_and_has_space(facts):
    assert facts.mount_of("/").path == "/"
    assert facts.free_bytes("/") > 0


def test_rc_conf_is_there(facts):
    assert facts.file("/etc/rc.conf")


def test_it_survives_json(facts):
    assert HostFacts.from_data(json.loads(json.dumps(facts.to_data()))) == HostFacts.from_data(facts.to_data())
