"""A worker that several models share, as a real process: what they have in common, what not, and how each ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tenfold_runtime.client import Client
from tenfold_runtime.frames import Frame, FrameError

HELPED = {
    "model/model.py": """
        import os
        from .helper import SECRET
        class Model:
            def predict(self, x): return [SECRET, os.getpid(), __name__]
    """
}


class PackOfTest:
    """A worker with a folder of members."""

    def __init__(self, workers: Any, python: str = sys.executable) -> None:
        self.folder = workers._new_folder()
        self.members = self.folder / "members"
        self.members.mkdir()
        self.numbers: dict[str, int] = {}
        self.clients: list[Client] = []
        self.worker = workers._start(self.folder, ["--kind", "pack", "--root", str(self.members)], python, {})

    def add(self, name: str, files: Mapping[str, str] | str, **fields: Any) -> Client:
        self.put(name, files, **fields)
        self.look()
        return self.connect(name)

    def put(self, name: str, files: Mapping[str, str] | str, **fields: Any) -> None:
        written = {"model/model.py": files} if isinstance(files, str) else files
        write_files(self.members / name, written)
        self.numbers[name] = number = len(self.numbers) + 1
        listen = f"unix:{self.folder}/{number}.sock"
        told = {"number": number, "root": str(self.members / name), "listen": listen, **fields}
        replace_json(self.members / f"{name}.json", told)

    def connect(self, name: str) -> Client:
        path = self.folder / f"{self.numbers[name]}.sock"
        self.worker.wait_until(path.exists, 60)
        client = Client(f"unix:{path}", timeout_seconds=60)
        self.clients.append(client)
        self.worker.wait_until(lambda: client.health()["state"] != "loading", 60)
        return client

    def look(self) -> None:
        with Client(self.worker.address, timeout_seconds=60) as client:
            client.request("look")

    def stop(self, name: str, grace_seconds: float) -> None:
        replace_json(self.members / f"{name}.stop", {"until": time.time() + grace_seconds})
        self.look()

    def ended(self, name: str) -> None:
        self.worker.wait_until((self.folder / f"{self.numbers[name]}.ended").exists, 60)

    def health(self) -> dict[str, Any]:
        with Client(self.worker.address, timeout_seconds=60) as client:
            return client.health()

    def close(self) -> None:
        for client in self.clients:
            client.close()


def write_files(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").split("\n")
        indent = len(lines[0]) - len(lines[0].lstrip())
        path.write_text("\n".join(line[indent:] for line in lines) + "\n", "utf-8")


def replace_json(path: Path, value: Any) -> None:
    path.with_suffix(".partial").write_text(json.dumps(value), "utf-8")
    os.replace(path.with_suffix(".partial"), path)


@pytest.fixture
def pack(workers: Any) -> Iterator[PackOfTest]:
    made = PackOfTest(workers)
    yield made
    made.close()


class Asking:
    """One predict in a thread of its own, and its answer."""

    def __init__(self, client: Client, value: Any) -> None:
        self._answers: list[Frame] = []
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._ask, args=(client, value), daemon=True)
        self._thread.start()

    def _ask(self, client: Client, value: Any) -> None:
        try:
            body = json.dumps(value).encode()
            self._answers.append(client.request("predict", body, content_type="application/json"))
        except (OSError, FrameError) as error:
            self._failures.append(error)

    def answer(self) -> Frame:
        self._thread.join(60)
        assert self._answers, self._failures
        return self._answers[0]


def test_models_with_the_same_names_share_a_process_and_nothing_else(
    pack: PackOfTest, predict: Callable[..., Frame]
) -> None:
    clients = [pack.add(f"m{n}", {**HELPED, "model/helper.py": f"SECRET = {n}"}) for n in range(3)]
    answers = [predict(client).json() for client in clients]
    assert [answer[0] for answer in answers] == [0, 1, 2]
    assert {answer[1] for answer in answers} == {pack.worker.process.pid}
    assert [answer[2] for answer in answers] == [f"tenfold_member_{n}.model.model" for n in (1, 2, 3)]
    assert pack.health()["members"] == 3


def test_the_process_stays_as_it_is(pack: PackOfTest, predict: Callable[..., Frame]) -> None:
    source = """
        import logging, os, sys
        class Model:
            def __init__(self, **given): self.given = given
            def predict(self, x):
                return {
                    "folder": os.getcwd(), "path": sys.path, "level": logging.getLogger().level,
                    "variables": sorted(os.environ), "data": str(self.given["data_dir"]),
                    "environment": self.given["environment"],
                }
    """
    debug = {"runtime": {"enable_debug_logs": True}}
    one = pack.add("one", source, environment={"name": "production"})
    two = pack.add("two", {"model/model.py": source, ".tenfold/config.json": json.dumps(debug)}, environment=None)
    first, second = predict(one).json(), predict(two).json()
    assert first.pop("data") == str(pack.members / "one" / "data")
    assert second.pop("data") == str(pack.members / "two" / "data")
    assert (first.pop("environment"), second.pop("environment")) == ({"name": "production"}, None)
    assert first == second
    assert first["folder"] == str(pack.folder)
    assert "TENFOLD_ROOT" not in first["variables"]
    assert not [path for path in first["path"] if path.startswith(str(pack.members))]


LEAVING = """
    import json, threading, weakref
    class Model:
        def __init__(self): json.left_behind = weakref.ref(self)
        def load(self): self.large = bytearray(1000)
        def predict(self, x): return len(self.large)
        async def is_healthy(self): return True
