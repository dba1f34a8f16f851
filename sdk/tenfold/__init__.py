"""Turn a model into a product: an API, business logic around it, and a screen for people.

    import tenfold
    churn = tenfold.deploy(clf, "churn", example=X.iloc[:3])
    churn.predict(X.iloc[:5])

`import tenfold` loads nothing but this file; what a name needs is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenfold import zoo
    from tenfold.apps import App, Worklet
    from tenfold.client import Client, app, connect, model
    from tenfold.deploying import deploy
    from tenfold.errors import (
        CannotPackage,
        Conflict,
        DeployFailed,
        Forbidden,
        InvalidInput,
        ModelFailed,
        NotFound,
        NotSignedIn,
        TenfoldError,
        TimedOut,
        Unavailable,
    )
    from tenfold.files import File, Image
    from tenfold.models import Model
    from tenfold.packaging.transformers_pipelines import hub
    from tenfold.predictions import AsyncPrediction
    from tenfold.schema import Field, ModelSchema, Output

_WHERE = {
    "deploy": "deploying",
    "connect": "client",
    "hub": "packaging.transformers_pipelines",
    "model": "client",
    "app": "client",
    "Client": "client",
    "Model": "models",
    "AsyncPrediction": "predictions",
    "App": "apps",
    "Worklet": "apps",
    "File": "files",
    "Image": "files",
    "Field": "schema",
    "ModelSchema": "schema",
    "Output": "schema",
    "TenfoldError": "errors",
    "CannotPackage": "errors",
    "Conflict": "errors",
    "DeployFailed": "errors",
    "Forbidden": "errors",
    "InvalidInput": "errors",
    "ModelFailed": "errors",
    "NotFound": "errors",
    "NotSignedIn": "errors",
    "TimedOut": "errors",
    "Unavailable": "errors",
}

_MODULES = ("zoo",)

__all__ = [
    "App",
    "AsyncPrediction",
    "CannotPackage",
    "Client",
    "Conflict",
    "DeployFailed",
    "Field",
    "File",
    "Forbidden",
    "Image",
    "InvalidInput",
    "Model",
    "ModelFailed",
    "ModelSchema",
    "NotFound",
    "NotSignedIn",
    "Output",
    "TenfoldError",
    "TimedOut",
    "Unavailable",
    "Worklet",
    "__version__",
    "app",
    "connect",
    "deploy",
    "hub",
    "model",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tenfold")
    if name in _MODULES:
        return import_module(f"tenfold.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'tenfold' has no attribute {name!r}")
    value = getattr(import_module(f"tenfold.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
