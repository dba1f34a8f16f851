"""nginx as a pass-through, from the PATH or unpacked from Debian's package without being installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.processes import descendants, free_port, process, run, wait_for

CONFIGURATION = """
{user}worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    upstream worker {{ server unix:{upstream}; keepalive 64; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://worker;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def find_nginx(cache: Path) -> Path:
    """The program. Raises RuntimeError with what to install when it cannot be had."""
    if found := shutil.which("nginx"):
        return Path(found)
    unpacked = cache / "nginx"
    program = unpacked / "usr" / "sbin" / "nginx"
    if program.exists():
        return program
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise RuntimeError("There is no nginx here. Install it, so that `nginx` is on the PATH.")
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(["apt-get", "--quiet", "download", "nginx"], cwd=folder)
            run(["dpkg", "-x", *map(str, Path(folder).glob("nginx_*.deb")), str(unpacked)])
        except Exception as error:
            raise RuntimeError(
                f"nginx cannot be downloaded ({error}). Install it: apt-get install nginx-light"
            ) from error
    return program


@contextlib.contextmanager
def nginx(program: Path, folder: Path, upstream: Path) -> Iterator[tuple[str, set[int]]]:
    """The address of one that passes everything on to a unix socket, and its processes."""
    folder.mkdir()
    port = free_port()
    configuration = folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its worker may not use the socket of a root's upstream
    configuration.write_text(CONFIGURATION.format(user=user, folder=folder, upstream=upstream, port=port))
    arguments = [str(program), "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]
    with process(arguments, cwd=folder, log=folder / "log") as child:
        wait_for(lambda: len(descendants({child.pid})) == 2 or child.poll() is not None, 20, "no nginx")
        if child.poll() is not None:
            raise RuntimeError(f"nginx ended: {(folder / 'log').read_text()}{(folder / 'error.log').read_text()}")
        yield f"http://127.0.0.1:{port}/", descendants({child.pid})
