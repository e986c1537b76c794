"""The simulated hosts of tests of operations, with jails on them."""

import pytest

from tests.operations.conftest import admin, messages, plain_warden, prepared, warden  # noqa: F401


@pytest.fixture
def look(admin, messages):  # noqa: F811
    """Ask for a look as the administrator, and take it as a worker does: its row."""
    from django.utils import timezone

    from jails.hosts.simulated_connection import SimulatedConnection
    from jails.looks import looking
    from jails.models import Look

    def take(jail, kind, **parameters):
        found = looking.ask(jail, kind, parameters, user=admin)
        Look.objects.filter(pk=found.pk).update(state=Look.State.WAITING, asked_at=timezone.now())
        looking.run(found.pk, connection=lambda host: SimulatedConnection(host.directory))
        found.refresh_from_db()
        return found

    return take
