"""zpool(8); its subcommands are in tools/zfs/pools.py."""

from __future__ import annotations

from .zfs.commands import zpool as main

__all__ = ["main"]
