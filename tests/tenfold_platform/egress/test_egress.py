"""The one way out: nothing that a user writes leads to this machine, or to its networks."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tenfold_platform.egress import (
    Allowed,
    Egress,
    EgressFailed,
    EgressRefused,
    is_public,
    read_url,
    resolve,
)
from tenfold_platform.errors import InvalidInput, PlatformError, TooLarge

PUBLIC = "93.184.216.34"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Listener:
    """Answers each connection as told, on the loopback; counts them."""

    def __init__(self, family: socket.AddressFamily, host: str, answer: Callable[[bytes], bytes | None]) -> None:
        self.answer = answer
        self.connections = 0
        self.requests: list[bytes] = []
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.bind((host, 0))
        self._socket.listen(64)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._open: list[socket.socket] = []

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            connection.settimeout(30)
            with contextlib.suppress(OSError):
                request = b""
                while b"\r\n\r\n" not in request and (part := connection.recv(65536)):
                    request += part
                self.requests.append(request)
                answer = self.answer(request)
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


def ok(content: bytes = b"hello", headers: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode("latin-1", "replace")


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(
        answer: Callable[[bytes], bytes | None] = lambda _: ok(),
        *,
        family: socket.AddressFamily = socket.AF_INET,
        host: str = "127.0.0.1",
    ) -> Listener:
        made.append(Listener(family, host, answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def internet(listen: Callable[..., Listener]) -> Callable[..., Egress]:
    """An egress to which every public address is one listener; whatever else it connects to is real."""

    def make(listener: Listener, names: dict[str, list[str]] | None = None, **options: Any) -> Egress:
        def look_up(host: str, port: int) -> list[str]:
            known = (names or {}).get(host)
            return list(known) if known is not None else resolve(host, port)

        def connect(address: str, port: int, timeout_seconds: float) -> socket.socket:
            if is_public(ipaddress.ip_address(address)):
                return socket.create_connection(("127.0.0.1", listener.port), timeout=timeout_seconds)
            return socket.create_connection((address, port), timeout=timeout_seconds)

        return Egress(resolve=look_up, connect=connect, **options)

    return make


def fetch(egress: Egress, url: str, **options: Any) -> bytes:
    content = bytearray()
    egress.download(url, content.extend, **{"max_bytes": 1 << 20, "timeout_seconds": 20.0, **options})
    return bytes(content)


# --- hosts that are this machine, in every way that somebody once got through


def ipv4_forms(address: str) -> Iterator[str]:
    """An IPv4 address in every base, with every number of parts, as `inet_aton` and browsers read them."""
    octets = [int(part) for part in address.split(".")]
    number = int(ipaddress.IPv4Address(address))
    groups = [
        octets,
        [octets[0], octets[1], (octets[2] << 8) | octets[3]],
        [octets[0], (octets[1] << 16) | (octets[2] << 8) | octets[3]],
        [number],
    ]
    writers = [str, hex, lambda n: f"0{n:o}", lambda n: f"0x{n:08x}", lambda n: f"0X{n:X}", lambda n: f"{n:04d}"]
    for group in groups:
        for writer in writers:
            yield ".".join(writer(part) for part in group)
    for writer in writers:
        yield ".".join([writer(octets[0]), *map(str, octets[1:])])
        yield ".".join([*map(str, octets[:3]), writer(octets[3])])
    yield str(number + (1 << 32))
    yield ".".join(str(octet + 256) for octet in octets)
    yield from (f"{address}.", f"{address}..", f".{address}", f"%31{address[1:]}", address.replace(".", "%2e"))
    yield from (address.replace(".", "\u3002"), address.replace(".", "\uff0e"), address.replace(".", "\uff61"))
    yield address.translate({ord(str(digit)): chr(0x2460 + digit - 1) for digit in range(1, 10)})
    yield address.translate({ord(str(digit)): chr(0xFF10 + digit) for digit in range(10)})


def ipv6_forms(address: str) -> Iterator[str]:
    """An IPv4 address inside of IPv6 ones: mapped, compatible, translated, tunnelled."""
    number = int(ipaddress.IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    for prefix in ("::ffff:", "::", "::ffff:0:", "64:ff9b::", "64:ff9b:1::", "0:0:0:0:0:ffff:", "::FFFF:"):
        yield f"[{prefix}{address}]"
        yield f"[{prefix}{high:x}:{low:x}]"
    yield f"[2002:{high:x}:{low:x}::1]"
    yield f"[2001:0:{high:x}:{low:x}::]"
    yield f"[2001::{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]"
    yield f"[fe80::5efe:{address}]"
    yield f"[2607:f8b0::5efe:{high:x}:{low:x}]"
    yield f"[2607:f8b0::200:5efe:{high:x}:{low:x}]"


INSIDE = ("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "169.254.169.254", "192.168.1.1", "172.16.0.1")
HOSTS = [
    *itertools.chain.from_iterable(ipv4_forms(address) for address in INSIDE),
    *itertools.chain.from_iterable(ipv6_forms(address) for address in INSIDE),
    *("localhost", "LOCALHOST", "localhost.", "LocalHost", "ip6-localhost", "ip6-loopback", "localhost.localdomain"),
    *("127.1", "127.0.1", "127.0.0.2", "127.127.127.127", "0", "00", "0x0", "0.0", "::1", "[::1]", "[::]", "[0::1]"),
    *("[0:0:0:0:0:0:0:1]", "[::1%251]", "[::1%25lo]", "[fe80::1%25lo]", "[fe80::1]", "[fec0::1]", "[fc00::1]"),
    *("[fd00:ec2::254]", "[ff02::1]", "[100::1]", "[2001:db8::1]", "[3fff::1]", "[::127.0.0.1]"),
    *("100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
]


def urls(port: int) -> list[str]:
    plain = [f"http://{host}:{port}/" for host in HOSTS]
    loopback = f"127.0.0.1:{port}"
    tricks = [
        f"http://example.com@{loopback}/",
        f"http://example.com:80@{loopback}/",
        f"http://{loopback}@example.com:{port}/",
        f"http://user:password@{loopback}/",
        f"http://{loopback}#@example.com/",
        f"http://{loopback}?@example.com/",
        f"http://{loopback}\\@example.com/",
        f"http://example.com\\@{loopback}/",
        f"http:\\\\{loopback}/",
        f"http:/{loopback}/",
        f"http:{loopback}/",
        f"http:///{loopback}/",
        f"http:////{loopback}/",
        f"//{loopback}/",
        f"///{loopback}/",
        loopback,
        f" http://{loopback}/",
        f"\thttp://{loopback}/",
        f"http://{loopback}/\r\nHost: example.com",
        f"http://{loopback}%0d%0aHost:example.com/",
        f"http://example.com\r\n@{loopback}/",
        f"http://example.com%00@{loopback}/",
        f"http://127.0.0.1\x00.example.com:{port}/",
        f"http://127.0.0.1%00.example.com:{port}/",
        f"http://127.0.0.1%2eexample.com:{port}/",
        f"http://127.0.0.1\t:{port}/",
        f"http://127.0.\n0.1:{port}/",
        f"HTTP://{loopback}/",
        f"hTTps://{loopback}/",
        f"https://{loopback}/",
        f"ftp://{loopback}/",
        f"file://{loopback}/etc/passwd",
        "file:///etc/passwd",
        f"gopher://{loopback}/_GET",
        f"dict://{loopback}/",
        f"unix://{loopback}/",
        f"http+unix://{loopback}/",
        f"jar:http://{loopback}!/",
        f"view-source:http://{loopback}/",
        f"url:http://{loopback}/",
        "javascript:alert(1)",
        "data:text/plain,hello",
        "http://",
        "http://?",
        "http://#",
        f"http://:{port}/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:-1/",
        f"http://127.0.0.1:{port}:{port}/",
        f"http://127.0.0.1:\uff10{port}/",
        f"http://[127.0.0.1]:{port}/",
        f"http://[::1/:{port}/",
        f"http://::1]:{port}/",
        f"http://[[::1]]:{port}/",
        f"http://[v1.127.0.0.1]:{port}/",
        f"http://\u24dbocalhost:{port}/",
        f"http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:{port}/",
        f"http://loc\u00adalhost:{port}/",
        f"http://localhost\u3002:{port}/",
        "http://" + "a" * 9000,
        "",
    ]
    secure = [f"https://{host}:{port}/" for host in HOSTS[::3]]
    return [*plain, *secure, *tricks]


def test_no_way_of_writing_this_machine_connects_to_it(listen: Callable[..., Listener]) -> None:
    canaries = [listen(), listen(family=socket.AF_INET6, host="::1")]
    tried = 0
    for canary in canaries:
        egress = Egress(connect=_no_long_wait)
        for url in urls(canary.port):
            with pytest.raises((EgressRefused, EgressFailed)):
                fetch(egress, url)
            tried += 1
    assert tried > 700
    assert [canary.connections for canary in canaries] == [0, 0]


def test_the_canary_would_sing(listen: Callable[..., Listener]) -> None:
    """Without the check the same addresses do lead to this machine: the corpus has teeth."""
    canary = listen()
    everywhere = Egress(Allowed.parse("0.0.0.0/0 ::/0"), connect=_no_long_wait)
    for host in ipv4_forms("127.0.0.1"):
        with contextlib.suppress(PlatformError):
            fetch(everywhere, f"http://{host}:{canary.port}/")
    assert canary.connections > 20


def _no_long_wait(address: str, port: int, timeout_seconds: float) -> socket.socket:
    """A form that some resolver takes for a public address is not to be waited for. One that leads to this machine is
    connected before the call returns, however busy the machine is."""
    return socket.create_connection((address, port), timeout=min(timeout_seconds, 0.05))


def test_no_redirect_leads_to_this_machine(listen: Callable[..., Listener], internet: Callable[..., Egress]) -> None:
    canary = listen()
    locations = iter(())
    public = listen(lambda _: redirect(next(locations)))
    egress = internet(public, {"example.com": [PUBLIC]})
    for url in urls(canary.port):
        # another page of the same public site is no way in, and would go round in circles
        locations = iter([url, f"http://127.0.0.1:{canary.port}/"])
        with pytest.raises((EgressRefused, EgressFailed)):
            fetch(egress, "http://example.com/start")
    assert public.connections >= len(HOSTS)
    assert canary.connections == 0


def test_a_name_that_answers_differently_the_second_time_is_asked_once(
    listen: Callable[..., Listener], internet: Callable[..., Egress]
) -> None:
    public, canary = listen(), listen(lambda _: ok(b"secret"))
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    egress = internet(public)
    egress.resolve = lambda host, port: next(answers)
    assert fetch(egress, f"http://rebind.example:{canary.port}/") == b"hello"
    assert canary.connections == 0


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    listen: Callable[..., Listener], internet: Callable[..., Egress]
) -> None:
    public = listen()
    egress = internet(public, {"mixed.example": [PUBLIC, "10.0.0.1"]})
    with pytest.raises(EgressRefused, match=r"mixed.example is at 10.0.0.1"):
        fetch(egress, "http://mixed.example/")
    assert public.connections == 0


@given(st.ip_addresses(v=4))
def test_what_is_called_public_is_global(address: ipaddress.IPv4Address) -> None:
    if is_public(address):
        assert not address.is_private
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast
        assert not address.is_reserved


@given(st.ip_addresses(v=6), st.ip_addresses(v=4))
def test_no_ipv6_carries_a_private_ipv4(address: ipaddress.IPv6Address, inner: ipaddress.IPv4Address) -> None:
    if is_public(address):
        assert not address.is_private
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | int(inner))
    assert is_public(translated) == is_public(inner)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::200e"])
def test_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


# --- what an operator allows


def test_a_network_that_is_allowed_is_reached(listen: Callable[..., Listener]) -> None:
    inside = listen()
    egress = Egress(Allowed.parse("10.0.0.0/8, 127.0.0.1/32"))
    assert fetch(egress, f"http://127.0.0.1:{inside.port}/x") == b"hello"
    with pytest.raises(EgressRefused):
        fetch(egress, f"http://127.0.0.2:{inside.port}/x")


def test_a_host_that_is_allowed_is_reached_by_its_name_only(
    listen: Callable[..., Listener], internet: Callable[..., Egress]
) -> None:
    inside = listen()
    names = {"files.corp": ["127.0.0.1"], "other.corp": ["127.0.0.1"]}
    egress = internet(inside, names, allowed=Allowed.parse("files.corp"))
    assert fetch(egress, f"http://FILES.corp.:{inside.port}/x") == b"hello"
    for host in ("other.corp", "127.0.0.1"):
        with pytest.raises(EgressRefused):
            fetch(egress, f"http://{host}:{inside.port}/x")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "*.corp", "http://files.corp", "999.1.1.1/8"])
def test_a_setting_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="TENFOLD_EGRESS_ALLOW"):
        Allowed.parse(text)


# --- the exchange


def test_the_request_says_who_asks_and_nothing_of_this_machine(
    listen: Callable[..., Listener], internet: Callable[..., Egress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    public = listen()
    egress = internet(public, {"example.com": [PUBLIC]})
    progress: list[tuple[int, int | None]] = []
    done = egress.download(
        "http://example.com/a/b?c=%20d",
        lambda part: None,
        max_bytes=100,
        timeout_seconds=20,
        headers={"Authorization": "Bearer x"},
        on_progress=lambda *told: progress.append(told),
    )
    assert (done.size_bytes, done.content_type, done.url) == (5, "text/plain", "http://example.com/a/b?c=%20d")
    assert progress == [(5, 5)]
    line, *headers = public.requests[0].decode().strip().split("\r\n")
    assert line == "GET /a/b?c=%20d HTTP/1.1"
    sent = dict(header.split(": ", 1) for header in headers)
    assert sent.keys() == {"Host", "User-Agent", "Accept-Encoding", "Connection", "Authorization"}
    assert (sent["Host"], sent["Accept-Encoding"]) == ("example.com", "identity")


def test_a_credential_does_not_follow_a_redirect_to_another_site(
    listen: Callable[..., Listener], internet: Callable[..., Egress]
) -> None:
    answers = iter([redirect("/here"), redirect("http://cdn.example/there"), ok()])
    public = listen(lambda _: next(answers))
    egress = internet(public, {"example.com": [PUBLIC], "cdn.example": [PUBLIC]})
    assert fetch(egress, "http://example.com/", headers={"authorization": "Bearer x"}) == b"hello"
    assert [b"Bearer x" in request for request in public.requests] == [True, True, False]


def test_redirects_end(listen: Callable[..., Listener], internet: Callable[..., Egress]) -> None:
    public = listen(lambda _: redirect("/again"))
    with pytest.raises(EgressFailed, match="redirects more than 5 times"):
        fetch(internet(public, {"example.com": [PUBLIC]}), "http://example.com/")
    assert public.connections == 6


@pytest.mark.parametrize(
    ("answer", "limit", "kind", "said"),
    [
        (ok(b"x" * 200), 100, TooLarge, "larger than the 100 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200, 100, TooLarge, "larger than the 100 bytes"),
        (CHUNKED + b"c8\r\n" + b"x" * 200 + b"\r\n0\r\n\r\n", 100, TooLarge, "larger than the 100 bytes"),
        (ok(b"x" * 50).replace(b"50", b"60"), 100, EgressFailed, "ended after 50 of 60 bytes|cannot be fetched"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 100, EgressFailed, "answered 404"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", 100, EgressFailed, "does not say where to"),
        (b"nonsense\r\n\r\n", 100, EgressFailed, "cannot be fetched"),
        (b"", 100, EgressFailed, "cannot be fetched"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", 100, EgressFailed, "cannot be fetched"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_right(
    answer: bytes,
    limit: int,
    kind: type[PlatformError],
    said: str,
    listen: Callable[..., Listener],
    internet: Callable[..., Egress],
) -> None:
    public = listen(lambda _: answer)
    with pytest.raises(kind, match=said):
        fetch(internet(public, {"example.com": [PUBLIC]}), "http://example.com/", max_bytes=limit)


def test_a_compressed_answer_is_passed_on_as_it_came(
    listen: Callable[..., Listener], internet: Callable[..., Egress]
) -> None:
    public = listen(lambda _: ok(b"\x1f\x8bbomb", "Content-Encoding: gzip\r\n"))
    assert fetch(internet(public, {"example.com": [PUBLIC]}), "http://example.com/") == b"\x1f\x8bbomb"


@pytest.mark.parametrize("said", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"])
def test_who_never_ends_is_cut_off(
    said: bytes | None, listen: Callable[..., Listener], internet: Callable[..., Egress]
) -> None:
    """However slowly it comes: the time is for the whole."""
    held: list[bytes | None] = [said]
    public = listen(lambda _: None)
    if held[0] is not None:
        public.answer = lambda _: (public._open[-1].sendall(held[0] or b""), None)[1]
    with pytest.raises(EgressFailed):
        fetch(internet(public, {"example.com": [PUBLIC]}), "http://example.com/", timeout_seconds=0.5)


def test_an_answer_of_unknown_length_that_stalls_is_not_taken_for_whole(
    listen: Callable[..., Listener], internet: Callable[..., Egress]
) -> None:
    public = listen(lambda _: None)
    public.answer = lambda _: (public._open[-1].sendall(b"HTTP/1.1 200 OK\r\n\r\nhel"), None)[1]
    with pytest.raises(EgressFailed, match="did not end in time: 3 bytes"):
        fetch(internet(public, {"example.com": [PUBLIC]}), "http://example.com/", timeout_seconds=0.5)


@pytest.mark.parametrize("value", ["Bearer a\nb", "Bearer a\r", "Bearer \u00e9", "Bearer \ufeffx", "Bearer a\x00"])
def test_a_header_that_cannot_be_sent_is_refused_and_not_told(
    value: str, listen: Callable[..., Listener], internet: Callable[..., Egress]
) -> None:
    public = listen()
    with pytest.raises(EgressRefused, match="Authorization") as caught:
        fetch(internet(public, {"example.com": [PUBLIC]}), "http://example.com/", headers={"Authorization": value})
    assert "Bearer" not in str(caught.value)
    assert public.requests == []


def test_a_name_that_does_not_exist_says_so() -> None:
    def nothing(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(EgressFailed, match=r"nowhere.example cannot be found: Name or"):
        fetch(Egress(resolve=nothing), "https://nowhere.example/")


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For secure.example, by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "secure.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("secure.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[int]:
    """A TLS server on the loopback; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as spoken:
                spoken.recv(65536)
                spoken.sendall(ok(b"over TLS"))
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def test_the_certificate_must_be_for_the_name_although_the_address_was_chosen_before(
    secure: int, certificate: Path
) -> None:
    egress = Egress(
        resolve=lambda host, port: [PUBLIC],
        connect=lambda address, port, seconds: socket.create_connection(("127.0.0.1", secure), timeout=seconds),
        tls=ssl.create_default_context(cafile=str(certificate)),
    )
    assert fetch(egress, "https://secure.example/") == b"over TLS"
    with pytest.raises(EgressFailed, match="cannot be fetched"):
        fetch(egress, "https://another.example/")
    egress.tls = ssl.create_default_context()
    with pytest.raises(EgressFailed, match="cannot be fetched"):
        fetch(egress, "https://secure.example/")


def test_a_redirect_to_where_nothing_is_encrypted_is_refused(
    listen: Callable[..., Listener], internet: Callable[..., Egress], certificate: Path
) -> None:
    egress = Egress(resolve=lambda host, port: [PUBLIC])
    target = egress.check("https://secure.example/")
    with pytest.raises(EgressRefused, match="nothing is encrypted"):
        egress._redirected(target, "http://secure.example/")


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://Example.COM", "example.com", 80, "/"),
        ("https://example.com.:8443/a?b#c", "example.com", 8443, "/a?b"),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443, "/"),
    ],
)
def test_what_an_address_says(url: str, host: str, port: int, path: str) -> None:
    target = read_url(url)
    assert (target.host, target.port, target.path) == (host, port, path)
