"""A host's batch service: what it says is foreign data, and a file that it has is not handed in again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from batch_host import BatchHost

from llmrg.reasoners.batch_service import BatchService
from llmrg.reasoners.endpoint import EndpointError, FaultKind
from llmrg.settings import LanguageModelSettings

T = TypeVar("T")
PAGE = "<html>Sign in to the proxy</html>"


@dataclass
class Proxied(BatchHost):
    """A host behind a proxy that gives every address the same answer.

    Args:
        said: the answer; ``None``: it cuts a file off.
        kind: of content.
    """

    said: str | None = PAGE
    kind: str = "text/html"

    def add_routes(self, app: web.Application) -> None:
        app.router.add_route("*", "/v1/{any:(files|batches).*}", self._say)

    async def _say(self, request: web.Request) -> web.StreamResponse:
        if self.said is not None:
            return web.Response(text=self.said, content_type=self.kind)
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"custom_id": ')
        assert request.transport is not None
        request.transport.close()
        return response


def served(host: BatchHost, action: Callable[[BatchService], Awaitable[T]]) -> T:
    async def work() -> T:
        settings = LanguageModelSettings(model="toy", base_url=host.base_url, local_only=True)
        service = BatchService(settings, environ={})
        try:
            return await action(service)
        finally:
            await service.aclose()

    return asyncio.run(work())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "0001.jsonl"
    path.write_text("{}\n")
    return path


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (PAGE, "text/html"),
        (PAGE, "application/json"),
        ("[1]", "application/json"),
        ("{}", "application/json"),
    ],
)
def test_an_answer_that_is_none_of_a_batch_service_is_one_clear_error(
    file: Path, said: str, kind: str
) -> None:
    actions: list[Callable[[BatchService], Awaitable[Any]]] = [
        lambda service: service.submit(file, "digest"),
        lambda service: service.look("batch_1"),
    ]
    with Proxied(said=said, kind=kind) as host:
        for action in actions:
            with pytest.raises(EndpointError, match="something else than a batch service") as caught:
                served(host, action)
            assert caught.value.kind is FaultKind.RETRY


@pytest.mark.parametrize(
    ("said", "words"), [(PAGE, "something else than a batch service"), (None, "no connection")]
)
def test_a_file_of_answers_that_is_none_or_cut_short_is_asked_for_again(
    tmp_path: Path, said: str | None, words: str
) -> None:
    with Proxied(said=said) as host, pytest.raises(EndpointError, match=words) as caught:
        served(host, lambda service: service.fetch("file-1", tmp_path / "answers"))
    assert caught.value.kind is FaultKind.RETRY
    assert not (tmp_path / "answers").exists()


def test_what_a_host_leaves_out_of_its_answer_is_nothing(file: Path) -> None:
    said = '{"id": "b", "status": "in_progress", "request_counts": {"total": 3}, "errors": {"data": null}}'
    with Proxied(said=said, kind="application/json") as host:
        stands = served(host, lambda service: service.look("b"))
    assert (stands.status, stands.done, stands.total) == ("in_progress", 0, 3)
    assert (stands.files, stands.problems) == ((), ())


@pytest.mark.parametrize(("lists", "made"), [(True, 151), (False, 152)])
def test_a_batch_behind_150_newer_ones_is_found_where_the_host_lists_them(
    file: Path, lists: bool, made: int
) -> None:
    with BatchHost(lists=lists) as host:
        first = served(host, lambda service: service.submit(file, "digest"))
        host.batches |= {f"newer-{n}": {"id": f"newer-{n}", "status": "completed"} for n in range(150)}
        again = served(host, lambda service: service.submit(file, "digest"))
    assert (first == again) is lists
    assert len(host.batches) == made
