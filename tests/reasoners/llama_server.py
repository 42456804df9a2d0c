"""A real llama-server with a model that babbles, where one was built (``make llama-server``)."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

VARIABLE = "LLMRG_LLAMA_SERVER"
ABSENT = f"${VARIABLE} names no llama-server: run `make llama-server` and set it as that says"
MODEL = "babbler.gguf"  # beside the binary


def binary() -> Path | None:
    """The binary, if there is one and its model beside it."""
    path = Path(os.environ.get(VARIABLE) or "absent")
    return path if path.is_file() and path.with_name(MODEL).is_file() else None


class LlamaServer:
    """The server, as a context; ``base_url`` is where it listens.

    Args:
        window: tokens of prompt and reply, one token per character.
        slots: requests at a time.
    """

    def __init__(self, window: int = 32_768, slots: int = 2) -> None:
        found = binary()
        assert found is not None, ABSENT
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.root}/v1"
        self._command = [
            *(str(found), "--model", str(found.with_name(MODEL)), "--host", "127.0.0.1", "--port", str(port)),
            *("--ctx-size", str(window * slots), "--parallel", str(slots), "--threads", "1"),
            *("--no-webui", "--no-context-shift", "--jinja"),
        ]

    def __enter__(self) -> LlamaServer:
        self._said = tempfile.TemporaryFile("w+")  # not a pipe: it would stop when that is full
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=self._said)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self._process.poll() is not None:
                self._said.seek(0)
                raise RuntimeError(f"llama-server ended: {self._said.read()[-2000:]}")
            try:
                with urllib.request.urlopen(f"{self.root}/health", timeout=1):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("llama-server did not come up within 30 s")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
