"""Views: screens for people, written as documents. Pure: no files, no network, no framework.

view = load_view(text, filename="views/main.yaml")
problems = lint(view, worklets={"predict": {"row": "json"}}, models=[], views={"main": view})
client_document(view), server_queries(view)
"""

from tenfold_expressions import DocumentError, Problem
from tenfold_views.build import ViewBuilder
from tenfold_views.client import client_document, server_queries
from tenfold_views.document import View, load_view, load_views, view_of
from tenfold_views.lint import advise, lint
from tenfold_views.manifest import Manifest, load_manifest
from tenfold_views.schema import json_schema

__all__ = [
    "DocumentError",
    "Manifest",
    "Problem",
    "View",
    "ViewBuilder",
    "advise",
    "client_document",
    "json_schema",
    "lint",
    "load_manifest",
    "load_view",
    "load_views",
    "server_queries",
    "view_of",
]
