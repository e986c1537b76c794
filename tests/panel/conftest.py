import pytest


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
