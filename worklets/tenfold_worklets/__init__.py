"""Worklets: the document, its compiler and its interpreter. Pure: no network, no database, no user code.

    plan = compile_worklet(load_worklet(text, filename="worklets/triage.yaml"))
    outcome = await execute(plan, {"text": "…"}, caller=…, journal=MemoryJournal(), clock=SystemClock(), context=…)

See docs/reference/worklets.md.
"""

from tenfold_worklets.compile import compile_worklet
from tenfold_worklets.document import Node, Worklet, load_worklet
from tenfold_worklets.host import (
    Caller,
    CallError,
    Clock,
    CodeCall,
    CodeStep,
    Journal,
    MemoryJournal,
    ModelCall,
    Outcome,
    RunContext,
    RunError,
    RunState,
    StepEvent,
    StepResult,
    StepState,
    SystemClock,
)
from tenfold_worklets.interpreter import InputError, execute
from tenfold_worklets.plan import Graph, GraphEdge, GraphNode, Plan, PlanError, PlanNode, Port
from tenfold_worklets.signatures import Parameter, Signature, function_signatures, model_signature
from tenfold_worklets.types import Json, PortType, PortTypeError, check, parse_type, to_json_schema

__all__ = [
    "CallError",
    "Caller",
    "Clock",
    "CodeCall",
    "CodeStep",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "InputError",
    "Journal",
    "Json",
    "MemoryJournal",
    "ModelCall",
    "Node",
    "Outcome",
    "Parameter",
    "Plan",
    "PlanError",
    "PlanNode",
    "Port",
    "PortType",
    "PortTypeError",
    "RunContext",
    "RunError",
    "RunState",
    "Signature",
    "StepEvent",
    "StepResult",
    "StepState",
    "SystemClock",
    "Worklet",
    "check",
    "compile_worklet",
    "execute",
    "function_signatures",
    "load_worklet",
    "model_signature",
    "parse_type",
    "to_json_schema",
]
