"""The tables of rights, by their shape."""

from __future__ import annotations

import itertools

import pytest

from tenfold_platform.auth.permissions import (
    ADMIN_ACTIONS,
    INSTALLATION_ACTIONS,
    Action,
    Role,
    Scope,
    actions_of,
    actions_of_scopes,
)


def test_each_role_may_what_the_one_below_may_and_more():
    ladder = [actions_of(role) for role in (Role.VIEWER, Role.OPERATOR, Role.EDITOR, Role.ADMIN)]
    for lower, higher in itertools.pairwise(ladder):
        assert lower < higher


def test_an_admin_may_everything_in_a_workspace_and_nothing_beyond_it():
    assert actions_of("admin") | INSTALLATION_ACTIONS == set(Action)
    assert not actions_of("admin") & INSTALLATION_ACTIONS


def test_a_viewer_neither_changes_nor_runs_anything():
    assert {action.value.partition(".")[2] for action in actions_of("viewer")} == {"read"}


def test_scopes_add_up_and_unknown_ones_give_nothing():
    assert actions_of_scopes(["predict", "read"]) == actions_of_scopes(["predict"]) | actions_of_scopes(["read"])
    assert actions_of_scopes([Scope.ADMIN]) == ADMIN_ACTIONS
    assert actions_of_scopes(["everything", ""]) == frozenset()
    assert actions_of_scopes([]) == frozenset()


@pytest.mark.parametrize("scope", [Scope.PREDICT, Scope.READ, Scope.DEPLOY])
def test_only_an_admin_key_handles_people_and_keys(scope):
    assert not actions_of_scopes([scope]) & {Action.KEYS_MANAGE, Action.MEMBERS_MANAGE, Action.WORKSPACE_MANAGE}


def test_an_unknown_role_is_an_error_not_a_right():
    with pytest.raises(ValueError, match="owner"):
        actions_of("owner")
