"""Whoever answers batch files: a function over lines, and a host's batch service on loopback built on it.

The answers are those of :mod:`fault_server`, which depend on the data shown alone; so a run by files can be held
against a run online.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web
from fault_server import HTTP_FAULTS, FaultServer

_NUMBERS = count()  # hosts name every attempt anew
EXPIRED = {"code": "batch_expired", "message": "This request could not be executed before it expired."}


def answer_lines(
    lines: Iterable[str],
    server: FaultServer | None = None,
    fault: Callable[[int], str | None] = lambda number: None,
) -> tuple[list[str], list[str]]:
    """Lines of answers and lines of errors.

    Args:
        lines: requests.
        server: counts what is answered.
        fault: of the request of each number, ``expired`` or one of the server's.
    """
    server = server or FaultServer()
    answers, errors = [], []
    for number, line in enumerate(lines):
        asked = json.loads(line)
        assert set(asked) == {"custom_id", "method", "url", "body"}
        assert (asked["method"], asked["url"]) == ("POST", "/v1/chat/completions")
        met = fault(number)
        told: dict[str, Any] = {"id": f"batch_req_{next(_NUMBERS)}", "custom_id": asked["custom_id"]}
        if met == "expired":
            errors.append(json.dumps({**told, "response": None, "error": EXPIRED}))
        elif met in HTTP_FAULTS:
            status, _, error = HTTP_FAULTS[met]
            response = {"status_code": status, "request_id": "r", "body": {"error": error}}
            errors.append(json.dumps({**told, "response": response, "error": None}))
        else:
            body = asked["body"]
            prompt = sum(len(message["content"]) for message in body["messages"]) // 4 + 1
            reply = json.loads(server._reply(body, met, prompt, "json_schema").text or "")
            response = {"status_code": 200, "request_id": "r", "body": reply}
            answers.append(json.dumps({**told, "response": response, "error": None}))
    return answers, errors


def answer_file(path: Path, **options: Any) -> Path:
    """Answer a file completely; the answers' file beside it."""
    answers, errors = answer_lines(path.read_text().splitlines(), **options)
    to = path.with_suffix(".answered")
    to.write_text("".join(line + "\n" for line in answers + errors))
    return to


@dataclass
class BatchHost(FaultServer):
    """A server with a batch service.

    Args:
        fates: of its batches in turn: ``completed`` (the default), ``expired`` (every second request is left),
            ``failed`` (as a whole), or ``lost`` (made, but the connection drops before its name is told).
        looks: times a batch is found in progress first.
        lists: its batches when asked.
    """

    fates: tuple[str, ...] = ()
    looks: int = 1
    lists: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/files", self._take_file)
        app.router.add_get("/v1/files/{name}/content", self._give_file)
        app.router.add_post("/v1/batches", self._make_batch)
        app.router.add_get("/v1/batches", self._list_batches)
        app.router.add_get("/v1/batches/{name}", self._show_batch)

    def _add_file(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    async def _take_file(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        content: Any = form["file"]
        name = self._add_file(content.file.read())
        return web.json_response({"id": name, "object": "file", "bytes": 1, "created_at": 1, "filename": "f"})

    async def _give_file(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["name"]])

    async def _make_batch(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert (asked["endpoint"], asked["completion_window"]) == ("/v1/chat/completions", "24h")
        number = len(self.batches)
        name = f"batch_{number}"
        lines = self.files[asked["input_file_id"]].decode().splitlines()
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "created_at": number,
            "looked": 0,
            **asked,
            "status": "in_progress",
            "fate": (*self.fates, *["completed"] * (number + 1))[number],
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }
        if self.batches[name]["fate"] == "lost":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self.batches[name])

    async def _list_batches(self, request: web.Request) -> web.Response:
        if not self.lists:
            raise web.HTTPNotFound
        newest_first = list(self.batches.values())[::-1]
        names = [batch["id"] for batch in newest_first]
        start = names.index(request.query["after"]) + 1 if "after" in request.query else 0
        end = start + int(request.query["limit"])
        return web.json_response(
            {"object": "list", "data": newest_first[start:end], "has_more": end < len(names)}
        )

    async def _show_batch(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["name"]]
        batch["looked"] += 1
        if batch["status"] == "in_progress" and batch["looked"] > self.looks:
            self._end(batch)
        return web.json_response(batch)

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = "completed" if batch["fate"] == "lost" else batch["fate"]
        if batch["fate"] == "failed":
            error = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
            batch["errors"] = {"object": "list", "data": [error]}
            return
        lines = self.files[batch["input_file_id"]].decode().splitlines()
        left = (
            (lambda number: "expired" if number % 2 else None)
            if batch["fate"] == "expired"
            else lambda _: None
        )
        answers, errors = answer_lines(lines, self, left)
        for key, found in (("output_file_id", answers), ("error_file_id", errors)):
            if found:
                batch[key] = self._add_file("".join(line + "\n" for line in found[::-1]).encode())
        batch["request_counts"] |= {"completed": len(answers), "failed": len(errors)}
