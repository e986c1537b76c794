"""jail.conf(5): reading it as jail(8) does, editing it without touching anything else, writing files of our own."""

from dataclasses import dataclass

from jails.freebsd.jailconf.edit import Document, EditRefused, edit
from jails.freebsd.jailconf.effective import Jail, resolve
from jails.freebsd.jailconf.parser import Builder, Include, Problem, Stopped, read_into
from jails.freebsd.jailconf.write import render_jail

__all__ = ["Document", "EditRefused", "Include", "Jail", "JailConf", "Problem", "edit", "read", "render_jail"]


@dataclass(frozen=True, slots=True)
class JailConf:
    """A file as jail(8) understands it: the exit status of reading it, what is wrong, its jails (none if rc is 1).

    `notes` tell what it does without a word: that it stops at a byte outside ASCII and quotes.
    """

    rc: int
    errors: tuple[Problem, ...]
    jails: tuple[Jail, ...]
    notes: tuple[Problem, ...] = ()

    @property
    def stderr(self) -> str:
        return "".join(f"{problem}\n" for problem in self.errors)

    def jail(self, name: str) -> Jail | None:
        """The first jail of that name."""
        return next((jail for jail in self.jails if jail.name == name), None)


def read(text: str, *, filename: str = "jail.conf", include: Include | None = None) -> JailConf:
    """What jail(8) makes of a jail.conf(5). Never raises, whatever the text.

    `include(pattern)` gives (filename, text) of the files that a `.include` means. The pattern is a path or a glob(3)
    pattern, already taken relative to the including file; where nothing matches, it gives nothing, and an OSError, then
    or between two files, is a file that cannot be read. Any other exception passes through. Without `include`,
    `.include` is an ordinary parameter, as on hosts whose jail(8) does not know it: those before FreeBSD 14.0.
    """
    builder = Builder()
    try:
        read_into(builder, text, filename, include)
    except Stopped:
        return JailConf(1, tuple(builder.problems), (), tuple(builder.notes))
    jails = resolve(builder)
    return JailConf(0, tuple(builder.problems), jails, tuple(builder.notes))
