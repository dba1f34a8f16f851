"""A worklet document to a plan, or everything that is wrong with it.

Nodes are linked by what they refer to, and by `after` and `join`. Here it is decided in which order they can be
settled, which of them may be skipped, and which code nodes travel to a worker together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tenfold_expressions import is_expression, literal
from tenfold_worklets.document import Node, Worklet
from tenfold_worklets.fuse import fuse
from tenfold_worklets.join import Atom, parse_join
from tenfold_worklets.join import atoms as join_atoms
from tenfold_worklets.nodes.base import Signatures
from tenfold_worklets.plan import GraphEdge, Plan, PlanNode, Port
from tenfold_worklets.references import Reference, references
from tenfold_worklets.report import Report, below
from tenfold_worklets.signatures import Signature
from tenfold_worklets.skips import Skips
from tenfold_worklets.suggest import listed
from tenfold_worklets.types import JSON, Json, PortType, check, misfit

DEFAULT_ENVIRONMENT = "default"
INPUT = "input"
RETURN = "return"


def compile_worklet(
    worklet: Worklet,
    *,
    functions: Mapping[str, Signature] | None = None,
    models: Mapping[str, Signature] | None = None,
    environments: Collection[str] | None = None,
) -> Plan:
    """Compile a worklet. Raises `DocumentError` with every problem, and nothing else.

    `functions` (by target), `models` (by name or `name@alias`) and `environments` are what exists; what is left None
    is not checked.
    """
    report = Report(worklet.line_of, filename=worklet.filename)
    plan = _Compiler(worklet, Signatures(functions, models), environments, report).plan()
    report.raise_if_any()
    return plan


@dataclass(slots=True)
class _Linked:
    """A node with what it refers to."""

    node: Node
    path: str
    references: list[Reference] = field(default_factory=list)
    after: list[Atom] = field(default_factory=list)
    joined: list[Atom] = field(default_factory=list)
    signature: Signature | None = None

    @property
    def waits(self) -> list[str]:
        """The nodes it cannot be decided without, each once, in the order they are written."""
        names = [reference.root for reference in self.references if reference.root != INPUT]
        names += [atom.node for atom in (*self.after, *self.joined)]
        return list(dict.fromkeys(names))


class _Compiler:
    def __init__(
        self, worklet: Worklet, known: Signatures, environments: Collection[str] | None, report: Report
    ) -> None:
        self.worklet = worklet
        self.known = known
        self.environments = environments
        self.report = report
        self.add = report.add
        self.inputs = {port.name: port for port in worklet.input}
        self.nodes = {node.name: node for node in worklet.nodes}
        self.linked: dict[str, _Linked] = {}
        self.returned: list[Reference] = []

    def plan(self) -> Plan:
        for node in self.worklet.nodes:
            self.linked[node.name] = self.link(node)
        self.returned = list(self.known_references(references(self.worklet.returns, RETURN)))
        self.check_environments()
        self.check_ports_are_used()
        self.check_return()
        order = self.order()
        for linked in self.linked.values():
            self.check_inputs(linked)
        if order is not None:
            self.check_skips(order)
        return self.assemble(order or [])

    # What refers to what

    def link(self, node: Node) -> _Linked:
        path = below("nodes", node.name)
        linked = _Linked(node, path)
        values: list[tuple[str, Json]] = [("in", node.inputs), ("when", node.when)]
        values += node.handler.values(node.spec)
        if node.fallback:
            values.append(("fallback", node.fallback.value))
        for at, value in values:
            linked.references += self.known_references(references(value, below(path, at)))
        for index, name in enumerate(node.after):
            at = f"{path}.after[{index}]" if len(node.after) > 1 else f"{path}.after"
            linked.after += self.known_atoms([Atom(name, 0)], at)
        if node.join is not None:
            linked.joined += self.known_atoms(join_atoms(parse_join(node.join)), f"{path}.join")
        linked.signature = node.handler.signature(node.spec, self.known, below(path, node.kind), self.report)
        return linked

    def known_references(self, found: Iterator[Reference]) -> Iterator[Reference]:
        """Those that exist; the others are reported."""
        for reference in found:
            if reference.root == INPUT:
                self.check_input_reference(reference)
                yield reference
            elif reference.root not in self.nodes:
                self.report_unknown_name(reference)
            elif self.check_member(reference):
                yield reference

    def report_unknown_name(self, reference: Reference) -> None:
        name = reference.root
        if name in self.inputs:
            hint = f"Did you mean `input.{name}`?"
        else:
            hint = (
                self.report.suggest(name, [*self.nodes, INPUT])
                or f"Nodes: {listed(self.nodes)}; inputs are read as input.name."
            )
        self.add(reference.path, f"there is no node named `{name}`", hint, code="unknown_node", column=reference.column)

    def check_input_reference(self, reference: Reference) -> None:
        if not reference.keys or reference.keys[0] in self.inputs:
            return
        name = str(reference.keys[0])
        hint = self.report.suggest(name, self.inputs) or f"Inputs: {listed(self.inputs)}."
        self.add(
            reference.path, f"there is no input named `{name}`", hint, code="unknown_input", column=reference.column
        )

    def check_member(self, reference: Reference) -> bool:
        """Whether what is read below a node can be there."""
        node = self.nodes[reference.root]
        ports = node.handler.ports(node.spec)
        if ports and reference.keys and reference.keys[0] != "port":
            key = str(reference.keys[0])
            if key in ports:
                hint = f"To run a node when the port fires, write `after: {reference.root}.{key}`."
            else:
                hint = f"`{reference.root}.port` is the name of the port that fired."
            self.add(
                reference.path, f"`{reference}` is not a value", hint, code="unknown_port", column=reference.column
            )
            return False
        return True

    def known_atoms(self, found: Iterator[Atom] | list[Atom], path: str) -> Iterator[Atom]:
        for atom in found:
            _, _, port = atom.name.partition(".")
            if atom.node not in self.nodes:
                hint = self.report.suggest(atom.node, self.nodes) or f"Nodes: {listed(self.nodes)}."
                self.add(path, f"there is no node named `{atom.node}`", hint, code="unknown_node", column=atom.column)
                continue
            node = self.nodes[atom.node]
            ports = node.handler.ports(node.spec)
            if port and port not in ports:
                instead = f"Ports: {listed(ports)}." if ports else f"Write `{atom.node}`."
                hint = self.report.suggest(port, ports) or instead
                what = (
                    f"`{atom.node}` has no port `{port}`" if ports else f"`{atom.node}` is no branch and has no ports"
                )
                self.add(path, what, hint, code="unknown_port", column=atom.column)
                continue
            yield atom

    # What is checked

    def check_environments(self) -> None:
        if self.environments is None:
            return
        known = [DEFAULT_ENVIRONMENT, *self.environments]
        named = [("environment", self.worklet.environment)]
        named += [(f"nodes.{node.name}.environment", node.environment) for node in self.worklet.nodes]
        for path, name in named:
            if name is not None and name not in known:
                hint = self.report.suggest(name, known) or f"Environments: {listed(dict.fromkeys(known))}."
                self.add(path, f"there is no environment named `{name}`", hint, code="unknown_environment")

    def check_ports_are_used(self) -> None:
        used = {atom.name for linked in self.linked.values() for atom in (*linked.after, *linked.joined)}
        for node in self.worklet.nodes:
            for port in node.handler.ports(node.spec):
                if f"{node.name}.{port}" not in used:
                    path = f"nodes.{node.name}.{node.kind}.{port}"
                    hint = f"Write `after: {node.name}.{port}` on the node that runs then, or remove the port."
                    self.add(path, f"nothing follows the port `{port}`", hint, code="unused_port")

    def check_return(self) -> None:
        returns, output = self.worklet.returns, self.worklet.output
        if returns is None:
            if output:
                hint = f"Write `return: {{{', '.join(f'{port.name}: =…' for port in output)}}}`."
                self.add(RETURN, "`output` is declared, and nothing is returned", hint, code="no_return")
            return
        if returns in ({}, []):
            self.add(
                RETURN, "`return` refers to nothing", "Name what it gives back, or leave it out.", code="no_return"
            )
        if output is None or is_expression(returns):
            return
        if not isinstance(returns, dict):
            self.add(RETURN, "`return` must give the declared outputs", f"Outputs: {listed(p.name for p in output)}.")
            return
        self.check_returned_ports(returns, {port.name: port for port in output})

    def check_returned_ports(self, returns: Mapping[str, Json], output: Mapping[str, Port]) -> None:
        for name, value in returns.items():
            path = below(RETURN, name)
            if name not in output:
                hint = self.report.suggest(name, output) or f"Outputs: {listed(output)}."
                self.add(path, f"there is no output named `{name}`", hint, code="unknown_output")
            else:
                self.check_fit(value, output[name].type, path, f"The output `{name}`")
        for name, port in output.items():
            if name not in returns and port.required:
                self.add(RETURN, f"the output `{name}` is not returned", f"Write `{name}: =…`.", code="missing_output")

    def check_inputs(self, linked: _Linked) -> None:
        signature, values, path = linked.signature, linked.node.inputs, below(linked.path, "in")
        if signature is None or not isinstance(values, dict):
            return
        parameters = {parameter.name: parameter for parameter in signature.parameters}
        target = linked.node.handler.target(linked.node.spec)
        for name, value in values.items():
            if parameter := parameters.get(name):
                if parameter.type:
                    self.check_fit(value, parameter.type, below(path, name), f"The input `{name}` of {target}")
            elif not signature.open:
                hint = self.report.suggest(name, parameters) or f"It takes {listed(parameters, empty='no input')}."
                self.add(below(path, name), f"{target} takes no input `{name}`", hint, code="unknown_input")
        for name, parameter in parameters.items():
            if parameter.required and name not in values:
                self.add(path, f"{target} needs the input `{name}`", f"Write `{name}: =…`.", code="missing_input")

    def check_fit(self, value: Json, wanted: PortType, path: str, what: str) -> None:
        """Whether a value that is given to a port can fit it, as far as that is known before running."""
        found = list(references(value, path))
        if not found and not is_expression(value) and not isinstance(value, dict | list):
            for problem in check(literal(value) if isinstance(value, str) else value, wanted, path):
                self.add(problem.path, problem.message, f"{what} is {wanted}.", code="bad_type")
        if len(found) == 1 and found[0].whole:
            given = self.type_of(found[0])
            if given and (reason := misfit(given, wanted)):
                hint = f"{what} is {wanted}; `{found[0]}` is {given}."
                self.add(path, reason, hint, code="bad_type", column=found[0].column)

    def type_of(self, reference: Reference) -> PortType | None:
        """The type of what a reference reads, where it is known."""
        keys = reference.keys
        if reference.root == INPUT:
            port = self.inputs.get(str(keys[0])) if keys else None
            if port is None or len(keys) > 1:
                return None if keys else JSON
            return port.type.required if port.has_default and port.default is not None else port.type
        linked = self.linked.get(reference.root)
        if linked is None or linked.signature is None:
            return None
        if not keys:
            return linked.signature.returns
        fields = linked.signature.fields
        return fields.get(str(keys[0])) if fields and len(keys) == 1 else None

    def check_skips(self, order: Sequence[str]) -> None:
        skips = Skips(
            order,
            when={name for name, linked in self.linked.items() if linked.node.when is not None},
            after={name: [atom.name for atom in linked.after] for name, linked in self.linked.items()},
            join={
                name: parse_join(linked.node.join)
                for name, linked in self.linked.items()
                if linked.node.join is not None
            },
            ports={
                node.name: [f"{node.name}.{port}" for port in node.handler.ports(node.spec)]
                for node in self.worklet.nodes
                if node.handler.ports(node.spec) and node.handler.always_fires(node.spec)
            },
        )
        for name, linked in self.linked.items():
            joined = {atom.node for atom in linked.joined}
            for reference in linked.references:
                root = reference.root
                if not (root == INPUT or reference.tolerated or root in joined or skips.runs_with(root, name)):
                    hint = f"Write `{reference} ?? …`, or `after: {root}` to skip `{name}` with it."
                    self.report_skip(reference, hint)
        for reference in self.returned:
            if not (reference.root == INPUT or reference.tolerated or skips.always_runs(reference.root)):
                self.report_skip(reference, f"Write `{reference} ?? null`, or another value instead of null.")

    def report_skip(self, reference: Reference, hint: str) -> None:
        message = f"`{reference.root}` may be skipped, and then `{reference}` is missing"
        self.add(reference.path, message, hint, code="may_be_skipped", column=reference.column)

    # Order

    def order(self) -> list[str] | None:
        """The nodes, each after those it waits for; as written where that leaves a choice. None if there is a cycle."""
        waiting = {name: set(linked.waits) for name, linked in self.linked.items()}
        order: list[str] = []
        settled: set[str] = set()
        while waiting:
            ready = [name for name, waits in waiting.items() if waits <= settled]
            if not ready:
                self.report_cycles(waiting)
                return None
            for name in ready:
                del waiting[name]
            settled.update(ready)
            order += ready
        return order

    def report_cycles(self, waiting: Mapping[str, set[str]]) -> None:
        reported: set[str] = set()
        for start in waiting:
            seen: list[str] = []
            name = start
            while name not in seen and name not in reported:
                seen.append(name)
                name = next(other for other in self.linked[name].waits if other in waiting)
            if name in seen:
                cycle = seen[seen.index(name) :]
                shown = " → ".join([cycle[0], *reversed(cycle)])
                hint = f"`{cycle[0]}` needs what comes of itself; remove one of these references."
                self.add(below("nodes", cycle[0]), f"the nodes form a cycle: {shown}", hint, code="cycle")
            reported.update(seen)

    # The plan

    def assemble(self, order: Sequence[str]) -> Plan:
        nodes = tuple(self.plan_node(self.linked[name]) for name in order)
        worklet = self.worklet
        return Plan(
            name=worklet.name,
            title=worklet.title,
            description=worklet.description,
            input=worklet.input,
            output=worklet.output,
            nodes=nodes,
            segments=fuse(nodes),
            returns=worklet.returns,
            settings=worklet.settings,
            edges=tuple(dict.fromkeys(self.edges(order))),
            http=worklet.http,
        )

    def plan_node(self, linked: _Linked) -> PlanNode:
        node = linked.node
        return PlanNode(
            name=node.name,
            kind=node.kind,
            spec=node.spec,
            environment=self.environment_of(node),
            inputs=node.inputs,
            when=node.when,
            after=node.after,
            join=node.join,
            waits=tuple(linked.waits),
            timeout_seconds=node.timeout_seconds,
            retry=node.retry,
            fallback=node.fallback,
        )

    def environment_of(self, node: Node) -> str | None:
        if "environment" not in node.handler.keys:
            return None
        return node.environment or self.worklet.environment or DEFAULT_ENVIRONMENT

    def edges(self, order: Sequence[str]) -> Iterator[GraphEdge]:
        for name in order:
            linked = self.linked[name]
            for reference in linked.references:
                yield GraphEdge(reference.root, name, _port_of(reference.path, linked.path), "data")
            for atom in (*linked.after, *linked.joined):
                yield GraphEdge(atom.node, name, atom.name.partition(".")[2], "control")
        for reference in self.returned:
            yield GraphEdge(reference.root, RETURN, _port_of(reference.path, ""), "data")


def _port_of(path: str, node_path: str) -> str:
    """The input (or other key) of a node that a value's path lies in."""
    parts = path[len(node_path) :].strip(".").split(".")
    port = parts[1] if parts[0] in ("in", RETURN) and len(parts) > 1 else "" if parts[0] in ("in", RETURN) else parts[0]
    return port.partition("[")[0]
