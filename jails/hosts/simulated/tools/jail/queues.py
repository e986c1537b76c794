"""Which jail is next: dependencies and queues (usr.sbin/jail/state.c)."""

from __future__ import annotations

from jails.hosts.simulated import prison
from jails.hosts.simulated.world import World

from .conf import DEPEND, FAILED, OPERATION, SET, START, STOP, WILD, ConfJail, Edge, is_wild, wild_match


class Queues:
    """The jails of one run of jail(8) and where each of them waits."""

    def __init__(self, process: World) -> None:
        self.process = process
        self.host = process.host
        with self.host.reading() as state:
            self.release = self.host.release(state)
        self.jails: list[ConfJail] = []
        self.ready: list[ConfJail] = []
        self.depend: list[ConfJail] = []
        self.sleeping: list[ConfJail] = []
        self.verbose = 0
        self.print_jid = False
        self.dying = False
        self.note_remove = False
        self.separator = "\t"
        self.one_at_a_time = False

    def _note(self, jail: ConfJail, text: str) -> None:
        self.process.out(f"{jail.name}: {text}" if jail.name else text)

    def _warn(self, jail: ConfJail, text: str) -> None:
        self.process.err(f"jail: {jail.name}: {text}\n" if jail.name else f"jail: {text}\n")

    def _quoted(self, jail: ConfJail, text: str) -> None:
        which = jail.name or jail.text("jid") or jail.text("name")
        self.process.err(f'jail: "{which}" {text}\n' if which else "jail: no jail specified\n")

    def _failed(self, jail: ConfJail) -> None:
        jail.flags |= FAILED
        self._queue(jail, self.ready, head=True)

    def _dependencies(self, from_file: bool) -> None:
        if not from_file:
            for name in (self.jails[0].find("depend") or ("", []))[1] if self.jails else []:
                if self._running(name) < 0:
                    self.process.err(f'jail: depends on nonexistent jail "{name}"\n')
                    self.jails[0].flags |= FAILED
            return
        by_name = {str(jail.name): jail for jail in self.jails}
        edges = 0
        for jail in [jail for jail in self.jails if not jail.flags & FAILED]:
            for name in (jail.find("depend") or ("", []))[1]:
                if name in by_name:
                    self._edge(jail, by_name[name], light=False)
                    edges += 1
                else:
                    self._warn(jail, f'depends on undefined jail "{name}"')
                    jail.flags |= FAILED
            outer = str(jail.name).rpartition(".")[0]
            if outer in by_name:
                self._edge(jail, by_name[outer], light=True)
                edges += 1
        if edges > 1:
            self._find_loops()

    def _edge(self, source: ConfJail, target: ConfJail, *, light: bool) -> None:
        edge = Edge(source, target, light=light)
        source.depends_on.append(edge)
        target.depended_by.append(edge)

    def _find_loops(self) -> None:
        left = {id(jail): len(jail.depends_on) for jail in self.jails}
        pending = list(self.jails)
        while pending:
            free = [jail for jail in pending if left[id(jail)] <= 0]
            if not free:
                self._warn(pending[0], "dependency loop")
                pending[0].flags |= FAILED
                free = [pending[0]]
            for jail in free:
                pending.remove(jail)
                for edge in jail.depended_by:
                    left[id(edge.source)] -= 1

    def _start_state(self, target: str | None, from_file: bool, operation: int, running: bool) -> bool:
        if target is None or (not from_file and operation != STOP) or (not running and target == "*"):
            for jail in self.jails:
                jail.flags = (jail.flags & FAILED) | operation | (WILD if from_file else 0)
                self._count(jail)
                self._queue(jail, self.depend if jail.waiting_for else self.ready)
            return True
        if is_wild(target):
            if running:
                for name, jid in self._running_jails():
                    if wild_match(name, target):
                        self._add_running(name, jid).flags |= operation | WILD
            else:
                for jail in [jail for jail in self.jails if wild_match(str(jail.name), target)]:
                    jail.flags = (jail.flags & FAILED) | operation | WILD
                    self._count(jail)
                    self._queue(jail, self.ready)
            return True
        found = next((jail for jail in self.jails if jail.name == target), None)
        if found is None and operation == STOP and (jid := self._running(target, dying=True)) > 0:
            found = self._add_running(target, jid)
        if found is None:
            self.process.err(f'jail: "{target}" not found\n')
            return False
        found.flags = (found.flags & FAILED) | operation
        self._count(found)
        self._queue(found, self.ready)
        return True

    def _add_running(self, name: str, jid: int) -> ConfJail:
        jail = ConfJail(name)
        jail.jid = jid
        self._queue(jail, self.ready)
        return jail

    def _running_jails(self) -> list[tuple[str, int]]:
        with self.host.reading() as state:
            within = self.process.jid
            rows = prison.all_prisons(state, within=within)
            return [(prison.visible_name(state, row, within), row["jid"]) for row in rows]

    def _running(self, which: str, *, dying: bool = False) -> int:
        with self.host.reading() as state:
            try:
                return int(prison.get(state, which, dying=dying, within=self.process.jid)["jid"])
            except prison.JailError:
                return -1

    def _queue(self, jail: ConfJail, queue: list[ConfJail] | None, *, head: bool = False) -> None:
        for other in (self.ready, self.depend, self.sleeping):
            if jail in other:
                if other is queue and not head:
                    return
                other.remove(jail)
        if queue is not None:
            queue.insert(0 if head else len(queue), jail)

    def _edges(self, jail: ConfJail) -> list[Edge]:
        """What must happen before: removal waits for those that depend on the jail."""
        return jail.depended_by if jail.flags & STOP else jail.depends_on

    def _count(self, jail: ConfJail) -> None:
        jail.waiting_for = len(self._edges(jail))
        for edge in self._edges(jail):
            edge.seen = False

    def _must_wait(self, jail: ConfJail) -> bool:
        """dep_check(): start or stop first what this jail needs started or stopped."""
        if not jail.waiting_for:
            return False
        stopping = bool(jail.flags & STOP)
        count = 0
        for edge in self._edges(jail):
            if edge.seen:
                continue
            other = edge.source if stopping else edge.target
            if other.flags & FAILED:
                if not jail.flags & (DEPEND | FAILED) and self.verbose >= 0:
                    self._warn(jail, "skipped")
                jail.flags |= FAILED
                continue
            self._drag_in(jail, other)
            if not (edge.light and (other.jid < 0 if stopping else other.jid > 0)):
                count += 1
        if not count:
            return False
        self._queue(jail, self.depend)
        return True

    def _drag_in(self, jail: ConfJail, other: ConfJail) -> None:
        operation = jail.flags & OPERATION
        reset = False
        if not other.flags & OPERATION:
            reset = True
            other.flags |= DEPEND
            self._queue(other, self.ready)
        if (other.flags & OPERATION).bit_count() <= 1:
            if operation == START:
                other.flags |= START
            elif operation == SET:
                if not other.flags & OPERATION:
                    other.flags |= SET
                elif other.flags & STOP:
                    other.flags |= START
            elif operation & STOP:
                reset = reset or not other.flags & STOP
                other.flags |= STOP
                if other.flags & SET:
                    other.flags ^= START | SET
        if reset:
            self._count(other)

    def _settled(self, jail: ConfJail, *, light: bool = False) -> None:
        """dep_done(): those who waited for this jail may go on (or must not)."""
        stopping = bool(jail.flags & STOP)
        for edge in jail.depends_on if stopping else jail.depended_by:
            if edge.seen or (light and not edge.light):
                continue
            edge.seen = True
            other = edge.target if stopping else edge.source
            quiet_set = jail.flags & (OPERATION | DEPEND) == SET | DEPEND
            if jail.flags & FAILED and not quiet_set:
                if not other.flags & (DEPEND | FAILED) and self.verbose >= 0:
                    self._warn(other, "skipped")
                other.flags |= FAILED
            other.waiting_for -= 1
            if other.waiting_for <= 0 and other in self.depend:
                self._queue(other, self.ready)

    def _next(self) -> ConfJail | None:
        if self.ready:
            jail = self.ready[0]
            if jail.flags & STOP:
                jail = next(one for one in reversed(self.ready) if one.flags & STOP)
        elif self.sleeping:
            jail = self.sleeping[0]
        else:
            return None
        self._queue(jail, None)
        return jail
