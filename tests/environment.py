"""The settings that tests run under, put in place before Django reads any. Loaded first, by `-p tests.environment`.

Nothing of the caller's CELLBLOCK_* reaches the tests but CELLBLOCK_TEST_* and what names a real host for tests/live,
and all state is in a folder of this run.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

RUN_DIR = "CELLBLOCK_TEST_RUN_DIR"
MEMORY = Path("/dev/shm")
"""What is tested is not whether a database survives a power cut: where memory can hold the files, the disk need not."""
MEMORY_NEEDED = 2 << 30
LIVE = ("CELLBLOCK_LIVE_HOST", "CELLBLOCK_LIVE_KEY", "CELLBLOCK_LIVE_POOL", "CELLBLOCK_LIVE_RELEASE")


def settle() -> None:
    for name in [name for name in os.environ if name.startswith("CELLBLOCK_")]:
        if not name.startswith("CELLBLOCK_TEST_") and name not in LIVE:
            del os.environ[name]
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None
    if RUN_DIR not in os.environ:
        os.environ[RUN_DIR] = tempfile.mkdtemp(prefix="cellblock-test-")
        atexit.register(shutil.rmtree, os.environ[RUN_DIR], ignore_errors=True)
    state = Path(os.environ[RUN_DIR], os.environ.get("PYTEST_XDIST_WORKER", "main"))
    state.mkdir(exist_ok=True)
    os.environ |= {
        "CELLBLOCK_ENV_FILE": os.devnull,
        "CELLBLOCK_DEMO": "1",
        "CELLBLOCK_STATE_DIR": str(state),
        "CELLBLOCK_DATABASE_URL": os.environ.get("CELLBLOCK_TEST_DATABASE_URL", ""),
    }


settle()
