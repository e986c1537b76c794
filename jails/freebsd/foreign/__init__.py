"""Jails that other tools made: recognised by the files and datasets the tools leave, one module a tool."""

from __future__ import annotations

from jails.freebsd.foreign import appjail, bastille, cbsd, ezjail, iocage, jailadmin, legacy, pot
from jails.freebsd.foreign.model import BASE, THICK, THIN, Evidence, FileEdit, ForeignJail

__all__ = ["BASE", "GLOBS", "THICK", "THIN", "Evidence", "FileEdit", "ForeignJail", "read"]

_TOOLS = (iocage, bastille, ezjail, appjail, cbsd, pot, jailadmin)

GLOBS: tuple[str, ...] = tuple(dict.fromkeys(pattern for tool in _TOOLS for pattern in tool.GLOBS))
"""Where the files lie that tell of such jails: patterns of sh(1), relative to the root of the host."""


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    """Every jail that a tool's files define, in the order of tools. Never raises, whatever the files hold."""
    return tuple(jail for tool in (*_TOOLS, legacy) for jail in tool.read(evidence))
