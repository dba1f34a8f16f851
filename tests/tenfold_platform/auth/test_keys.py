"""Keys: shown once, scoped, expiring, revocable, and never wider than whoever made them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from tenfold_platform.auth.tables import KeyTable
from tenfold_platform.db import transaction


@pytest.fixture
def workspace(make_workspace):
    return make_workspace("acme")


def test_a_new_key_works_and_only_its_hash_is_kept(workspace, make_user, as_user, as_key, sessions):
    admin = make_user(workspace, "admin", email="admin@example.com")
    made = as_user(admin).post("/api/v1/workspaces/acme/keys", json={"name": "ci", "scopes": ["deploy"]})
    assert made.status_code == 201
    shown = made.json()
    assert shown["key"].startswith(f"tf_{shown['key_id']}_")
    assert {name: shown[name] for name in ("name", "scopes", "created_by", "expires_at", "revoked_at")} == {
        "name": "ci",
        "scopes": ["deploy"],
        "created_by": "admin@example.com",
        "expires_at": None,
        "revoked_at": None,
    }
    with transaction(sessions) as session:
        row = session.scalars(select(KeyTable)).one()
        assert shown["key"][16:] not in repr(vars(row))
    about = as_key(shown["key"]).get("/api/v1/auth/key").json()
    assert about["key"] == {"key_id": shown["key_id"], "name": "ci", "scopes": ["deploy"]}
    assert about["workspace"] == "acme"
    listed = as_user(admin).get("/api/v1/workspaces/acme/keys").json()["items"]
    assert "key" not in listed[0]


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "Authorization: Api-Key {}", "X-Api-Key: {}"])
def test_a_key_may_come_in_three_headers(workspace, make_key, call, header):
    name, _, value = header.format(make_key(workspace, "read").text).partition(": ")
    assert call(headers={name: value}).get("/api/v1/workspaces/acme").status_code == 200


def test_a_revoked_an_expired_and_a_mistyped_key_get_the_same_answer(
    workspace, make_user, make_key, as_user, as_key, clock
):
    admin = as_user(make_user(workspace, "admin"))
    revoked = make_key(workspace, "read")
    expiring = make_key(workspace, "read", expires_at=clock() + timedelta(days=1))
    assert as_key(expiring.text).get("/api/v1/workspaces/acme").status_code == 200
    assert admin.delete(f"/api/v1/workspaces/acme/keys/{revoked.row.id}").status_code == 204
    clock.advance(days=1)
    texts = [
        revoked.text,
        expiring.text,
        expiring.text[:-4] + "AAAA",
        "tf_aaaaaaaaaaaa_" + "A" * 43,
        "nonsense",
        "",
        "tf_é",
    ]
    answers = []
    for text in texts:
        answer = as_key("x").get(
            "/api/v1/workspaces/acme", headers={"Authorization": f"Bearer {text}".encode(), "X-Request-Id": "same-id-0"}
        )
        answers.append((answer.status_code, answer.content))
    assert len(set(answers)) == 1
    assert answers[0][0] == 401


def test_a_bad_key_is_not_saved_by_a_good_cookie(workspace, make_user, as_user):
    browser = as_user(make_user(workspace))
    assert browser.get("/api/v1/auth/session", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_an_editor_cannot_make_a_key_that_may_do_more(workspace, make_user, as_user):
    editor = as_user(make_user(workspace, "editor"))
    assert editor.post("/api/v1/workspaces/acme/keys", json={"name": "x", "scopes": ["deploy"]}).status_code == 201
    for scope in ("admin", "system"):
        answer = editor.post("/api/v1/workspaces/acme/keys", json={"name": "x", "scopes": ["read", scope]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_an_editor_sees_and_revokes_only_their_own_keys(workspace, make_user, make_key, as_user):
    admin, editor = make_user(workspace, "admin"), make_user(workspace, "editor")
    theirs = make_key(workspace, "read", name="admin's", created_by=admin)
    own = make_key(workspace, "read", name="editor's", created_by=editor)
    browser = as_user(editor)
    assert [item["name"] for item in browser.get("/api/v1/workspaces/acme/keys").json()["items"]] == ["editor's"]
    assert browser.delete(f"/api/v1/workspaces/acme/keys/{theirs.row.id}").status_code == 404
    assert browser.delete(f"/api/v1/workspaces/acme/keys/{own.row.id}").status_code == 204
    names = [item["name"] for item in as_user(admin).get("/api/v1/workspaces/acme/keys").json()["items"]]
    assert names == ["editor's", "admin's"]


def test_a_key_of_another_workspace_cannot_be_revoked(workspace, make_workspace, make_user, make_key, as_user, as_key):
    other = make_key(make_workspace("other"), "read")
    admin = as_user(make_user(workspace))
    assert admin.delete(f"/api/v1/workspaces/acme/keys/{other.row.id}").status_code == 404
    assert as_key(other.text).get("/api/v1/workspaces/other").status_code == 200


def test_the_last_use_is_noted_at_most_once_a_minute(workspace, make_key, as_key, sessions, clock):
    key = make_key(workspace, "read")

    def last_used():
        with transaction(sessions) as session:
            return session.get_one(KeyTable, key.row.id).last_used_at

    assert last_used() is None
    began = clock()
    for seconds in (0, 30, 40):
        clock.advance(seconds=seconds)
        as_key(key.text).get("/api/v1/workspaces/acme")
        assert last_used() == (began if seconds < 40 else clock())
