import pytest
from django.db import connection

from jails.models import Console
from jails.models.audit_triggers import drop_triggers
from tests.consoles.house import House, Services, until
from tests.operations import warden


@pytest.fixture(scope="session")
def prepared_host(tmp_path_factory):
    return warden.prepare(tmp_path_factory.mktemp("prepared") / "host")


@pytest.fixture
def _house(triggers_back, transactional_db, prepared_host, tmp_path):
    """What is committed other processes see."""
    yield House(prepared_host, tmp_path)
    drop_triggers(connection)


@pytest.fixture(scope="session")
def services(django_db_setup, django_db_blocker, tmp_path_factory):
    """A consoled and a gunicorn for all tests that need nothing of their own of them."""
    with django_db_blocker.unblock():
        made = Services(tmp_path_factory.mktemp("services"))
        made.start_consoled()
        made.start_web()
    yield made
    made.stop()


@pytest.fixture
def house(_house, services, settings):
    """With both running."""
    _house.move_into(services, settings)
    yield _house
    until(lambda: not Console.objects.filter(ended_at=None).exists(), "the end of all consoles")


@pytest.fixture
def own_house(_house, settings, tmp_path):
    """With both of its own, to be started when its `services.settings` are as the test wants them."""
    own = Services(tmp_path / "services")
    _house.move_into(own, settings)
    yield _house
    own.stop()
