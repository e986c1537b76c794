"""Give an adopted jail back to whoever had it: the host is left as it was before it was adopted.

One that was adopted in place or beside its tool only leaves the panel's keeping. One that was taken over loses the file
that was written for it, where that still says what the panel wrote, and its tool starts it again at boot. Of a file
that several jails were taken over from, each gets its own lines back, in any order, where its tool then has
it as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from jails.freebsd import files, rcconf
from jails.freebsd.foreign import ForeignJail
from jails.hosts.facts import RC_CONF, Missing
from jails.models import Host, Jail, Operation, Tenant
from jails.operations import adoption, checks, common, effects, layout, power
from jails.operations.adoption import Adoption
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import BootList, Plan, Run, Step, Undo, unified_diff
from jails.operations.wish import Wish

DIFFERENCE = 12
"""Lines of a difference that a refusal shows."""


class JailUnadopt(Kind):
    name = "jail_unadopt"
    action = "jail.adopt"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def tenant(self, host: Host, parameters: Mapping[str, Any]) -> Tenant | None:
        """Nobody but staff sees the plan: it shows files of the host."""
        return None

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Give back {self.jails(host, parameters)[0].name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {"jail": wish.uuid("jail")}
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        host = request.host
        try:
            (row,) = self.jails(host, request.parameters)
        except LookupError as error:
            raise Refused({"jail": f"{error}."}) from error
        _require_possible(row)
        if row.adoption == Adoption.TAKEN_OVER:
            return _Return(request, row).plan()
        goes_on = "and its tool has it as before" if row.adoption == Adoption.BESIDE else f"{row.config_path} among it"
        return Plan(
            title=f"Give back {row.name}",
            steps=(),
            summary=(
                f"Nothing changes on {host.name}, {goes_on}.",
                f"Cellblock no longer says how {row.name} should be, and shows it as one that it has found.",
            ),
            resources=adoption.resources(host, [row]),
            result=(("adoption", row.adoption),),
        )

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        (row,) = self.jails(operation.host, operation.parameters)
        if row.adoption == Adoption.TAKEN_OVER:
            row.config_path = ""  # the next refresh finds that of its tool
        row.adoption, row.wanted, row.way_back, row.limits, row.touched = "", {}, {}, {}, True
        row.save()
        row.addresses.all().delete()
        row.drifts.all().delete()


kind = JailUnadopt()


def _require_possible(row: Jail) -> None:
    if row.managed:
        raise Refused({"jail": f"{row.name} was made by Cellblock: there is nobody to give it back to."})
    if not row.adoption:
        raise Refused({"jail": f"{row.name} was not adopted."})
    if row.tenant is not None:
        raise Refused({"jail": f"{row.name} belongs to {row.tenant}: take it back to nobody first."})


class _Return:
    """The way back of one jail that was taken over from its tool."""

    def __init__(self, request: Request, row: Jail) -> None:
        self.host, self.facts, self.row = request.host, request.facts, row
        self.facts.require("jails", "files", "names")
        self.made_by = adoption.tool_name(row)
        self.path = layout.config_path(row.name)
        self.before: Mapping[str, str | None] = row.way_back.get("before") or {}
        self.after: Mapping[str, str | None] = row.way_back.get("after") or {}
        self.found = power.look(row, self.facts)
        self.apart = True
        self.tool = self._tool()
        if self.found.running is not None and (self.tool is None or not self.tool.start):
            words = f"{self.made_by} does not know {row.name} any more: stop it first, nothing would start it again."
            raise Refused({"jail": words})
        if self.found.running is not None and not self.found.stop_file:
            raise Refused({"jail": f"{row.name} runs, and {self.path} does not tell how to stop it: stop it first."})
        if self.found.running is not None and (why := power.why_not_stop(self.facts, self.found, [self.found])):
            raise Refused({"jail": f"{row.name}: {why}"})

    def _tool(self) -> ForeignJail | None:
        """What its tool will say of it once its files are as they were."""
        found = {path: text for path, text in self.facts.files.items() if path != self.path}
        for old, new in self.row.way_back.get("renamed") or ():
            found |= {old: found.pop(new)} if new in found else {}
        as_before, with_others = (
            power.tool_of(self.row, replace(self.facts, files=_with(found, texts)))
            for texts in (self.before, {path: self._wanted(path) for path in self.before})
        )
        if _means(with_others) == _means(as_before):
            return with_others
        self.apart = False  # its own lines alone would not let its tool have it as before
        return as_before

    def plan(self) -> Plan:
        running = self.found.running is not None
        steps = [*self._boot(), *self._files(), *self._folder()]
        if running and self.tool is not None:
            start = power.tool_start_step(self.found, self.tool)
            steps = [*power.stop_steps(self.found, self.facts, back=True), *steps, start]
        warnings = [f"{self.row.name} is stopped, and started through {self.made_by}: it is away a moment."]
        if self.tool is None:
            warnings.append(f"{self.made_by} does not know it any more: nothing will start it until that is mended.")
        return Plan(
            title=f"Give back {self.row.name}",
            steps=tuple(steps),
            summary=(
                f"{self.path} goes, and {self.made_by} has {self.row.name} as it had it before.",
                "Its tree stays where it is: nothing is copied or moved.",
            ),
            warnings=tuple(warnings if running else warnings[1:]),
            notes=power.dying_notes([self.found]),
            resources=adoption.resources(self.host, [self.row]),
            result=(("adoption", self.row.adoption),),
        )

    def _files(self) -> Iterator[Step]:
        """Each file back to what it was; the one that describes the jail last, as it stops it until then."""
        for path in sorted(self.after, key=lambda path: path == self.path):
            now = self._now(path)
            if now == self.before.get(path) or path == RC_CONF[0]:  # that one is `_boot`'s
                continue
            yield self._back(path, now, self._required(path))
        yield from self._renamed()
        if self.row.way_back.get("by_command"):
            yield self._by_command()

    def _wanted(self, path: str) -> str | None:
        """What a file is to say: all that it said before, or else the lines of this jail as they were before."""
        before, after, now = self.before.get(path), self.after.get(path), self._now(path)
        if now in (before, after) or before is None or after is None or now is None:
            return before
        return adoption.put_back(before, after, now)

    def _required(self, path: str) -> str | None:
        """The same where it can be. Raises Refused where somebody has changed more than lines of others since."""
        after, now = self.after[path], self._now(path)
        if now == after:
            return self.before.get(path)
        wanted = self._wanted(path) if now is not None and after is not None and self.apart else None
        if wanted is None:
            raise Refused({"jail": self._taken_since(path, now) or _changed(path, after, now)})
        return wanted

    def _taken_since(self, path: str, now: str | None) -> str:
        """Which jail of the same file is to be given back first, in words; "" where it is no other's doing."""
        others = Jail.objects.filter(host=self.host, adoption=Adoption.TAKEN_OVER).exclude(pk=self.row.pk)
        last = next((one for one in others if (one.way_back.get("after") or {}).get(path) == now), None)
        if now is None or last is None:
            return ""
        return f"{last.name} was taken over from {path} since, in the same lines: give that back first."

    def _now(self, path: str) -> str | None:
        try:
            return self.facts.file(path)
        except Missing as missing:
            raise Refused({"jail": f"{path}: {missing.why}."}) from missing

    def _back(self, path: str, now: str | None, before: str | None) -> Step:
        taken = f"Take {path} away, which was written for {self.row.name}"
        words = taken if before is None else f"Let {path} say what it said before"
        return adoption.edit_step(self.host, self.row, path, now, before, words)

    def _renamed(self) -> Iterator[Step]:
        for old, new in self.row.way_back.get("renamed") or ():
            if self._now(old) is not None:
                raise Refused({"jail": f"{old} is there again, which had become {new}: take one of them away by hand."})
            text = self._now(new)
            if text is None:
                raise Refused({"jail": f"{new} is gone: it was {old} before the jail was taken over."})
            words = f"Let {self.made_by} start {self.row.name} at boot again"
            yield adoption.rename_step(self.row, new, old, text, words)

    def _by_command(self) -> Step:
        if self.tool is None or not self.tool.autostart_on_argv:
            words = f"{self.made_by} does not know {self.row.name} any more: nothing can let it start that at boot."
            raise Refused({"jail": words})
        off = self.tool.autostart_off_argv
        return Step(
            key="autostart",
            purpose=f"Let {self.made_by} start {self.row.name} at boot again",
            action=Run((self.tool.autostart_on_argv,)),
            undo=(Undo(Run((off,))),) if off else (),
            seconds=60,
            subject=self.row.name,
        )

    def _folder(self) -> Iterator[Step]:
        folder = self.row.way_back.get("directory", "")
        if not folder or set(self.facts.names.get(folder, ())) - {self.path.rpartition("/")[2]}:
            return
        yield Step(
            key="folder",
            purpose=f"Take {folder} away, which was made for it and is empty again",
            action=Run((files.remove_directory(folder),)),
            done_when=(checks.path_absent(folder),),
            undo=(Undo(Run((files.make_directory(folder, mode="0755"),)), only_if=(checks.path_absent(folder),)),),
            seconds=30,
            subject=self.row.name,
            resources=(layout.lock(self.host, "parents"),),
        )

    # Boot

    def _boot(self) -> Iterator[Step]:
        kept = self.row.way_back.get("boot") or {}
        edited = RC_CONF[0] in self.after
        now = self._now(RC_CONF[0])
        if not (kept.get("added") or kept.get("removed") or kept.get("renamed") or edited):
            return
        before = kept.get("rc.conf") or ""
        if now is not None and self._is_all_ours(before, now):
            yield self._back(RC_CONF[0], now, before)
            return
        if not edited:
            yield self._list_back()
        elif self._has_its_list(rcconf.parse(before)):
            yield self._back(RC_CONF[0], now, self._required(RC_CONF[0]))
        else:
            words = self._taken_since(RC_CONF[0], now) or _changed(RC_CONF[0], self.after[RC_CONF[0]], now)
            raise Refused({"jail": words})

    def _has_its_list(self, was: rcconf.RcConf) -> bool:
        """Whether what boots needed no change when it was taken over, so that none is to be taken back."""
        kept = self.row.way_back["boot"]
        listed = set(kept["added"]) <= set(was.get("jail_list").split()) and was.is_yes("jail_enable")
        return not kept["removed"] and not kept.get("renamed") and (listed or not kept["added"])

    def _list_back(self) -> Step:
        """Without its file it starts no more; the list of others stays as it is by now."""
        boots = self.row.name in adoption.boots_today(self.facts)
        action = BootList(destroyed=(self.row.name,))
        back = effects.undo_of(BootList(remove=(self.row.name,))) if boots else ()
        words = f"Keep {self.row.name} from starting at boot by its file"
        return common.boot_step(self.host, self.facts, action, purpose=words, undo=back, subject=self.row.name)

    def _is_all_ours(self, before: str, now: str) -> bool:
        """Whether nothing but what was done for this jail tells the two texts of rc.conf apart."""
        written = self.after.get(RC_CONF[0])
        if adoption.without_boot_lines(now) != adoption.without_boot_lines(written if written is not None else before):
            return False
        kept = self.row.way_back["boot"]
        renamed = dict(kept.get("renamed") or ())
        was, present = rcconf.parse(before), rcconf.parse(now)
        old, new = (conf.get("jail_list").split() for conf in (was, present))
        if present.is_yes("jail_enable") != was.is_yes("jail_enable") and not self._enabled_by_us(present, new):
            return False
        stayed = [renamed.get(name, name) for name in old if name not in kept["removed"]]
        if [name for name in new if name in stayed or name not in kept["added"]] == stayed:
            return set(kept["added"]) <= set(new)
        # It was taken out of what boots by a list of all the others. Who changed that meant it: with no list, all boot.
        listed = bool(kept["removed"]) and not old and new == kept.get("others")
        return listed and not self._others_are_kept()

    def _enabled_by_us(self, present: rcconf.RcConf, listed: list[str]) -> bool:
        """Whether taking the jail over is what turned jail_enable on, or off since nothing was left to start."""
        kept = self.row.way_back["boot"]
        return bool(kept["added"]) if present.is_yes("jail_enable") else bool(kept["removed"]) and not listed

    def _others_are_kept(self) -> bool:
        others = Jail.objects.filter(host=self.host, adoption=Adoption.TAKEN_OVER).exclude(pk=self.row.pk)
        return others.exists()


def _with(files: Mapping[str, str], texts: Mapping[str, str | None]) -> dict[str, str]:
    """Files by their paths with some of them as given; None for one that is not there."""
    found = {path: text for path, text in files.items() if path not in texts}
    return found | {path: text for path, text in texts.items() if text is not None}


def _means(tool: ForeignJail | None) -> tuple[object, ...]:
    """What a tool makes of a jail, whatever its files say of others."""
    return (tool.boot, tool.autostart, tool.root, tool.start, tool.stop, tool.parameters) if tool is not None else ()


def _changed(path: str, ours: str | None, now: str | None) -> str:
    """A refusal that names the difference."""
    if now is None:
        return f"{path} is gone: it was written when the jail was taken over. Put it back, or the jail away, by hand."
    diff = unified_diff(ours or "", now, path).splitlines()[2:]
    more = f"\n… {len(diff) - DIFFERENCE} more lines" if len(diff) > DIFFERENCE else ""
    words = f"{path} is not what was written there when the jail was taken over; change it back by hand first:"
    return "\n".join([words, *diff[:DIFFERENCE]]) + more
