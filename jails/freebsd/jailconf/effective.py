"""What jail(8) makes of a parsed file: wildcards applied, later definitions over earlier, variables replaced.

The order of things is that of usr.sbin/jail/config.c (load_config, add_param), because it shows in the result.
"""

import re
from dataclasses import dataclass, field

from jails.freebsd.jailconf.lexer import from_bytes_text
from jails.freebsd.jailconf.parser import Builder, Problem, Statement, Text

# jail(8) fills all memory with variables that double each other; here such a jail fails.
SUBSTITUTED_LIMIT = 1 << 24

_NUMBER = re.compile(r"[ \t\n\v\f\r]*[+-]?0*[1-9][0-9]*")  # as strtol(3) reads it, and not 0
# Parameters that jail(8) knows by itself (intparams in config.c): no variable may have the name of one.
_KNOWN = frozenset(
    {
        "allow.dying",
        "command",
        "depend",
        "exec.clean",
        "exec.consolelog",
        "exec.fib",
        "exec.jail_user",
        "exec.poststart",
        "exec.poststop",
        "exec.prepare",
        "exec.prestart",
        "exec.prestop",
        "exec.release",
        "exec.created",
        "exec.start",
        "exec.stop",
        "exec.system_jail_user",
        "exec.system_user",
        "exec.timeout",
        "interface",
        "ip_hostname",
        "mount",
        "mount.devfs",
        "mount.fdescfs",
        "mount.procfs",
        "mount.fstab",
        "stop.timeout",
        "vnet.interface",
        "allow.chflags",
        "allow.mount",
        "allow.raw_sockets",
        "allow.set_hostname",
        "allow.socket_af",
        "allow.sysvipc",
        "devfs_ruleset",
        "host.hostname",
        "ip4.addr",
        "ip6.addr",
        "jid",
        "name",
        "path",
        "persist",
        "securelevel",
        "vnet",
    }
)
_FIXED = frozenset({"jid", "name"})


@dataclass(frozen=True, slots=True)
class Jail:
    """A jail as jail(8) holds it after reading: `parameters` are (name, values) in its order, no values for a bare one.

    `failed` means that it refuses this jail (a missing variable, a variable loop, a name or jid given twice).
    """

    name: str
    failed: bool
    parameters: tuple[tuple[str, tuple[str, ...]], ...]

    def get(self, name: str) -> tuple[str, ...] | None:
        """The values of a parameter, written with or without `no`; None where it is not set."""
        return next((values for known, values in self.parameters if same_option(known, name)), None)

    def last(self, name: str, default: str = "") -> str:
        """The value that counts where jail(8) wants one only: the last."""
        values = self.get(name)
        return values[-1] if values else default

    def enabled(self, name: str) -> bool:
        """Whether a boolean parameter is there and true (bool_param in config.c)."""
        for known, values in self.parameters:
            if same_option(known, name):
                negated = known.rsplit(".", 1)[-1].startswith("no")
                return negated != (not values or values[-1].lower() == "true" or bool(_NUMBER.match(values[-1])))
        return False


@dataclass(slots=True)
class _Parameter:
    name: str
    values: list[Text]
    variable: bool = False
    fixed: bool = False
    bad: bool = False
    generation: int = 0
    source: Statement | None = None


@dataclass(slots=True)
class _Jail:
    name: str
    problems: list[Problem]
    parameters: list[_Parameter] = field(default_factory=list)
    alike: dict[str, list[_Parameter]] = field(default_factory=dict)
    failed: bool = False

    def fail(self, message: str, source: Statement | None) -> None:
        self.failed = True
        name = from_bytes_text(self.name)
        filename, line, column = (source.filename, source.line, source.column) if source else ("", 0, 0)
        self.problems.append(Problem(f"{name}: {from_bytes_text(message)}", filename, line, column, name))


def resolve(builder: Builder) -> tuple[Jail, ...]:
    """The jails of all parsed files in order; problems are added to the builder's."""
    wild = [(seq, name, items) for seq, (name, items) in enumerate(builder.blocks) if is_wildcard(name)]
    jails = []
    budget = _Budget()
    for seq, (name, own) in enumerate(builder.blocks):
        if is_wildcard(name):
            continue
        jail = _Jail(name, builder.problems)
        _insert(jail, _Parameter("jid" if is_jid(name) else "name", [Text(name)], fixed=True))
        for statement in _in_order(seq, name, own, wild):
            _add(jail, statement)
        _Substitution(jail, budget).run()
        jails.append(_frozen(jail))
    return tuple(jails)


def _in_order(
    seq: int, name: str, own: list[Statement], wild: list[tuple[int, str, list[Statement]]]
) -> list[Statement]:
    before = [item for at, pattern, items in wild if at < seq and matches(name, pattern) for item in items]
    after = [item for at, pattern, items in wild if at > seq and matches(name, pattern) for item in items]
    return [*before, *own, *after]


def is_wildcard(name: str) -> bool:
    """Whether one of the parts between dots is `*`."""
    return "*" in name.split(".")


def is_jid(name: str) -> bool:
    """Whether jail(8) takes the name for a jid: any number but 0."""
    return _NUMBER.fullmatch(name) is not None


def matches(name: str, pattern: str) -> bool:
    """A `*` between dots stands for one part of the name, at the end for one or more (wild_jail_match in config.c)."""
    while "." in name and "." in pattern:
        part, name_rest = name.split(".", 1)
        wanted, pattern_rest = pattern.split(".", 1)
        if part != wanted and wanted != "*":
            return False
        name, pattern = name_rest, pattern_rest
    return pattern in (name, "*")


