"""Which nodes may be skipped, and which of them are skipped together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from tenfold_worklets.join import All, Any, Atom, Join, atoms

MAX_SPLITS = 3
MAX_PASSES = 2_000


@dataclass(slots=True)
class Skips:
    """Facts are names of nodes that ran and of ports (`node.port`) that fired.

    `order` has every node after those it waits for; `when` are the nodes with a condition of their own; `after` and
    `join` are as written; `ports` are the ports of the branches that always fire one. "Runs" is certain; "may be
    skipped" may be wrong where it takes more than `MAX_SPLITS` branches, or very many passes, to see it.
    """

    order: Sequence[str]
    when: Collection[str]
    after: Mapping[str, Sequence[str]]
    join: Mapping[str, Join]
    ports: Mapping[str, Sequence[str]]
    _facts: dict[str, frozenset[str]] = field(default_factory=dict)
    _runs: dict[frozenset[str], Set[str]] = field(default_factory=dict)
    _branches: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _passes: int = 0

    def always_runs(self, name: str) -> bool:
        return name in self._running(frozenset())

    def runs_with(self, name: str, other: str) -> bool:
        """Whether `name` has run whenever `other` runs."""
        return name in self._running(self._facts_of(other))

    def _running(self, facts: frozenset[str]) -> Set[str]:
        """Everything that is certain to run and to fire when the facts hold."""
        if facts not in self._runs:
            self._runs[facts] = self._extended(set(facts), self.order, MAX_SPLITS)
        return self._runs[facts]

    def _extended(self, runs: set[str], names: Sequence[str], splits: int) -> set[str]:
        """What is certain to run, with those of the names added that then run as well."""
        self._passes += 1
        for place, name in enumerate(names):
            if name in runs or (name not in self.when and self._is_reached(name, runs, names[:place], splits)):
                runs.add(name)
                if len(ports := self.ports.get(name, ())) == 1:
                    runs.update(ports)
        return runs

    def _is_reached(self, name: str, runs: Set[str], before: Sequence[str], splits: int) -> bool:
        join = self.join.get(name)
        followed = all(atom in runs for atom in self.after.get(name, ()))
        return followed and (join is None or self._holds(join, runs, before, splits))

    def _holds(self, join: Join, runs: Set[str], before: Sequence[str], splits: int) -> bool:
        match join:
            case Atom(name=name):
                return name in runs
            case All(parts):
                return all(self._holds(part, runs, before, splits) for part in parts)
            case Any(parts):
                return any(self._holds(part, runs, before, splits) for part in parts) or (
                    splits > 0
                    and any(self._covers(join, node, runs, before, splits - 1) for node in self._behind(join))
                )

    def _covers(self, join: Join, branch: str, runs: Set[str], before: Sequence[str], splits: int) -> bool:
        """Whether a join holds whichever port of a branch fires."""
        ports = self.ports[branch]
        if branch not in runs or not runs.isdisjoint(ports):
            return False
        open_ = [name for name in before if name not in runs]
        return all(
            self._passes < MAX_PASSES and self._holds(join, self._extended({*runs, port}, open_, splits), open_, splits)
            for port in ports
        )

    def _behind(self, join: Join) -> Sequence[str]:
        """The branches that what a join names may depend on, the last one first: that is mostly the one it ends."""
        if not self._branches:
            for name in self.order:
                named = [Atom(atom, 0) for atom in self.after.get(name, ())]
                named += atoms(self.join[name]) if name in self.join else []
                self._branches[name] = self._branches_of(named)
        return self._branches_of(atoms(join))[::-1]

    def _branches_of(self, named: Iterable[Atom]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for atom in named:
            found |= dict.fromkeys(self._branches[atom.node])
            if atom.node in self.ports:
                found[atom.node] = None
        return tuple(found)

    def _facts_of(self, name: str) -> frozenset[str]:
        """What is certain when a node runs, from its `after` and `join`."""
        if not self._facts:
            for each in self.order:
                facts: set[str] = set()
                for atom in self.after.get(each, ()):
                    facts |= self._implied(Atom(atom, 0))
                if each in self.join:
                    facts |= self._implied(self.join[each])
                self._facts[each] = frozenset(facts)
        return self._facts[name]

    def _implied(self, join: Join) -> Set[str]:
        match join:
            case Atom(name=name):
                node = name.partition(".")[0]
                return {name, node} | self._facts[node]
            case All(parts):
                return set().union(*(self._implied(part) for part in parts))
            case Any(parts):
                return set(self._implied(parts[0])).intersection(*(self._implied(part) for part in parts[1:]))
