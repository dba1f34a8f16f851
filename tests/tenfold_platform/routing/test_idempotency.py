"""A create whose answer was lost is repeated with the same Idempotency-Key, and done once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, text

from tenfold_platform.auth.tables import KeyTable
from tenfold_platform.db import transaction
from tenfold_platform.idempotency.tables import DoneRequestTable
from tenfold_platform.workspaces.tables import WorkspaceTable


@pytest.fixture
def operator(make_user, as_user):
    return as_user(make_user(is_operator=True))


def create(client, key="again-1", **body):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/api/v1/workspaces", json={"name": "acme", **body}, headers=headers)


def count(sessions, table):
    with transaction(sessions) as session:
        return session.scalar(select(func.count()).select_from(table))


def test_a_repeat_gets_the_first_answer(operator, sessions):
    first, second = create(operator), create(operator)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    assert count(sessions, WorkspaceTable) == 1


def test_many_repeats_at_once(operator, sessions):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(operator), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


def test_without_a_key_it_is_another_request(operator):
    assert [create(operator, key=None).status_code for _ in range(2)] == [201, 409]


def test_the_key_belongs_to_one_request(operator):
    create(operator)
    answer = create(operator, title="another")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_key_reused")


def test_the_key_belongs_to_one_principal(operator, make_user, as_user):
    create(operator)
    answer = create(as_user(make_user(is_operator=True)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "name_taken")


def test_a_failure_is_not_remembered(operator, sessions):
    assert create(operator, name="v1").status_code == 400
    assert create(operator, name="acme").status_code == 201


def test_permission_is_asked_again(make_user, as_user, sessions):
    user = make_user(is_operator=True)
    browser = as_user(user)
    assert create(browser).status_code == 201
    with transaction(sessions) as session:
        session.execute(text("update users set is_operator = false"))
    assert create(browser).status_code == 403


def test_a_secret_is_neither_shown_again_nor_kept(make_workspace, make_user, as_user, sessions):
    admin = as_user(make_user(make_workspace("acme"), "admin"))

    def make():
        return admin.post(
            "/api/v1/workspaces/acme/keys",
            json={"name": "ci", "scopes": ["read"]},
            headers={"Idempotency-Key": "again-1"},
        )

    made, again = make(), make()
    assert made.status_code == 201
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_done")
    assert count(sessions, KeyTable) == 1
    with transaction(sessions) as session:
        assert session.scalars(select(DoneRequestTable.answer)).all() == [None]


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "é"])
def test_what_is_no_key(operator, key):
    answer = operator.post(
        "/api/v1/workspaces", json={"name": "acme"}, headers={b"Idempotency-Key": key.encode("latin-1")}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")


def test_a_day_later_it_is_forgotten(operator, sessions):
    create(operator)
    with transaction(sessions) as session:
        session.execute(text("update done_requests set created_at = now() - interval '25 hours'"))
    assert create(operator).status_code == 409
    assert count(sessions, DoneRequestTable) == 1  # the refusal left none, and took the deletion back with it
