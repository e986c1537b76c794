"""Folders of this machine."""

from __future__ import annotations

import os
from pathlib import Path


def sync(folder: Path) -> None:
    """Have the names in it survive a crash: fsync(2) of the folder itself."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
