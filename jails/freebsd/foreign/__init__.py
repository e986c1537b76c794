"""Jails that other tools made: recognised by the files and datasets the tools leave, one module a tool."""

from jails.freebsd.foreign.model import BASE, THICK, THIN, Evidence, FileEdit, ForeignJail

__all__ = ["BASE", "THICK", "THIN", "Evidence", "FileEdit", "ForeignJail"]
