"""What the gateway costs: the same pass-through by the gateway and by nginx, to an upstream that does nothing.

    python bench/gateway.py --rounds 10

The gateway is that of a whole `tenfold up`, with everything on: key, route, queue, limits, request id, counters,
notes for metrics. It hands a body of one row (about 600 bytes) as a frame to a unix socket, and gives back what comes.
nginx (one worker process, no access log, connections kept open both ways) hands the same body over HTTP to a unix
socket. Both upstreams answer the same 63 bytes at once. "of nginx" is the throughput as a share of nginx's in the same
round; "cpu us" is what the gateway process, or nginx, used per request.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
from harness.client import Call, Client, Result
from harness.nginx import find_nginx, nginx
from harness.processes import cpu_seconds, process, scratch_folder, wait_for
from harness.tables import machine, table
from harness.tenfold_up import Installation, quiet, tenfold_up

import tenfold

SERVERS = Path(__file__).resolve().parent / "servers"
ANSWER = b'{"predictions":[0],"probabilities":[[1.0,0.0]],"classes":[0,1]}'
BODY = b'{"inputs": [[%s]]}' % b", ".join(b"%.6f" % (number * 1.2345) for number in range(60))


@dataclass
class Side:
    name: str
    call: Call
    pids: set[int]
    results: dict[int, list[Result]] = field(default_factory=dict)
    cpu_us: dict[int, list[float]] = field(default_factory=dict)


def main() -> None:
    options = read_options()
    program = find_nginx(Path(options.cache).expanduser())
    print((__doc__ or "").partition("\n\n    ")[0])
    print(f"\n{machine()}; {options.rounds} rounds of {options.seconds:g} s each\n", flush=True)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        body = folder / "body"
        body.write_bytes(BODY)
        client = stack.enter_context(Client())
        installation = stack.enter_context(tenfold_up(folder / "tenfold"))
        sides = [
            of_nginx(stack, program, folder, body),
            of_gateway(stack, installation, folder, body),
        ]
        for side in sides:
            wait_for(partial(answers, side.call), 30, f"no right answer of {side.name}")
            client.ask(side.call, 8, 1.0)
        for number in range(options.rounds):
            for side in sides if number % 2 else sides[::-1]:
                for callers in options.callers:
                    measure(side, client, callers, options.seconds)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        print(report(sides, options.callers))


def of_nginx(stack: contextlib.ExitStack, program: Path, folder: Path, body: Path) -> Side:
    upstream = start_upstream(stack, "upstream_of_http.py", folder)
    url, pids = stack.enter_context(nginx(program, folder / "nginx", upstream))
    return Side(
        "nginx", Call(f"{url}v1/default/models/nothing/predict", body, {"Content-Type": "application/json"}), pids
    )


def of_gateway(stack: contextlib.ExitStack, installation: Installation, folder: Path, body: Path) -> Side:
    """A real version of a model, whose replica's address is then that of the worker that does nothing."""
    worker = start_upstream(stack, "worker_of_frames.py", folder)
    with tenfold.connect() as client:
        client.deploy(nothing, example={"inputs": [[0.0]]}, app=False, progress=quiet())
        url = f"{client.gateway_url}/v1/{client.workspace}/models/nothing/predict"
    with psycopg.connect(installation.database_url) as connection:
        connection.execute("update replicas set address = %s where state = 'ready'", [f"unix:{worker}"])
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {installation.profile['key']}"}
    return Side("gateway", Call(url, body, headers), {installation.gateway_pid()})


def nothing(inputs: list[list[float]]) -> int:
    return len(inputs)


def start_upstream(stack: contextlib.ExitStack, script: str, folder: Path) -> Path:
    socket = folder / f"{script}.sock"
    stack.enter_context(
        process([sys.executable, str(SERVERS / script), str(socket)], cwd=folder, log=folder / f"{script}.log")
    )
    wait_for(socket.exists, 20, f"no {script}")
    return socket


def answers(call: Call) -> bool:
    request = urllib.request.Request(call.url, call.body.read_bytes(), call.headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.read() == ANSWER)
    except urllib.error.HTTPError:
        return False


def measure(side: Side, client: Client, callers: int, seconds: float) -> None:
    before = cpu_seconds(side.pids)
    result = client.ask(side.call, callers, seconds)
    used = cpu_seconds(side.pids) - before
    side.results.setdefault(callers, []).append(result)
    side.cpu_us.setdefault(callers, []).append(used / max(result.requests, 1) * 1e6)


def report(sides: list[Side], all_callers: list[int]) -> str:
    rows = []
    for side in sides:
        for callers in all_callers:
            results, theirs = side.results[callers], sides[0].results[callers]
            share = statistics.median(mine.rps / other.rps for mine, other in zip(results, theirs, strict=True))

            def middle(of: Callable[[Result], float], results: list[Result] = results) -> float:
                return statistics.median(of(each) for each in results)

            rows.append(
                [
                    side.name,
                    str(callers),
                    f"{middle(lambda each: each.p50):.3f}",
                    f"{middle(lambda each: each.p99):.3f}",
                    f"{middle(lambda each: each.rps):.0f}",
                    f"{share:.2f}",
                    f"{statistics.median(side.cpu_us[callers]):.0f}",
                    str(sum(each.errors for each in results)),
                ]
            )
    return table(("", "callers", "p50 ms", "p99 ms", "per second", "of nginx", "cpu us", "errors"), rows)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--callers", default="1,32")
    parser.add_argument("--cache", default="~/.cache/tenfold-bench", help="where nginx is unpacked when it is missing")
    options = parser.parse_args()
    options.callers = [int(number) for number in options.callers.split(",")]
    return options


if __name__ == "__main__":
    main()
