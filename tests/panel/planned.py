"""A kind of operation for tests of forms: all of a real one but its plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step


class Planned:
    @dataclass
    class State:
        refuses: dict[str, str] = field(default_factory=dict)
        seen: list[Request] = field(default_factory=list)

    def __init__(self, real: Kind, state: State) -> None:
        self.real, self.state = real, state

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def plan(self, request: Request) -> Plan:
        self.state.seen.append(request)
        if self.state.refuses:
            raise Refused(self.state.refuses)
        step = Step(key="one", purpose="Do it", action=Run((("/usr/bin/true",),)))
        result = (("path", "/jail/x"), ("dataset", "zroot/cellblock/host/x"))
        return Plan(title=self.real.name, steps=(step,), loses=("zroot/cellblock/host/x",), result=result)
