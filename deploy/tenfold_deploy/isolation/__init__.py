"""What keeps the code of a worker away from the machine that it runs on."""

from tenfold_deploy.isolation.levels import find_isolation
from tenfold_deploy.isolation.views import (
    ACCOUNTS,
    View,
    bubblewrap_arguments,
    interpreter_folders,
    landlock_rules,
    user_of,
    view_of,
)

__all__ = [
    "ACCOUNTS",
    "View",
    "bubblewrap_arguments",
    "find_isolation",
    "interpreter_folders",
    "landlock_rules",
    "user_of",
    "view_of",
]
