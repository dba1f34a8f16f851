"""The one way out: every address that somebody else can choose is fetched through here.

A name is resolved once, every address that it has must be public, and the connection goes to one of those very
addresses, under the name for TLS and `Host`. So there is no second look-up that could answer differently, and no way to
write an address that is understood one way when it is checked and another way when it is used. A redirect goes through
all of it again. The whole takes limited time and bytes; nothing is decompressed; no proxy, cookie or credential of this
machine is used.

What an operator allows (`TENFOLD_EGRESS_ALLOW`: networks as in "10.1.0.0/16", host names) is reached although private.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from urllib.parse import SplitResult, urljoin, urlsplit

from tenfold_platform.errors import InvalidInput, PlatformError, TooLarge

MAX_REDIRECTS = 5
MAX_URL_CHARACTERS = 8192
SILENCE_SECONDS = 30.0
RESOLVE_SECONDS = 10.0
READ_BYTES = 256 * 1024
REDIRECTS = (301, 302, 303, 307, 308)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
Connect = Callable[[str, int, float], socket.socket]


class EgressRefused(InvalidInput):
    """An address that must not be reached from here, or that is not written as one."""

    code = "egress_refused"


class EgressFailed(PlatformError):
    """The other side did not answer, or not with what was asked for."""

    status, code = 502, "egress_failed"

    def __init__(self, message: str, *, hint: str = "", answered: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.answered = answered  # the status of its answer, when there was one


@dataclass(frozen=True)
class Downloaded:
    url: str  # where it was found, after redirects
    size_bytes: int
    content_type: str


@dataclass(frozen=True)
class Target:
    """A checked address: the name to speak to, and where it really is."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...] = ()

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == http.client.HTTPS_PORT and self.scheme == "https" else _with_port(self, host)


@dataclass(frozen=True)
class Allowed:
    """What an operator opened: networks, and names whatever they resolve to."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """From networks and host names with commas or spaces between them. Raises InvalidInput."""
        networks: list[Network] = []
        hosts: set[str] = set()
        for one in text.replace(",", " ").split():
            try:
                networks.append(ipaddress.ip_network(one))
            except ValueError:
                if "/" in one or ":" in one or "*" in one:
                    raise InvalidInput(
                        f"TENFOLD_EGRESS_ALLOW names {one!r}, which is neither a network nor a host name.",
                        hint="Write it like 10.1.0.0/16, 192.168.1.20, fd00::/8 or files.example.com.",
                    ) from None
                hosts.add(one.lower().rstrip("."))
        return cls(tuple(networks), frozenset(hosts))

    def includes(self, host: str, address: Address) -> bool:
        return host in self.hosts or any(
            address.version == network.version and address in network for network in self.networks
        )


# --- which addresses are public

# IANA's special-purpose registries, and what clouds use for themselves. Kept here: `is_global` of the standard library
# changed between versions, and calls multicast global.
_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(one)
    for one in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform address
        "169.254.0.0/16",  # link-local, metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_OPEN_V6 = ipaddress.IPv6Network("2000::/3")  # all that has been given out; the rest is local, or an IPv4 in disguise
_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(one)
    for one in (
        "2001::/23",  # protocol assignments; Teredo, which carries an IPv4
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries an IPv4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # in the third quarter: an IPv4 follows
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # how an IPv6-only network reaches IPv4


def is_public(address: Address) -> bool:
    """Whether it is on the internet at large: not this machine, not its networks, not a way around to them."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _OPEN_V6 or any(address in network for network in _CLOSED_V6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP


# --- fetching


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, in the system's order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def connect(address: str, port: int, timeout_seconds: float) -> socket.socket:
    """To that very address: it is one, so nothing is looked up. Raises OSError."""
    return socket.create_connection((address, port), timeout=timeout_seconds)