"""
LOOKING = """
    import json, sys
    class Model:
        def predict(self, x):
            modules = [name for name in sys.modules if name.startswith("tenfold_member_")]
            return {"alive": json.left_behind() is not None, "modules": sorted(modules)}
"""


def test_a_stopped_model_leaves_nothing_behind(pack: PackOfTest, predict: Callable[..., Frame]) -> None:
    leaving, looking = pack.add("leaving", LEAVING), pack.add("looking", LOOKING)
    assert predict(leaving).json() == 1000
    assert leaving.health()["healthy"] is True
    assert predict(looking).json()["alive"] is True
    threads = len(os.listdir(f"/proc/{pack.worker.process.pid}/task"))
    files = len(os.listdir(f"/proc/{pack.worker.process.pid}/fd"))
    pack.stop("leaving", 10)
    pack.ended("leaving")
    assert not (pack.folder / "1.sock").exists()
    pack.worker.wait_until(lambda: predict(looking).json()["alive"] is False)
    own = ["tenfold_member_2", "tenfold_member_2.model", "tenfold_member_2.model.model"]
    assert predict(looking).json()["modules"] == own
    with pytest.raises(OSError):
        predict(leaving)
    pid = pack.worker.process.pid
    pack.worker.wait_until(lambda: len(os.listdir(f"/proc/{pid}/task")) < threads)
    pack.worker.wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) < files)
    assert not (pack.folder / "outdated").exists()


WAITING = """
    import os, time
    class Model:
        def predict(self, x):
            open(x["began"], "w").close()
            while not os.path.exists(x["go"]): time.sleep(0.01)
            return "finished"
