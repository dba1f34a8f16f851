"""A plan as boxes and lines: columns by the longest way from the input, rows near what a node comes from."""

from __future__ import annotations

from collections.abc import Sequence

from tenfold_worklets.nodes import KINDS
from tenfold_worklets.plan import Graph, GraphEdge, GraphNode, Plan

INPUT = "input"
RETURN = "return"


def lay_out(plan: Plan) -> Graph:
    """Place every node, and the input and the return, so that lines run from left to right."""
    names = [INPUT, *(node.name for node in plan.nodes), RETURN]
    columns = _columns(names, plan.edges)
    rows = _rows(names, columns, plan.edges)
    nodes = [GraphNode(INPUT, INPUT, "Input", "", columns[INPUT], rows[INPUT])]
    for node in plan.nodes:
        kind = KINDS[node.kind]
        nodes.append(
            GraphNode(
                id=node.name,
                kind=node.kind,
                title=node.name.replace("_", " "),
                target=kind.target(node.spec),
                column=columns[node.name],
                row=rows[node.name],
                ports=kind.ports(node.spec),
            )
        )
    nodes.append(GraphNode(RETURN, RETURN, "Return", "", columns[RETURN], rows[RETURN]))
    return Graph(tuple(nodes), plan.edges)


def _columns(names: Sequence[str], edges: Sequence[GraphEdge]) -> dict[str, int]:
    """The input is column 0; a node stands right of everything it comes from; the return stands last."""
    columns = {INPUT: 0}
    for name in names[1:-1]:
        columns[name] = 1 + max((columns[edge.source] for edge in edges if edge.target == name), default=0)
    columns[RETURN] = 1 + max(columns.values())
    return columns


def _rows(names: Sequence[str], columns: dict[str, int], edges: Sequence[GraphEdge]) -> dict[str, int]:
    """Within a column, nodes stand in the order of the mean row of what they come from."""
    rows: dict[str, int] = {}
    for column in sorted(set(columns.values())):
        members = [name for name in names if columns[name] == column]
        heights = {name: _mean([rows[edge.source] for edge in edges if edge.target == name]) for name in members}
        rows |= {name: row for row, name in enumerate(sorted(members, key=heights.__getitem__))}
    return rows


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0
