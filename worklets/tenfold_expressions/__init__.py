"""The expression language of worklets and views, and the documents it is written in.

    parse("input.total > 10").evaluate({"input": {"total": 12}})    # True
    bind({"text": "=input.text", "limit": 10}).evaluate(scope)
    load_yaml(text, filename="triage.yaml").data

The language is described in docs/reference/expressions.md; `views/studio/src/expr` is its other half.
"""

from tenfold_expressions.binding import Binding, bind
from tenfold_expressions.documents import Document, dump_yaml, load_yaml
from tenfold_expressions.errors import BindingErrors, DocumentError, ExpressionError, Problem
from tenfold_expressions.expression import Expression, Json, is_expression, literal, parse

__all__ = [
    "Binding",
    "BindingErrors",
    "Document",
    "DocumentError",
    "Expression",
    "ExpressionError",
    "Json",
    "Problem",
    "bind",
    "dump_yaml",
    "is_expression",
    "literal",
    "load_yaml",
    "parse",
]