"""


def test_what_is_in_flight_finishes_and_others_go_on(pack: PackOfTest, predict: Callable[..., Frame]) -> None:
    given = {"began": str(pack.folder / "began"), "go": str(pack.folder / "go")}
    slow, other = pack.add("slow", WAITING), pack.add("other", WAITING)
    asking = Asking(slow, given)
    pack.worker.wait_until(Path(given["began"]).exists)
    pack.stop("slow", 600)
    pack.worker.wait_until(lambda: not (pack.folder / "1.sock").exists())
    assert not (pack.folder / "1.ended").exists()
    elsewhere = {"began": str(pack.folder / "elsewhere"), "go": str(pack.folder)}
    assert predict(other, elsewhere).json() == "finished"
    Path(given["go"]).touch()
    assert asking.answer().json() == "finished"
    pack.ended("slow")


def test_what_is_not_finished_in_time_is_cut_off(pack: PackOfTest) -> None:
    given = {"began": str(pack.folder / "began"), "go": str(pack.folder / "never")}
    asking = Asking(pack.add("slow", WAITING), given)
    pack.worker.wait_until(Path(given["began"]).exists)
    pack.stop("slow", 600)
    pack.stop("slow", 0)
    assert asking.answer().header["code"] == "stopped"
    pack.ended("slow")
    pack.add("next", WAITING)
    assert not (pack.folder / "outdated").exists()


def test_code_that_cannot_be_interrupted_makes_the_worker_outdated(
    pack: PackOfTest, predict: Callable[..., Frame]
) -> None:
    source = """
        import time
        class Model:
            def predict(self, x):
                open(x, "w").close()
                while True:
                    try: time.sleep(0.01)
                    except BaseException: pass
    """
    began = pack.folder / "began"
    other = pack.add("other", "class Model:\n    def predict(self, x): return x")
    asking = Asking(pack.add("stubborn", source), str(began))
    pack.worker.wait_until(began.exists)
    pack.stop("stubborn", 0)
    assert asking.answer().header["code"] == "stopped"
    pack.ended("stubborn")
    pack.worker.wait_until((pack.folder / "outdated").exists)
    assert predict(other, 5).json() == 5


def test_a_model_that_cannot_be_loaded_fails_alone(pack: PackOfTest, predict: Callable[..., Frame]) -> None:
    good = pack.add("good", "class Model:\n    def predict(self, x): return x")
    bad = pack.add("bad", "from model.helper import SECRET\nclass Model: pass")
    health = bad.health()
    assert (health["state"], health["error"]["code"]) == ("failed", "load_failed")
    assert "No module named 'model'" in health["error"]["message"]
    assert predict(good, 1).json() == 1
    pack.stop("bad", 0)
    pack.ended("bad")


def test_a_model_is_stopped_while_it_loads_and_one_before_it_began(pack: PackOfTest) -> None:
    loads = pack.folder / "loads"
    pack.put("slow", f"import time\nopen({str(loads)!r}, 'w').close()\nfor _ in range(100_000): time.sleep(0.01)")
    pack.look()
    pack.worker.wait_until(loads.exists)
    pack.put("never", "raise SystemExit")
    pack.stop("never", 0)
    pack.ended("never")
    pack.stop("slow", 0)
    pack.ended("slow")
    assert pack.health()["members"] == 0


def test_a_member_that_is_removed_ends(pack: PackOfTest) -> None:
    pack.add("one", "class Model:\n    def predict(self, x): return x")
    (pack.members / "one.json").unlink()
    shutil.rmtree(pack.members / "one")
    pack.look()
    pack.ended("one")


def test_health_is_a_models_own_and_its_part_of_the_memory(pack: PackOfTest) -> None:
    source = "class Model:\n    def predict(self, x): return x"
    one = pack.add("one", source, digest="abc")
    alone = one.health()
    assert (alone["kind"], alone["state"], alone["digest"], alone["places"]) == ("model", "ready", "abc", 1)
    assert alone["load_seconds"] >= 0
    clients = [pack.add(f"more{n}", source) for n in range(3)]
    together = one.health()
    assert together["rss_bytes"] < alone["rss_bytes"] / 2
    assert together["peak_rss_bytes"] < alone["peak_rss_bytes"] / 2
    assert {client.health()["pid"] for client in clients} == {alone["pid"]}


def test_lines_in_the_log_say_whose_they_are(pack: PackOfTest, predict: Callable[..., Frame]) -> None:
    source = """
        import logging, sys
        print("imported NAME")
        class Model:
            def load(self): print("load", end=" "); print("NAME", end="")
            def predict(self, x):
                print("one NAME\\ntwo NAME"); sys.stderr.write("error NAME\\n")
                logging.getLogger("l").warning("logged NAME")
                return x
    """
    later = """
        import asyncio
        class Model:
            async def predict(self, x):
                await asyncio.sleep(0)
                print("async c")
                return x
    """
    clients = [pack.add(name, source.replace("NAME", name)) for name in "ab"] + [pack.add("c", later)]
    for client in clients:
        predict(client, 1)
    for name in "abc":
        pack.stop(name, 10)
        pack.ended(name)
    lines = pack.worker.log().splitlines()
    for number, name in enumerate("ab", 1):
        expected = [f"imported {name}", f"load {name}one {name}", f"two {name}", f"error {name}"]
        assert sorted(line for line in lines if line.startswith(f"[[{number}]] ")) == sorted(
            f"[[{number}]] {text}" for text in [*expected, f"WARNING l: logged {name}"]
        )
    assert "[[3]] async c" in lines


def test_batches_print_as_their_model(pack: PackOfTest, predict: Callable[..., Frame]) -> None:
    source = """
        class Model:
            def predict(self, x): return self.predict_batch([x])[0]
            def predict_batch(self, xs):
                print("batch", *xs)
                return xs
    """
    client = pack.add("one", source)
    for number in range(3):
        assert predict(client, number).json() == number
    lines = [line for line in pack.worker.log().splitlines() if "batch" in line]
    assert lines == [f"[[1]] batch {number}" for number in range(3)]


def test_a_signal_stops_all_and_lets_them_finish(pack: PackOfTest) -> None:
    given = [{"began": str(pack.folder / f"began{n}"), "go": str(pack.folder / "go")} for n in range(2)]
    asking = [Asking(pack.add(f"m{n}", WAITING), given[n]) for n in range(2)]
    for one in given:
        pack.worker.wait_until(Path(one["began"]).exists)
    pack.worker.process.send_signal(signal.SIGTERM)
    pack.worker.wait_until(lambda: not (pack.folder / "s").exists())
    (pack.folder / "go").touch()
    assert [one.answer().json() for one in asking] == ["finished", "finished"]
    assert pack.worker.process.wait(60) == 0


def test_asked_twice_it_stops_at_once(pack: PackOfTest) -> None:
    given = {"began": str(pack.folder / "began"), "go": str(pack.folder / "never")}
    asking = Asking(pack.add("slow", WAITING), given)
    pack.worker.wait_until(Path(given["began"]).exists)
    pack.worker.process.send_signal(signal.SIGTERM)
    pack.worker.wait_until(lambda: not (pack.folder / "s").exists())
    pack.worker.process.send_signal(signal.SIGTERM)
    assert asking.answer().header["code"] == "stopped"
    assert pack.worker.process.wait(60) == 0


def test_it_finds_what_nobody_told_it_to_look_for(pack: PackOfTest) -> None:
    pack.put("quiet", "class Model:\n    def predict(self, x): return x")
    pack.connect("quiet")


def test_without_members_it_says_that_it_is_outdated_and_ends(workers: Any) -> None:
    folder = workers._new_folder()
    (folder / "members").mkdir()
    runtime = str(Path(sys.modules["tenfold_runtime"].__file__ or "").parent.parent)
    program = "import tenfold_runtime.pack as pack, tenfold_runtime.__main__ as main\n"
    program += "pack._IDLE_SECONDS = pack._LOOK_SECONDS = 0.05\nmain.main()"
    command = [sys.executable, "-c", program, "--kind", "pack", "--root", str(folder / "members")]
    environment = {"HOME": str(folder), "PYTHONPATH": runtime}
    done = subprocess.run([*command, "--listen", f"unix:{folder}/s"], env=environment, cwd="/", timeout=60, check=False)
    assert done.returncode == 0
    assert (folder / "outdated").exists()
    assert not (folder / "s").exists()


def test_twenty_members_in_one_process(pack: PackOfTest, predict: Callable[..., Frame]) -> None:
    for n in range(20):
        pack.put(f"m{n}", {**HELPED, "model/helper.py": f"SECRET = {n}"})
    pack.look()
    answers = [predict(pack.connect(f"m{n}")).json() for n in range(20)]
    assert [answer[0] for answer in answers] == list(range(20))
    assert len({answer[1] for answer in answers}) == 1


def test_it_needs_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tenfold_runtime", "--kind", "pack", "--listen", f"unix:{tmp_path}/s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search("--kind pack needs --root", done.stderr)
    assert not list(tmp_path.iterdir())
