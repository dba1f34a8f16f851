"""What a prediction costs on its way: the same model behind a bare server, behind Tenfold, behind others.

    python bench/predict.py                                        everything, which takes about half an hour
    python bench/predict.py --workloads logistic,forest --systems bare,tenfold,litserve --rounds 3 --seconds 1

Each system runs the same trained model: Tenfold as `tenfold.deploy` makes it, through the gateway and with a key; the
others as their documentation shows, called directly. Rounds are interleaved: each asks every system in turn, so that a
machine that slows down slows all of them, and while one is asked the others stand still (Tenfold, which has leases to
keep, does not). Shown are medians over rounds; "x bare" is the throughput as a multiple of the bare server's in the
same round; "cpu ms" is what all processes of a system used per request, the client's not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from pathlib import Path

from harness.client import Client
from harness.processes import cpu_seconds, scratch_folder
from harness.systems import SYSTEMS, Bench, Contestant, in_process, one_tenfold, start_all, train
from harness.tables import machine, table
from harness.workloads import TITLES, Workload

HEAD = ("", "callers", "p50 ms", "p99 ms", "per second", "x bare", "cpu ms", "errors")


def main() -> None:
    options = read_options()
    cache = Path(options.cache).expanduser()
    print((__doc__ or "").partition("\n\n    ")[0])
    print(f"\n{machine()}; {options.rounds} rounds of {options.seconds:g} s each", flush=True)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        train(cache, folder, options.workloads)
        client = stack.enter_context(Client())
        tenfold = stack.enter_context(one_tenfold(folder / "tenfold"))
        for name in options.workloads:
            with contextlib.ExitStack() as one:
                bench = Bench(Workload(name, folder), folder, cache, one, tenfold)
                contestants = start_all(bench, options.systems)
                prepare(contestants, bench.workload, client)
                alone = in_process(cache, bench.workload, options.seconds)
                compete(contestants, client, options)
                print(f"\n{bench.workload.title}\n\n{report(contestants, alone, options.callers)}", flush=True)


def prepare(contestants: list[Contestant], workload: Workload, client: Client) -> None:
    """Waits until each answers right, and warms it up."""
    for contestant in contestants:
        contestant.resume()  # two of one system may share its processes
        contestant.wait_until_right(workload)
        if not contestant.problem:
            assert contestant.call
            client.ask(contestant.call, 8, 1.0)
            contestant.pause()


def compete(contestants: list[Contestant], client: Client, options: argparse.Namespace) -> None:
    able = [each for each in contestants if not each.problem]
    for number in range(options.rounds):
        turn = number % max(len(able), 1)
        for contestant in able[turn:] + able[:turn]:
            contestant.resume()
            for callers in options.callers:
                measure(contestant, client, callers, options.seconds)
            contestant.pause()
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)


def measure(contestant: Contestant, client: Client, callers: int, seconds: float) -> None:
    assert contestant.call
    before = cpu_seconds(contestant.pids())
    result = client.ask(contestant.call, callers, seconds)
    used = cpu_seconds(contestant.pids()) - before
    contestant.results.setdefault(callers, []).append(result)
    contestant.cpu_ms.setdefault(callers, []).append(used / max(result.requests, 1) * 1000)


def report(contestants: list[Contestant], alone: dict[str, float], all_callers: list[int]) -> str:
    bare = next((each for each in contestants if each.name == "bare" and not each.problem), None)
    rows = [["in process", "-", *figures(alone["p50"], alone["p99"], alone["rps"]), "", f"{alone['cpu_ms']:.3f}", ""]]
    for contestant in contestants:
        if contestant.problem:
            rows.append([f"{contestant.name}: {contestant.problem}"])
            continue
        rows += [row(contestant, bare, callers) for callers in all_callers]
    texts = [line[0] for line in rows if len(line) == 1]
    shown = table(HEAD, [line for line in rows if len(line) > 1])
    return "\n".join((shown, *texts))


def row(contestant: Contestant, bare: Contestant | None, callers: int) -> list[str]:
    results = contestant.results[callers]
    ratio = ""
    if bare is not None:
        pairs = zip(results, bare.results[callers], strict=True)
        ratio = f"{statistics.median(mine.rps / theirs.rps if theirs.rps else 0 for mine, theirs in pairs):.2f}"
    p50, p99, rps = (statistics.median(getattr(each, name) for each in results) for name in ("p50", "p99", "rps"))
    cpu, errors = statistics.median(contestant.cpu_ms[callers]), sum(each.errors for each in results)
    return [contestant.name, str(callers), *figures(p50, p99, rps), ratio, f"{cpu:.3f}", str(errors)]


def figures(p50: float, p99: float, rps: float) -> list[str]:
    return [f"{p50:.3f}", f"{p99:.3f}", f"{rps:.0f}"]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default=",".join(TITLES), help="of %(default)s")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="of %(default)s")
    parser.add_argument("--callers", default="1,8,32,64", help="how many at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each system, number of callers and round")
    parser.add_argument("--cache", default="~/.cache/tenfold-bench", help="where the systems' environments are kept")
    options = parser.parse_args()
    options.workloads = chosen(parser, options.workloads, list(TITLES))
    options.systems = chosen(parser, options.systems, list(SYSTEMS))
    options.callers = [int(number) for number in options.callers.split(",")]
    return options


def chosen(parser: argparse.ArgumentParser, text: str, known: list[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{', '.join(unknown)}: not known. There are {', '.join(known)}.")
    return names


if __name__ == "__main__":
    main()
