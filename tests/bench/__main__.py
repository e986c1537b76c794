"""`make bench`: how much slower the panel is than what it is made of, as ratios, which mean the same on any machine.

Everything is in a folder of its own that is removed at the end: a database, and simulated hosts.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median


def settle(folder: Path) -> None:
    for name in [name for name in os.environ if name.startswith("CELLBLOCK_")]:
        del os.environ[name]
    os.environ |= {
        "CELLBLOCK_ENV_FILE": os.devnull,
        "CELLBLOCK_DEMO": "1",
        "CELLBLOCK_STATE_DIR": str(folder),
        "CELLBLOCK_LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "panel.settings",
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, verbosity=0)


def show(title: str, rows: Iterable[tuple[str, list[float], str]]) -> None:
    """Each row: a label, the ratios of its runs, and what else there is to say."""
    print(title)
    for label, ratios, note in rows:
        runs = f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} runs" if len(ratios) > 1 else ""
        print(f"  {label:<28}{median(ratios):>7.2f}   {', '.join(part for part in (runs, note) if part)}", flush=True)


def main() -> int:
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cellblock-bench-") as name:
        folder = Path(name)
        settle(folder / "state")
        from tests.bench import log, operations, pages, refreshes

        show("An operation, against a shell script with the same commands on the same host", operations.rows(folder))
        show("A refresh of a host, against that of a host with one jail", refreshes.rows(folder))
        show(f"The audit log; its page at {log.ENTRIES:,} entries against a page with nothing in it", log.rows())
        show("The list of jails, against a page with nothing in it where there are no jails", pages.rows())
        show(
            "The first page of a tenant, against a page with nothing in it where there are no jails", pages.home_rows()
        )
    print(f"took {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
