import os
import shutil
from collections.abc import Callable

import hypothesis
import pytest

# A busy machine is slow; that is no fault of what is tested.
hypothesis.settings.register_profile("cellblock", deadline=None)
hypothesis.settings.load_profile("cellblock")


def _missing_variable(name: str) -> Callable[[], str]:
    return lambda: "" if os.environ.get(name) else f"{name} is not set"


def _missing_program(name: str) -> Callable[[], str]:
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    return lambda: "" if shutil.which(name, path=path) else f"there is no {name} on this machine"


NEEDS = {
    "browser": _missing_variable("CELLBLOCK_TEST_CHROMIUM"),
    "live": _missing_variable("CELLBLOCK_LIVE_HOST"),
    "postgres": _missing_variable("CELLBLOCK_TEST_POSTGRES_URL"),
    "redis": _missing_variable("CELLBLOCK_TEST_REDIS_URL"),
    "slow": _missing_variable("CELLBLOCK_TEST_SLOW"),
    "sshd": _missing_program("sshd"),
    "zfs": _missing_variable("CELLBLOCK_TEST_ZFS"),
}
"""What is missing for the tests with a marker; nothing when they can run."""

HOSTS = {"blanks", "prepared"}
"""Fixtures of whole operations on a simulated host. They take long, and which database notes them down matters little;
what depends on it, locks and two at once, is tested for its own sake."""
DATABASE = {"db", "transactional_db"}
"""Fixtures; pytest-django's own marker is not on the tests that ask for one of these."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {marker: missing() for marker, missing in NEEDS.items()}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        uses_it = item.get_closest_marker("django_db") or DATABASE & fixtures
        same = HOSTS & fixtures or item.get_closest_marker("one_database")
        if uses_it and (not same or "simultaneous" in item.nodeid):
            item.add_marker(pytest.mark.database)
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def static_files_found_once():
    """By the first test client: WhiteNoise looks for all of them in each, nearly half the time of a request."""
    from whitenoise.middleware import WhiteNoiseMiddleware

    find, found = WhiteNoiseMiddleware.add_files_from_finders, {}

    def find_once(self):
        if not found:
            find(self)
            found.update(self.files)
        self.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", find_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords():
    """Hashed as always, but not made to cost a quarter of a second each time."""
    from django.contrib.auth.hashers import Argon2PasswordHasher

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"time_cost": 1, "memory_cost": 8, "parallelism": 1}.items():
            patch.setattr(Argon2PasswordHasher, name, value)
        yield


@pytest.fixture
def time_stands(monkeypatch):
    """As of when the test began: no minute, day or week ends between two of its lines."""
    from django.utils import timezone

    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    return now


@pytest.fixture
def unguarded(db):
    """As for who owns the database: the log's triggers are gone. Rolled back with the test's transaction."""
    from django.db import connection

    from jails.models.audit_triggers import drop_triggers, make_triggers

    drop_triggers(connection)
    yield
    make_triggers(connection)


def _guard_again(django_db_setup, django_db_blocker):
    """After tests that empty a log which is committed, which its triggers refuse."""
    yield
    from django.db import connection

    from jails.models.audit_triggers import make_triggers

    with django_db_blocker.unblock():
        make_triggers(connection)


triggers_back = pytest.fixture(_guard_again, name="triggers_back")
guarded_again = pytest.fixture(_guard_again, scope="class", name="guarded_again")
