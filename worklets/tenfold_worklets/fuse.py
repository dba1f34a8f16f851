"""Which code nodes travel to a worker together.

A segment is a chain of code nodes of one environment. Fusing changes when nothing starts and what nothing sees: a node
joins the chain before it only if it would have been the next thing to run anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tenfold_worklets.plan import PlanNode
from tenfold_worklets.references import Reference, references

CODE_KINDS = frozenset({"pre", "post", "logic"})


def fuse(nodes: Sequence[PlanNode]) -> tuple[tuple[str, ...], ...]:
    """Partition nodes (each standing after those it waits for) into segments, in an order that can be settled."""
    graph = _Graph(nodes)
    chains: list[list[PlanNode]] = []
    for node in nodes:
        chain = next((chain for chain in chains if _joins(node, chain, graph)), None)
        if chain is None:
            chains.append([node])
        else:
            chain.append(node)
    return tuple(tuple(node.name for node in chain) for chain in chains)


def _joins(node: PlanNode, chain: Sequence[PlanNode], graph: _Graph) -> bool:
    head, last = chain[0], chain[-1]
    members = {member.name for member in chain}
    return (
        _plain(node)
        and _plain(last)
        and node.environment == head.environment
        and node.when is None
        and node.join is None
        and last.name in node.waits
        and all(atom in members or atom in head.after for atom in node.after)
        and all(name in members or name in graph.ancestors[head.name] for name in node.waits)
        and all(other == node.name or node.name in graph.ancestors[other] for other in graph.dependents[last.name])
        and all(_travels(reference, node) for reference in graph.references[node.name] if reference.root in members)
    )


def _plain(node: PlanNode) -> bool:
    """A code node whose failure and time are nobody's business but the run's."""
    return node.kind in CODE_KINDS and node.retry is None and node.fallback is None and node.timeout_seconds is None


def _travels(reference: Reference, node: PlanNode) -> bool:
    """Whether a worker can fill it in: the whole output of an earlier step, as a whole argument."""
    return reference.whole and not reference.keys and reference.path in {f"in.{name}" for name in node.inputs or {}}


class _Graph:
    def __init__(self, nodes: Sequence[PlanNode]) -> None:
        self.ancestors: dict[str, set[str]] = {}
        self.dependents: dict[str, set[str]] = {node.name: set() for node in nodes}
        self.references: Mapping[str, list[Reference]] = {
            node.name: list(references(node.inputs, "in")) for node in nodes if node.kind in CODE_KINDS
        }
        for node in nodes:
            self.ancestors[node.name] = set(node.waits).union(*(self.ancestors[name] for name in node.waits))
            for name in node.waits:
                self.dependents[name].add(node.name)
