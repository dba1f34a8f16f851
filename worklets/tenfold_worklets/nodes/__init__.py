"""The kinds of node. A new kind is one file here and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping

from tenfold_worklets.nodes.base import NodeKind
from tenfold_worklets.nodes.branch import Branch
from tenfold_worklets.nodes.code import Logic, Post, Pre
from tenfold_worklets.nodes.model import Model

KINDS: Mapping[str, NodeKind] = {kind.name: kind for kind in (Pre(), Post(), Logic(), Model(), Branch())}
