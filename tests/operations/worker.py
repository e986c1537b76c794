"""A real Celery worker with beat, for tests: it knows the kind `box`, whose commands are processes of this machine.

Run as `python -m tests.operations.worker FOLDER`; the folder is that of the test that started it.
"""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import django


def main(folder: Path) -> None:
    django.setup()
    from jails import policy, tasks
    from jails.operations import effects, engine, kind
    from panel.celery import app
    from tests.operations import fakes

    box, host = fakes.Box(), fakes.ShellHost(folder)
    kind.get = lambda name: box
    policy.ACTIONS_OF_OPERATIONS["box"] = "host.setup"
    effects.LOCK_DIRECTORY = str(folder / "locks")
    engine._connect = lambda row: host
    engine._gather = host.gather
    quick = replace(engine.Timing(), lease=2, heartbeat=0.5, patience=1, park=0.5, backoff=0)
    engine.Timing = lambda: quick
    tasks.FORGOTTEN = timedelta(seconds=1)
    tasks.SEEN_EVERY = 1
    app.conf.beat_schedule = {
        "sweep": {"task": "jails.tasks.sweep", "schedule": 1.0},
        "refresh hosts": {"task": "jails.tasks.refresh_hosts", "schedule": 1.0},
    }
    app.conf.beat_schedule_filename = str(folder / "beat")
    app.start(
        ["--skip-checks", "worker", "-B", "-c", "2", "-Q", "operations,refresh", "--without-gossip", "--without-mingle"]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
