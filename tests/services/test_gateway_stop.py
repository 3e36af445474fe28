"""Signals that come while another is handled: nginx finishes its requests, and the gateway ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

TIMES = 40
# Says that it is there; finishes on SIGQUIT, and drops its requests on SIGTERM.
NGINX = """#!/bin/sh
trap 'exit 0' QUIT
trap 'exit 9' TERM
echo serving
while kill -0 "$PPID"; do sleep 0.01; done
"""
GATEWAY = """
import signal, sys
from pathlib import Path
from v3.gateway.serve import serve

signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell ignores it for what it starts behind

def interrupted(handler):
    def handle(number, frame):
        def again(*_):
            handler(number, frame)
            return again
        sys.settrace(again)
        handler(number, frame)
        sys.settrace(None)
    return handle

install = signal.signal
if sys.argv[2] == "each line":
    signal.signal = lambda number, handler: install(number, interrupted(handler))
sys.exit(serve(sys.argv[1], Path("nginx.conf")))
"""


def stopped(root: Path, folder: Path, interrupted_at: str, signals: int) -> int:
    """Return the exit status of a gateway that gets so many signals at once."""
    nginx = folder / "nginx"
    nginx.write_text(NGINX)
    nginx.chmod(0o755)
    command = [sys.executable, "-c", GATEWAY, str(nginx), interrupted_at]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout
        assert gateway.stdout.readline() == "serving\n"
        for _ in range(signals):
            os.kill(gateway.pid, signal.SIGTERM)
        try:
            return gateway.wait(10)
        finally:
            gateway.kill()  # where it hangs


def test_two_signals_at_once_stop_it_every_time(root: Path, tmp_path: Path) -> None:
    assert {stopped(root, tmp_path, "", signals=2) for _ in range(TIMES)} == {0}


def test_second_signal_at_any_line_of_the_handler_stops_it(root: Path, tmp_path: Path) -> None:
    """A lock that the handler takes, in whatever it calls, is held at one of these lines."""
    assert stopped(root, tmp_path, "each line", signals=1) == 0