def same_option(one: str, other: str) -> bool:
    """Whether two names are the same but for a `no` in front of one part: `allow.mount` and `allow.nomount`."""
    if one == other:
        return True
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) != 2:
        return False
    places = [0, *(at + 1 for at, character in enumerate(one) if character == ".")]
    return any(one[:at] + "no" + one[at:] == other for at in places)


def _plain_name(name: str) -> str:
    return ".".join(re.sub(r"^(no)+", "", part) for part in name.split("."))


def _insert(jail: _Jail, parameter: _Parameter) -> None:
    jail.parameters.append(parameter)
    jail.alike.setdefault(_plain_name(parameter.name), []).append(parameter)


def _find(jail: _Jail, name: str) -> _Parameter | None:
    alike = jail.alike.get(_plain_name(name), [])
    return next((parameter for parameter in alike if same_option(parameter.name, name)), None)


def _add(jail: _Jail, statement: Statement) -> None:
    clash = f'variable "${statement.name}" cannot have the same name as a parameter.'
    found = _find(jail, statement.name)
    if found is None:
        known = _known_alike(statement.name)
        fixed = known in _FIXED and not statement.variable
        values = [value.copy() for value in statement.values]
        _insert(jail, _Parameter(statement.name, values, statement.variable, fixed, source=statement))
        if known and statement.variable:
            jail.fail(clash, statement)
        return
    if found.variable != statement.variable:
        jail.fail(clash, statement)
        return
    if found.fixed:
        jail.fail(f'cannot redefine parameter "{found.name}".', statement)
        return
    found.name = statement.name
    if statement.op != "+=" or not statement.values:
        found.values = []
    found.values.extend(value.copy() for value in statement.values)
    found.source = statement


def _known_alike(name: str) -> str | None:
    candidates = [name]
    parts = name.split(".")
    for at, part in enumerate(parts):
        if part.startswith("no"):
            candidates.append(".".join([*parts[:at], part[2:], *parts[at + 1 :]]))
        candidates.append(".".join([*parts[:at], "no" + part, *parts[at + 1 :]]))
    return next((candidate for candidate in candidates if candidate in _KNOWN), None)


@dataclass(slots=True)
class _Budget:
    left: int = SUBSTITUTED_LIMIT

    def spend(self, values: list[Text], whole: str) -> bool:
        self.left -= len(whole) + sum(len(value.text) + 1 for value in values)
        return self.left >= 0


class _Substitution:
    """Puts variables in, each definition before its first use; what depends on something bad is bad itself."""

    def __init__(self, jail: _Jail, budget: _Budget) -> None:
        self.jail = jail
        self.budget = budget
        self.generation = 0

    def run(self) -> None:
        parameters = self.jail.parameters
        if not any(value.variables for parameter in parameters for value in parameter.values):
            return
        at = 0
        while at < len(parameters):
            self.generation += 1
            parameters[at].generation = self.generation
            at = self._resolve(at) + 1

    def _resolve(self, at: int) -> int:
        """Resolve the parameter at this place, or what it needs first. The place of the one that was resolved."""
        parameters = self.jail.parameters
        parameter = parameters[at]
        index = 0
        while index < len(parameter.values):
            value = parameter.values[index]
            if not value.variables:
                index += 1
                continue
            needed = self._substitute(parameter, index)
            if needed is not None:
                needed.generation = self.generation
                place = next(i for i, item in enumerate(parameters) if item is needed)
                del parameters[place]
                at = next(i for i, item in enumerate(parameters) if item is parameter)
                parameters.insert(at, needed)
                parameter, index = needed, 0
        return at

    def _substitute(self, parameter: _Parameter, index: int) -> _Parameter | None:
        """Replace the first variable of a value; or the variable that has to be resolved before it."""
        value = parameter.values[index]
        position, name = value.variables[0]
        found = next((item for item in self.jail.parameters if item.name == name), None)
        problem = None
        if found is None or not found.values:
            problem = f'{parameter.name}: variable "{name}" not found'
        elif found.bad:
            problem = ""
        elif found.generation == self.generation:
            problem = f"{name}: variable loop"
        elif any(part.variables for part in found.values):
            return found
        elif len(found.values) > 1 and (value.text or len(value.variables) > 1):
            problem = f"{parameter.name}: array cannot be substituted inline"
        elif not self.budget.spend(found.values, value.text):
            problem = f"{parameter.name}: value too long"
        if problem is None and found is not None:
            _put_in(parameter, index, position, found.values)
        else:
            self._bad(problem, parameter)
        del value.variables[0]
        return None

    def _bad(self, problem: str | None, parameter: _Parameter) -> None:
        self.jail.failed = True
        if problem:
            self.jail.fail(problem, parameter.source)
        for item in self.jail.parameters:
            if item.generation == self.generation:
                item.bad = True


def _put_in(parameter: _Parameter, index: int, position: int, values: list[Text]) -> None:
    value = parameter.values[index]
    first = values[0].text
    value.text = value.text[:position] + first + value.text[position:]
    value.variables = [value.variables[0], *((at + len(first), name) for at, name in value.variables[1:])]
    parameter.values[index + 1 : index + 1] = [item.copy() for item in values[1:]]


def _frozen(jail: _Jail) -> Jail:
    parameters = tuple(
        (from_bytes_text(parameter.name), tuple(from_bytes_text(value.text) for value in parameter.values))
        for parameter in jail.parameters
        if not parameter.variable
    )
    return Jail(from_bytes_text(jail.name), jail.failed, parameters)
