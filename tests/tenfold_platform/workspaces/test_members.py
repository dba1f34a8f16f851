"""Workspaces, their members, invitations, and the tokens of the studio."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from sqlalchemy import select

from tenfold_platform.auth.tables import SessionTable, UserTable
from tenfold_platform.auth.tokens import TokenKind, verify
from tenfold_platform.db import transaction

MEMBERS = "/api/v1/workspaces/acme/members"


@pytest.fixture
def workspace(make_workspace):
    return make_workspace("acme", "Acme")


@pytest.fixture
def admin(workspace, make_user):
    return make_user(workspace, "admin", email="admin@example.com")


def redeem(client, url):
    return client.post("/api/v1/auth/redeem", json={"token": url.partition("#")[2]})


def test_an_operator_makes_a_workspace_and_is_its_admin(make_user, as_user):
    browser = as_user(make_user(is_operator=True))
    made = browser.post("/api/v1/workspaces", json={"name": "new-one", "title": "New one"})
    assert (made.status_code, made.json()["role"]) == (201, "admin")
    assert [item["name"] for item in browser.get("/api/v1/workspaces").json()["items"]] == ["new-one"]
    again = browser.post("/api/v1/workspaces", json={"name": "new-one"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "name_taken")


@pytest.mark.parametrize("name", ["v1", "view-assets", "Upper", "-x", "a" * 64, "a b", "", "a/b", "a\n"])
def test_names_that_no_workspace_may_have(name, make_user, as_user):
    browser = as_user(make_user(is_operator=True))
    assert browser.post("/api/v1/workspaces", json={"name": name}).status_code == 400


def test_members_do_not_make_workspaces(admin, as_user):
    assert as_user(admin).post("/api/v1/workspaces", json={"name": "mine"}).status_code == 403


def test_an_invited_person_signs_in_by_the_link_and_is_a_member(admin, as_user, client, call):
    added = as_user(admin).post(MEMBERS, json={"email": " New@Example.com", "role": "viewer"})
    assert added.status_code == 201
    member = added.json()["member"]
    assert (member["email"], member["role"], member["pending"]) == ("new@example.com", "viewer", True)
    answer = redeem(client, added.json()["sign_in_url"])
    browser = call(headers={"Cookie": f"tenfold_session={answer.cookies['tenfold_session']}"})
    assert browser.get("/api/v1/workspaces/acme").json()["role"] == "viewer"
    listed = browser.get(MEMBERS).json()["items"]
    assert [(item["email"], item["role"], item["pending"]) for item in listed] == [
        ("admin@example.com", "admin", True),
        ("new@example.com", "viewer", False),
    ]


def test_a_lost_invitation_can_be_made_again(admin, as_user, client):
    browser = as_user(admin)
    urls = [
        browser.post(MEMBERS, json={"email": "new@example.com", "role": role}).json()["sign_in_url"]
        for role in ("viewer", "editor")
    ]
    assert [item["role"] for item in browser.get(MEMBERS).json()["items"]] == ["admin", "editor"]
    assert redeem(client, urls[1]).status_code == 200
    again = browser.post(MEMBERS, json={"email": "new@example.com", "role": "viewer"})
    assert again.status_code == 409


def test_inviting_somebody_who_has_an_account_hands_out_no_link_to_it(
    admin, make_workspace, make_user, as_user, sessions, client
):
    """Or any workspace's admin could take over anybody's account."""
    elsewhere = make_workspace("elsewhere")
    has_password = make_user(elsewhere, password="correct horse battery")
    operator = make_user(is_operator=True)
    invited_elsewhere = make_user(elsewhere)
    left_with_nothing = make_user()
    for user in (has_password, operator, invited_elsewhere):
        answer = as_user(admin).post(MEMBERS, json={"email": user.email, "role": "viewer"})
        assert (answer.status_code, answer.json()["sign_in_url"]) == (201, None)
    answer = as_user(admin).post(MEMBERS, json={"email": left_with_nothing.email, "role": "viewer"})
    assert answer.json()["sign_in_url"] is not None


def test_the_last_admin_stays(admin, make_user, workspace, as_user):
    browser = as_user(admin)
    mine = f"{MEMBERS}/{admin.id}"
    for answer in (browser.delete(mine), browser.patch(mine, json={"role": "viewer"})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    make_user(workspace, "admin")
    assert browser.delete(mine).status_code == 204
    assert browser.get(MEMBERS).status_code == 404


def test_two_admins_cannot_remove_each_other_at_once(admin, make_user, workspace, as_user):
    other = make_user(workspace, "admin")
    pairs = [(as_user(admin), other.id), (as_user(other), admin.id)]
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda pair: pair[0].delete(f"{MEMBERS}/{pair[1]}").status_code, pairs))
    assert codes.count(204) == 1


def test_a_narrower_role_takes_the_keys_that_reach_further(admin, make_user, make_key, workspace, as_user, as_key):
    editor = make_user(workspace, "editor")
    deploy = make_key(workspace, "deploy", created_by=editor)
    predict = make_key(workspace, "predict", created_by=editor)
    browser = as_user(admin)
    assert browser.patch(f"{MEMBERS}/{editor.id}", json={"role": "operator"}).json()["role"] == "operator"
    assert as_key(deploy.text).get("/api/v1/auth/key").status_code == 401
    assert as_key(predict.text).get("/api/v1/auth/key").status_code == 200
    assert browser.delete(f"{MEMBERS}/{editor.id}").status_code == 204
    assert as_key(predict.text).get("/api/v1/auth/key").status_code == 401


def test_a_removed_member_is_out_at_once(admin, make_user, workspace, as_user):
    viewer = make_user(workspace, "viewer")
    browser = as_user(viewer)
    assert browser.get("/api/v1/workspaces/acme").status_code == 200
    as_user(admin).delete(f"{MEMBERS}/{viewer.id}")
    assert browser.get("/api/v1/workspaces/acme").status_code == 404
    assert browser.get("/api/v1/auth/session").json()["workspaces"] == []


def test_members_of_other_workspaces_are_nobody_here(admin, make_workspace, make_user, as_user):
    stranger = make_user(make_workspace("other"), "admin")
    for answer in (
        as_user(admin).delete(f"{MEMBERS}/{stranger.id}"),
        as_user(admin).patch(f"{MEMBERS}/{stranger.id}", json={"role": "viewer"}),
    ):
        assert answer.status_code == 404


def test_pages_of_members(admin, make_user, workspace, as_user):
    expected = sorted([admin.email, *(make_user(workspace, "viewer").email for _ in range(6))])
    browser, seen, cursor = as_user(admin), [], None
    while True:
        page = browser.get(MEMBERS, params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen.append([item["email"] for item in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [len(page) for page in seen] == [3, 3, 1]
    assert list(itertools.chain(*seen)) == expected


def test_the_studios_token_says_who_where_and_until_when(admin, workspace, as_user, settings, clock):
    answer = as_user(admin).post("/api/v1/workspaces/acme/console-token").json()
    assert answer["gateway_url"] == "http://127.0.0.1:7071"
    token = verify(
        settings.signing_key.get_secret_value(), answer["token"], {TokenKind.CONSOLE}, now=clock().timestamp()
    )
    assert (token.workspace_id, token.user_id, token.name, token.role) == (
        workspace.id,
        admin.id,
        "admin@example.com",
        "admin",
    )
    assert (datetime.fromisoformat(answer["expires_at"]) - clock()).total_seconds() == 600


def test_a_disabled_user_is_out_at_once(admin, as_user, sessions, clock):
    browser = as_user(admin)
    with transaction(sessions) as session:
        session.get_one(UserTable, admin.id).disabled_at = clock()
        assert session.scalar(select(SessionTable.id)) is not None
    assert browser.get("/api/v1/workspaces/acme").status_code == 401
