"""The part of ``llmrg doctor`` that asks a language model what it knows of a data set by heart.

Promise: nothing is sent before the model, its address and the number of questions are on the screen, and nothing but
titles and ids of the data set is sent at all.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrg.cli.options import gather_overrides
from llmrg.cli.screen import Screen
from llmrg.errors import SettingsError

if TYPE_CHECKING:
    from llmrg.settings import LanguageModelSettings


def show_memory(
    screen: Screen,
    dataset: str,
    language_model: LanguageModelSettings,
    questions: int,
    data_path: Path | None,
) -> dict[str, Any]:
    """Probe a model, and say what came of it.

    Raises:
        SettingsError: no model is named.
        EndpointError: it does not answer at all.
    """
    from llmrg.job.reading import read_job
    from llmrg.reasoners.memory_probe import MemoryReport, probe_memory
    from llmrg.reasoners.openai_endpoint import OpenAIEndpoint

    if language_model.model is None:
        raise SettingsError(
            "--probe-memory asks a language model: name one with --model NAME, and its server with --base-url URL "
            "unless it is OpenAI's",
            name="llmrg.language_model.model",
        )
    job = read_job(dataset, overrides=gather_overrides((), data_path=data_path))

    async def ask() -> MemoryReport:
        async with OpenAIEndpoint(language_model) as endpoint:
            screen.note(
                f"asking {language_model.model} at {endpoint.host}: {questions} titles by id, "
                f"{questions} next items twice"
            )
            return await probe_memory(endpoint, language_model, job.dataset, questions=questions)

    report = asyncio.run(ask())
    for sentence in report.sentences:
        screen.line(sentence)
    return {**asdict(report), "remembered": report.remembered, "sentences": list(report.sentences)}
