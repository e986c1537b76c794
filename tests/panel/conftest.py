import pytest


@pytest.fixture(autouse=True)
def no_facts_of_the_test_before():
    """Hosts of two tests have the same id and may say that they were asked at the same time."""
    from panel.views import planning

    planning._kept_facts.cache_clear()
    planning._kept_survey.cache_clear()


@pytest.fixture
def fleet(db):
    from tests.panel.fleet import make_fleet

    return make_fleet()


@pytest.fixture
def as_person(client, fleet):
    """The test client, signed in as the fleet's person of that role."""

    def sign_in(role):
        client.force_login(fleet.people[role], backend="django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


@pytest.fixture
def planned(monkeypatch):
    """Every kind checks its parameters as it does, and plans one step whatever its host is like.

    For tests of what forms ask for. `planned.refuses` makes plans be refused, {field: text}.
    """
    from jails.operations import kind
    from tests.panel.planned import Planned

    real, state = kind.get, Planned.State()
    monkeypatch.setattr(kind, "get", lambda name: Planned(real(name), state))
    return state
