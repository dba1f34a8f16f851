"""People: the first admin, one-time links, passwords, cookies, profiles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie

import pytest
from sqlalchemy import func, select

from tenfold_platform.app import create_app
from tenfold_platform.auth import service
from tenfold_platform.auth.permissions import Scope
from tenfold_platform.auth.tables import KeyTable, SessionTable, SignInLinkTable, UserTable
from tenfold_platform.db import transaction
from tenfold_platform.workspaces.tables import MembershipTable, WorkspaceTable

PASSWORD = "correct horse battery"


def count(sessions, table) -> int:
    with transaction(sessions) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def token_of(link: str) -> str:
    return link.partition("#")[2]


class TestFirstStart:
    def test_makes_a_workspace_a_link_and_a_key(self, sessions, settings, clock, client, as_key):
        first = service.bootstrap(sessions, settings, want_local_key=True, clock=clock)
        assert first.first_admin_link.startswith("http://localhost:7070/sign-in#")
        about = as_key(first.local_key).get("/api/v1/auth/key").json()
        assert (about["workspace"], about["key"]["name"], about["key"]["scopes"]) == (
            "default",
            "this machine",
            ["deploy", "system"],
        )
        answer = client.post("/api/v1/auth/redeem", json={"token": token_of(first.first_admin_link)})
        assert answer.status_code == 200
        assert answer.json()["user"] | {"id": None} == {
            "id": None,
            "email": "admin@localhost",
            "name": "Admin",
            "has_password": False,
            "is_operator": True,
        }
        again = service.bootstrap(sessions, settings, clock=clock)
        assert (again.first_admin_link, again.local_key) == (None, None)

    def test_the_first_admin_is_admin_of_the_default_workspace(self, sessions, settings, clock, call):
        link = service.bootstrap(sessions, settings, clock=clock).first_admin_link
        client = call()
        token = client.post("/api/v1/auth/redeem", json={"token": token_of(link)}).cookies["tenfold_session"]
        info = client.get("/api/v1/auth/session", headers={"Cookie": f"tenfold_session={token}"}).json()
        assert info["workspaces"] == [{"name": "default", "title": "Default", "role": "admin"}]
        assert (info["gateway_url"], info["console_url"]) == ("http://127.0.0.1:7071", "http://localhost:7070")

    def test_a_new_local_key_replaces_the_old_one(self, sessions, settings, clock, as_key):
        old, new = (service.bootstrap(sessions, settings, want_local_key=True, clock=clock).local_key for _ in range(2))
        assert as_key(old).get("/api/v1/auth/key").status_code == 401
        assert as_key(new).get("/api/v1/auth/key").status_code == 200

    def test_many_processes_starting_at_once(self, sessions, settings, clock):
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: service.bootstrap(sessions, settings, clock=clock), range(8)))
        assert all(result.first_admin_link for result in made)
        assert count(sessions, WorkspaceTable) == 1

    @pytest.mark.parametrize("links", ["one", "many"])
    def test_fifty_first_admins_at_once_and_one_wins(self, links, sessions, settings, clock, client):
        """With the same link, and with the links of several starts."""
        made = [service.bootstrap(sessions, settings, clock=clock).first_admin_link for _ in range(5)]
        tokens = [token_of(made[0] if links == "one" else made[number % 5]) for number in range(50)]
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda token: client.post("/api/v1/auth/redeem", json={"token": token}), tokens))
        assert sorted(answer.status_code for answer in answers) == [200, *[401] * 49]
        assert (count(sessions, UserTable), count(sessions, MembershipTable), count(sessions, SessionTable)) == (
            1,
            1,
            1,
        )


class TestOneTimeLinks:
    @pytest.fixture
    def issue(self, sessions, settings, clock):
        def make(user) -> str:
            with transaction(sessions) as session:
                return token_of(service.issue_sign_in_link(session, settings, user, now=clock()))

        return make

    def test_work_once(self, issue, make_user, client, sessions):
        user = make_user()
        token = issue(user)
        first, second = (client.post("/api/v1/auth/redeem", json={"token": token}) for _ in range(2))
        assert (first.status_code, first.json()["user"]["email"]) == (200, user.email)
        assert (second.status_code, second.json()["error"]["code"]) == (401, "bad_link")
        assert "set-cookie" not in second.headers
        with transaction(sessions) as session:
            assert token not in repr([vars(row) for row in session.scalars(select(SignInLinkTable))])

    def test_can_be_issued_again_and_each_works(self, issue, make_user, client):
        user = make_user()
        for token in (issue(user), issue(user)):
            assert client.post("/api/v1/auth/redeem", json={"token": token}).status_code == 200

    def test_used_expired_invented_and_disabled_get_the_same_answer(self, issue, make_user, client, sessions, clock):
        disabled, late, used = make_user(), make_user(), make_user()
        tokens = [issue(disabled), issue(used), "A" * 43, "nonsense", ""]
        client.post("/api/v1/auth/redeem", json={"token": tokens[1]})
        with transaction(sessions) as session:
            session.get_one(UserTable, disabled.id).disabled_at = clock()
        answers = [self.redeem(client, token) for token in tokens]
        expiring = issue(late)
        clock.advance(minutes=15)
        answers.append(self.redeem(client, expiring))
        assert len(set(answers)) == 1
        assert answers[0][0] == 401

    def redeem(self, client, token):
        answer = client.post("/api/v1/auth/redeem", json={"token": token}, headers={"X-Request-Id": "always-the-same"})
        return answer.status_code, answer.content

    def test_the_first_operator_is_whom_the_machines_owner_signs_in(self, sessions, make_user):
        make_user()
        operator = make_user(is_operator=True)
        make_user(is_operator=True)
        with transaction(sessions) as session:
            assert service.find_first_operator(session).id == operator.id


class TestPasswords:
    @pytest.fixture
    def user(self, make_user):
        return make_user(email="user@example.com", password=PASSWORD)

    def sign_in(self, client, email="user@example.com", password=PASSWORD):
        return client.post(
            "/api/v1/auth/sign-in",
            json={"email": email, "password": password},
            headers={"X-Request-Id": "always-the-same"},
        )

    def test_the_right_one_signs_in_however_the_email_is_written(self, user, client):
        answer = self.sign_in(client, email="  User@Example.COM ")
        assert (answer.status_code, answer.json()["user"]["id"]) == (200, str(user.id))

    def test_the_answer_does_not_say_what_was_wrong(self, user, make_user, client, sessions, clock):
        disabled = make_user(email="disabled@example.com", password=PASSWORD)
        make_user(email="linked@example.com")
        with transaction(sessions) as session:
            session.get_one(UserTable, disabled.id).disabled_at = clock()
        answers = {
            (answer.status_code, answer.content)
            for answer in (
                self.sign_in(client, password="wrong"),
                self.sign_in(client, email="nobody@example.com"),
                self.sign_in(client, email="disabled@example.com"),
                self.sign_in(client, email="linked@example.com"),
                self.sign_in(client, email="linked@example.com", password=""),
                self.sign_in(client, email="not an email"),
            )
        }
        assert len(answers) == 1
        assert answers.pop()[0] == 401

    def test_guessing_one_account_is_slowed_down(self, user, client, call):
        codes = [self.sign_in(client, password=f"guess {number}").status_code for number in range(11)]
        assert codes == [401] * 10 + [429]
        refused = self.sign_in(client)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 901
        assert self.sign_in(call(address="10.0.0.9")).status_code == 200  # its owner, from elsewhere

    def test_guessing_is_slowed_down_while_redis_is_away_too(self, user, settings, engine, call):
        nowhere = settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:9")})
        client = call(app=create_app(nowhere, engine=engine))
        assert [self.sign_in(client, password="x").status_code for _ in range(11)] == [401] * 10 + [429]

    def test_the_hash_is_argon2id(self, user):
        assert user.password_hash.startswith("$argon2id$")


class TestTheCookie:
    def cookie(self, answer):
        return SimpleCookie(answer.headers["set-cookie"])

    def test_on_plain_http(self, make_user, client):
        user = make_user(password=PASSWORD)
        answer = client.post("/api/v1/auth/sign-in", json={"email": user.email, "password": PASSWORD})
        (morsel,) = self.cookie(answer).values()
        assert morsel.key == "tenfold_session"
        assert {name: morsel[name] for name in ("httponly", "secure", "samesite", "path", "domain", "max-age")} == {
            "httponly": True,
            "secure": "",
            "samesite": "lax",
            "path": "/",
            "domain": "",
            "max-age": str(14 * 24 * 3600),
        }

    def test_on_https(self, make_user, settings, engine, call):
        secure = settings.model_copy(update={"console_url": "https://tenfold.example.com"})
        user = make_user(password=PASSWORD)
        client = call(app=create_app(secure, engine=engine))
        answer = client.post("/api/v1/auth/sign-in", json={"email": user.email, "password": PASSWORD})
        (morsel,) = self.cookie(answer).values()
        assert (morsel.key, morsel["secure"], morsel["path"], morsel["domain"]) == ("__Host-tenfold", True, "/", "")
        headers = {"Cookie": f"__Host-tenfold={morsel.value}"}
        assert client.get("/api/v1/auth/session", headers=headers).status_code == 200
        headers = {"Cookie": f"tenfold_session={morsel.value}"}
        assert client.get("/api/v1/auth/session", headers=headers).status_code == 401

    def test_slides_while_it_is_used_and_ends_when_not(self, make_user, as_user, clock):
        browser = as_user(make_user())
        assert "set-cookie" not in browser.get("/api/v1/auth/session").headers
        for _ in range(4):
            clock.advance(days=10)
            answer = browser.get("/api/v1/auth/session")
            assert (answer.status_code, "set-cookie" in answer.headers) == (200, True)
        clock.advance(days=14)
        assert browser.get("/api/v1/auth/session").status_code == 401

    def test_signing_out_ends_it_on_the_server(self, make_user, as_user, sessions):
        browser = as_user(make_user())
        answer = browser.post("/api/v1/auth/sign-out")
        assert (answer.status_code, count(sessions, SessionTable)) == (204, 0)
        (morsel,) = self.cookie(answer).values()
        assert (morsel.value, morsel["max-age"]) == ("", "0")
        assert browser.get("/api/v1/auth/session").status_code == 401

    @pytest.mark.parametrize("value", ["", "x", "A" * 43, "A" * 5000, "é", "' or 1=1 --"])
    def test_an_invented_one(self, value, client):
        headers = {"Cookie": f"tenfold_session={value}".encode()}
        assert client.get("/api/v1/auth/session", headers=headers).status_code == 401

    def test_is_not_a_keys_business(self, make_workspace, make_key, as_key):
        assert as_key(make_key(make_workspace(), "admin").text).get("/api/v1/auth/session").status_code == 403


class TestCrossSite:
    """Unsafe requests with a cookie must come from the console's own pages."""

    def sign_out(self, browser, headers):
        answer = browser.post("/api/v1/auth/sign-out", headers=headers)
        return answer.status_code, None if answer.status_code == 204 else answer.json()["error"]["code"]

    @pytest.fixture
    def cookie(self, settings, make_user, make_session):
        return {"Cookie": f"tenfold_session={make_session(make_user())}"}

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:7071"},
            {"Origin": "http://127.0.0.1:7070"},
            {"Origin": "https://localhost:7070"},
            {"Origin": "http://localhost:7070.evil.example"},
            {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
            {"Referer": "http://localhost:7070/"},
            {"Host": "evil.example", "Origin": "http://evil.example"},
        ],
    )
    def test_is_refused(self, headers, cookie, client):
        assert self.sign_out(client, {**cookie, **headers}) == (403, "cross_site")

    @pytest.mark.parametrize("headers", [{"Origin": "http://localhost:7070"}, {"Sec-Fetch-Site": "same-origin"}])
    def test_from_the_console_is_not(self, headers, cookie, client):
        assert self.sign_out(client, {**cookie, **headers}) == (204, None)

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
    )
    def test_forms_are_refused_even_from_the_console(self, kind, cookie, client):
        answer = client.put(
            "/api/v1/auth/profile",
            content=b'{"name": "x"}',
            headers={**cookie, "Origin": "http://localhost:7070", "Content-Type": kind},
        )
        assert answer.status_code == 415

    def test_nobody_is_signed_in_to_somebody_elses_account(self, make_user, client):
        """Login CSRF: another site sends its own credentials with the visitor's browser."""
        user = make_user(password=PASSWORD)
        body = {"email": user.email, "password": PASSWORD}
        for headers, status in (
            ({"Origin": "https://evil.example"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Origin": "http://localhost:7070"}, 200),
            ({}, 200),
        ):
            answer = client.post("/api/v1/auth/sign-in", json=body, headers=headers)
            assert (answer.status_code, "set-cookie" in answer.headers) == (status, status == 200)

    def test_programs_with_a_key_need_no_origin(self, make_workspace, make_key, as_key):
        key = make_key(make_workspace("acme"), "admin")
        answer = as_key(key.text).post("/api/v1/workspaces/acme/keys", json={"name": "x", "scopes": ["read"]})
        assert answer.status_code == 201


class TestTheProfile:
    def test_name_email_and_first_password(self, make_user, as_user, client):
        browser = as_user(make_user())
        body = {"name": " New Name ", "email": "New@Example.com", "password": PASSWORD}
        answer = browser.put("/api/v1/auth/profile", json=body)
        assert answer.status_code == 200
        user = answer.json()["user"]
        assert (user["name"], user["email"], user["has_password"]) == ("New Name", "new@example.com", True)
        sign_in = {"email": "new@example.com", "password": PASSWORD}
        assert client.post("/api/v1/auth/sign-in", json=sign_in).status_code == 200

    @pytest.mark.parametrize("change", [{"password": "another password"}, {"email": "thief@example.com"}])
    def test_the_current_password_guards_what_signs_in(self, change, make_user, as_user):
        browser = as_user(make_user(password=PASSWORD))
        for current, status in ((None, 400), ("wrong", 400), (PASSWORD, 200)):
            body = change if current is None else {**change, "current_password": current}
            assert browser.put("/api/v1/auth/profile", json=body).status_code == status

    def test_a_new_password_ends_every_other_session_and_link(
        self, make_user, as_user, sessions, settings, clock, client
    ):
        user = make_user(password=PASSWORD)
        here, elsewhere = as_user(user), as_user(user)
        with transaction(sessions) as session:
            link = service.issue_sign_in_link(session, settings, user, now=clock())
        body = {"password": "another password", "current_password": PASSWORD}
        assert here.put("/api/v1/auth/profile", json=body).status_code == 200
        assert here.get("/api/v1/auth/session").status_code == 200
        assert elsewhere.get("/api/v1/auth/session").status_code == 401
        assert client.post("/api/v1/auth/redeem", json={"token": token_of(link)}).status_code == 401

    def test_an_email_that_somebody_has(self, make_user, as_user):
        taken = make_user()
        answer = as_user(make_user()).put("/api/v1/auth/profile", json={"email": taken.email})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")

    @pytest.mark.parametrize("body", [{"password": "too short"}, {"email": "nowhere"}, {"is_operator": True}])
    def test_what_is_not_allowed(self, body, make_user, as_user):
        assert as_user(make_user()).put("/api/v1/auth/profile", json=body).status_code == 400


def test_the_local_keys_scopes_are_no_more_than_the_command_line_needs():
    assert set(service.LOCAL_KEY_SCOPES) == {Scope.DEPLOY, Scope.SYSTEM}
    assert KeyTable.secret_hash is not None
