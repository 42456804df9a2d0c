"""The part of ``llmrg doctor`` that asks a language model what it knows of a data set by heart.

Promise: nothing is sent before the model, its address and the number of questions are on the screen, and nothing but
titles and ids of the data set is sent at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrg.cli.screen import Screen
from llmrg.errors import SettingsError

if TYPE_CHECKING:
    from llmrg.settings import LanguageModelSettings


def show_memory(
    screen: Screen,
    dataset: str,
    language_model: LanguageModelSettings,
    questions: int,
    config_files: Sequence[Path],
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """Probe a model, and say what came of it.

    Args:
        screen: where to.
        dataset: see :func:`~llmrg.job.reading.read_job`.
        language_model: which one, and how it is asked.
        questions: of each kind.
        config_files: as ``dataset``.
        overrides: the same.

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
    job = read_job(dataset, config_files=config_files, overrides=overrides)

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