@dataclass
class Egress:
    """Fetches what addresses name. May be used by many threads."""

    allowed: Allowed = field(default_factory=Allowed)
    resolve: Resolve = resolve
    connect: Connect = connect
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    now: Callable[[], float] = time.monotonic

    def download(
        self,
        url: str,
        write: Callable[[bytes], object],
        *,
        max_bytes: int,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> Downloaded:
        """GETs `url` and passes its bytes to `write`, piece by piece. `on_progress(done, total)` is called on the way.

        Raises EgressRefused for an address that must not be reached, EgressFailed when nothing (or no 2xx) answers
        within the time, TooLarge beyond `max_bytes`.
        """
        deadline = self.now() + timeout_seconds
        asked = dict(headers or {})
        _check_headers(asked)
        target = self.check(url)
        for _ in range(MAX_REDIRECTS + 1):
            with self._exchange(target, asked, deadline) as answer:
                if answer.status not in REDIRECTS:
                    return self._receive(target, answer, write, max_bytes, deadline, on_progress)
                location = answer.getheader("Location")
            following = self._redirected(target, location)
            if following.origin != target.origin:
                asked = {name: value for name, value in asked.items() if name.lower() != "authorization"}
            target = following
        raise EgressFailed(f"{url} redirects more than {MAX_REDIRECTS} times.")

    def check(self, url: str) -> Target:
        """The address, read and resolved. Raises EgressRefused, or EgressFailed when the name is unknown."""
        target = read_url(url)
        found = self._addresses(target)
        for text in found:
            address = ipaddress.ip_address(text)
            if not is_public(address) and not self.allowed.includes(target.host, address):
                raise EgressRefused(
                    f"{target.host} is at {text}, which is not a public address.",
                    hint="An operator can allow it with TENFOLD_EGRESS_ALLOW.",
                )
        return Target(target.url, target.scheme, target.host, target.port, target.path, found)

    def _addresses(self, target: Target) -> tuple[str, ...]:
        """With a limit in time, which the system's resolver does not have."""
        found: list[Sequence[str]] = []
        problems: list[Exception] = []

        def look_up() -> None:
            try:
                found.append(self.resolve(target.host, target.port))
            except (OSError, UnicodeError) as error:
                problems.append(error)

        thread = threading.Thread(target=look_up, name="egress-resolve", daemon=True)
        thread.start()
        thread.join(RESOLVE_SECONDS)
        if found and found[0]:
            return tuple(found[0])
        why = f": {_why(problems[0])}" if problems else ""
        raise EgressFailed(
            f"The address of {target.host} cannot be found{why}.",
            hint="Is the name right, and has this machine a way to the internet?",
        )

    def _redirected(self, target: Target, location: str | None) -> Target:
        if not location:
            raise EgressFailed(f"{target.url} redirects, and does not say where to.")
        try:
            following = self.check(urljoin(target.url, location))
        except ValueError:
            raise EgressRefused(f"{target.url} redirects to what is not an address.") from None
        if target.scheme == "https" and following.scheme != "https":
            raise EgressRefused(f"{target.url} redirects to {following.url}, where nothing is encrypted.")
        return following

    @contextmanager
    def _exchange(
        self, target: Target, headers: Mapping[str, str], deadline: float
    ) -> Iterator[http.client.HTTPResponse]:
        """One request on a connection of its own, which is cut when the time is over, whatever it is doing then."""
        connection = http.client.HTTPConnection(target.host, target.port, timeout=SILENCE_SECONDS)
        raw = self._connected(target, deadline)
        guard = raw.dup()  # TLS takes the socket over; this one still reaches the connection
        cut = threading.Timer(max(0.0, deadline - self.now()), _cut, [guard])
        cut.daemon = True
        cut.start()
        try:
            connection.sock = self._secured(target, raw) if target.scheme == "https" else raw
            connection.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", target.host_header)
            connection.putheader("User-Agent", f"tenfold/{version('tenfold')}")
            connection.putheader("Accept-Encoding", "identity")
            connection.putheader("Connection", "close")
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            if self.now() >= deadline:
                raise EgressFailed(f"{target.url} did not answer in time.") from error
            raise EgressFailed(f"{target.url} cannot be fetched: {_why(error)}.") from error
        finally:
            cut.cancel()
            connection.close()
            raw.close()
            guard.close()

    def _connected(self, target: Target, deadline: float) -> socket.socket:
        """To the first of the checked addresses that answers."""
        problem: Exception | None = None
        for address in target.addresses:
            left = deadline - self.now()
            if left <= 0:
                break
            try:
                return self.connect(address, target.port, min(left, SILENCE_SECONDS))
            except OSError as error:
                problem = error
        why = _why(problem) if problem else "the time is over"
        raise EgressFailed(
            f"{target.host} cannot be reached: {why}.", hint="Has this machine a way to the internet?"
        ) from problem

    def _secured(self, target: Target, raw: socket.socket) -> ssl.SSLSocket:
        return self.tls.wrap_socket(raw, server_hostname=target.host)

    def _receive(
        self,
        target: Target,
        answer: http.client.HTTPResponse,
        write: Callable[[bytes], object],
        max_bytes: int,
        deadline: float,
        on_progress: Callable[[int, int | None], object] | None,
    ) -> Downloaded:
        if not 200 <= answer.status < 300:
            raise EgressFailed(
                f"{target.url} answered {answer.status} {answer.reason}.",
                hint=_hint_of(answer.status),
                answered=answer.status,
            )
        total = answer.length  # None where it is not said
        if total is not None and total > max_bytes:
            raise _too_large(target.url, max_bytes)
        done = 0
        while part := answer.read1(READ_BYTES):
            done += len(part)
            if done > max_bytes:
                raise _too_large(target.url, max_bytes)
            if self.now() >= deadline:
                raise _too_late(target.url, done)
            write(part)
            if on_progress:
                on_progress(done, total)
        if self.now() >= deadline:  # the connection was cut, which reads as its end
            raise _too_late(target.url, done)
        if total is not None and done != total:
            raise EgressFailed(f"{target.url} ended after {done} of {total} bytes.", hint="Try again.")
        return Downloaded(target.url, done, answer.getheader("Content-Type") or "application/octet-stream")


def read_url(url: str) -> Target:
    """The parts of an http or https address, read strictly. Nothing is looked up. Raises EgressRefused."""
    if len(url) > MAX_URL_CHARACTERS:
        raise EgressRefused("The address is too long.")
    if not url.isascii() or any(character <= " " or character in '\\\x7f<>"' for character in url):
        raise EgressRefused(
            f"{url[:100]!r} has characters that an address cannot have.",
            hint="Encode them: %20 for a space, xn-- for a name that is not ASCII.",
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressRefused(f"{url[:100]!r} is not an address: {error}.") from None
    if parts.scheme not in ("http", "https"):
        raise EgressRefused(f"{url[:100]!r} does not begin with http:// or https://.")
    if "@" in parts.netloc:
        raise EgressRefused(
            "An address must not hold a user name or a password.",
            hint="Use a secret of the model, and fetch in load().",
        )
    host = (parts.hostname or "").rstrip(".")
    if not host or "%" in host or port == 0:
        raise EgressRefused(f"{url[:100]!r} names no host that can be reached.")
    port = port or (http.client.HTTPS_PORT if parts.scheme == "https" else http.client.HTTP_PORT)
    return Target(url, parts.scheme, host, port, _path_of(parts))


def _path_of(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _with_port(target: Target, host: str) -> str:
    is_default = target.scheme == "http" and target.port == http.client.HTTP_PORT
    return host if is_default else f"{host}:{target.port}"


def _cut(guard: socket.socket) -> None:
    """Wakes whoever waits for it; closing alone would not."""
    try:
        guard.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended already


def _check_headers(headers: Mapping[str, str]) -> None:
    """The value may be a secret: it is not told."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise EgressRefused(
                f"What is to be sent as {name} has line breaks or characters that a header cannot have.",
                hint="Was a secret pasted with a line break at its end? Set it again.",
            )


def _too_late(url: str, done: int) -> EgressFailed:
    return EgressFailed(f"{url} did not end in time: {done} bytes had come.")


def _too_large(url: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"{url} is larger than the {max_bytes} bytes that may be fetched.")


def _hint_of(status: int) -> str:
    if status in (401, 403):
        return "It is not public: fetch it in load(), with a secret of the model."
    return "Is the address right?" if status in (404, 410) else "Try again later."


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
