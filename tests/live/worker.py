"""A real Celery worker for these tests, whose SSH key is the one that the site lets in: `python -m tests.live.worker`.

CELLBLOCK_TEST_LIVE_KEY names the key. It takes over from a dead worker sooner than it would otherwise.
"""

import os
from dataclasses import replace
from datetime import timedelta

import django


def main() -> None:
    django.setup()
    import paramiko

    from jails import tasks
    from jails.hosts import keys
    from jails.operations import engine
    from panel.celery import app

    path = os.environ["CELLBLOCK_TEST_LIVE_KEY"]
    keys.private_key = lambda folder=None: paramiko.PKey.from_path(path)
    quick = replace(engine.Timing(), lease=6, heartbeat=1)
    engine.Timing = lambda: quick
    tasks.FORGOTTEN = timedelta(seconds=1)
    tasks.SEEN_EVERY = 1
    app.start(
        ["--skip-checks", "worker", "-c", "2", "-Q", "operations,refresh", "--without-gossip", "--without-mingle"]
    )


if __name__ == "__main__":
    main()
