"""A real worker process on the host of these tests: SIGKILL in the middle of making a jail; the next one goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jails.models import Host, Jail, Operation, OperationStep
from jails.operations import lifecycle
from tests.live.test_story import LIMITS, Story
from tests.operations.workers import database_url, until

pytestmark = [] if os.environ.get("CELLBLOCK_LIVE_HOST") else [pytest.mark.slow]

Status, StepStatus = Operation.Status, OperationStep.Status
ENDS_WITHIN = 900
"""Seconds; a real host needs a minute or two."""


@pytest.fixture
def start_worker(tmp_path, site):
    """Starts a worker; what is left of them is killed at the end."""
    started = []
    environment = os.environ | {
        "CELLBLOCK_STATE_DIR": str(tmp_path / "state"),
        "CELLBLOCK_DATABASE_URL": "",
        "CELLBLOCK_BROKER_URL": "filesystem://localhost/",
        "CELLBLOCK_TEST_LIVE_KEY": str(site.key_file),
        # Of a simulated host its user is root, whoever runs these tests.
        "CELLBLOCK_BECOME": "env",
        "DJANGO_SETTINGS_MODULE": "panel.settings",
    }

    def start():
        with open(tmp_path / "worker.log", "ab") as log:
            argv = [sys.executable, "-m", "tests.live.worker"]
            values = environment | {"CELLBLOCK_DATABASE_URL": database_url()}
            process = subprocess.Popen(argv, env=values, stdout=log, stderr=log, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)


def kill(process):
    """The worker and the processes of its pool, at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def served_over_ssh(story: Story) -> None:
    """As a host that was added in the panel: its address, and its key pinned."""
    site = story.site
    Host.objects.filter(pk=story.row.pk).update(
        kind=Host.Kind.SSH,
        address=site.connection.address,
        port=site.connection.port,
        username=site.connection.username,
        host_key=site.host_key,
    )
    story.row.refresh_from_db()


def in_the_middle(operation: Operation) -> bool:
    """Some of its steps have been taken, another is being taken, and not the last."""
    steps = list(operation.steps.order_by("index").values_list("status", flat=True))
    return StepStatus.DONE in steps and StepStatus.RUNNING in steps[:-1]


def ended(operation: Operation) -> bool:
    operation.refresh_from_db()
    return operation.has_ended


@pytest.mark.timeout(3600)
def test_a_jail_is_made_in_spite_of_workers_that_die(committed, story, start_worker, tmp_path):
    site = story.site
    story.done("host_setup", reserve=False)
    release = story.fetched()
    served_over_ssh(story)
    name = story.name("killed")
    wish = {
        "name": name, "hostname": f"{name}.example.org", "kind": "thick", "storage": release.storage,
        "release": release.pk, "template": None, "addresses": [], "boot": False, "start": True, "tenant": None,
        "limits": LIMITS,
    }  # fmt: skip
    story.refresh()
    draft = lifecycle.draft("jail_create", wish, host=story.row, user=story.user)
    operation = lifecycle.confirm(draft, draft.digest, user=story.user)

    if site.simulation:
        site.simulation.fault(slow=0.3)
    died = 0
    for _ in range(2):
        worker = start_worker()
        until(lambda: in_the_middle(operation) or ended(operation), ENDS_WITHIN)
        time.sleep(0.1)
        kill(worker)
        died += not ended(operation)
    if site.simulation:
        site.simulation.fault()
    assert died, "it was faster than the test"
    last = start_worker()
    until(lambda: ended(operation), ENDS_WITHIN)
    kill(last)

    steps = list(operation.steps.order_by("index"))
    assert operation.status == Status.DONE, (operation.error, (tmp_path / "worker.log").read_text()[-3000:])
    assert {step.status for step in steps} <= {StepStatus.DONE, StepStatus.SKIPPED}
    row = Jail.objects.get(name=name)
    assert story.runs(row) and story.inside(row, "hostname").strip() == f"{name}.example.org"
    assert [entry for entry in site.run("ls", story.row.jail_root).split() if name in entry] == [name]
    if release.storage == "zfs":
        datasets = site.run("zfs", "list", "-H", "-o", "name", "-t", "filesystem").split()
        assert [dataset for dataset in datasets if name in dataset] == [row.dataset]
    assert str(operation.pk) not in site.sh("ls -A /var/run/cellblock 2>/dev/null || true").split()
    story.done("jail_destroy", jail=str(row.uuid), name=name)
    story.done("release_remove", release=release.pk)
