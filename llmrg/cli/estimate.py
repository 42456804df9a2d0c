"""``llmrg estimate``: what a language model would cost, before it is asked.

Promise: nothing is sent; every figure is a range, and says what it assumes.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from llmrg.cli.options import (
    AsJson,
    ConfigFiles,
    DataPath,
    DatasetName,
    GraphFolder,
    MaxUsers,
    ModelName,
    SetValues,
    gather_graph_overrides,
)
from llmrg.cli.screen import open_screen, table_of
from llmrg.errors import SettingsError

if TYPE_CHECKING:
    from llmrg.job.estimate import Estimate, Range


def estimate(
    dataset: DatasetName,
    config: ConfigFiles = None,
    set_: SetValues = None,
    data_path: DataPath = None,
    folder: GraphFolder = None,
    max_users: MaxUsers = None,
    model: ModelName = None,
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=2, help="Users to think about.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Say what a language model would cost, without asking it.

    A sample of users is thought about with the embedded reasoner in the language model's place, so prompts and
    calls are those that would be made. Prices come from a dated table, or from llmrg.job.input_price and
    llmrg.job.output_price; after a pilot its recorded tokens are used.

    \b
    Example:
      llmrg estimate ml-100k --model gpt-5-mini
      llmrg estimate ml-100k --model my-own --set llmrg.job.input_price=0.1 --set llmrg.job.output_price=0.4
    """
    from llmrg.job.estimate import estimate as make_estimate
    from llmrg.job.reading import read_job

    with open_screen(as_json) as screen:
        overrides = gather_graph_overrides(set_, data_path=data_path, max_users=max_users, model=model)
        job = read_job(dataset, config_files=config or (), overrides=overrides, folder=folder)
        if job.settings.language_model.model is None:
            raise SettingsError("an estimate needs a language model's name: --model NAME")
        screen.note(f"thinking about {sample} users of {job.dataset!r}, with the embedded reasoner")
        found = make_estimate(job, sample=sample)
        screen.facts(_words(found))
        table = table_of(("US dollars", "p50", "p95"))
        for mode, usd in found.usd.items():
            table.add_row(mode, *(("no price", "") if usd is None else (f"{usd.p50:.2f}", f"{usd.p95:.2f}")))
        screen.show(table)
        screen.document(asdict(found))


def _words(found: Estimate) -> dict[str, str]:
    rows = {
        "model": found.model,
        "users": f"{found.users}, from {found.sampled} thought about",
        "calls": f"{_range(found.calls)} ({found.calls.p50 / found.users:.1f} a user)",
        "tokens in": _range(found.tokens_in),
        "tokens out": _range(found.tokens_out),
        "from knowledge": f"{found.reuse_share:.0%} of the questions of the sample; more users share more",
        "tokens": "as a ledger here recorded"
        if found.measured
        else "assumed per byte; a pilot tells (--pilot)",
        "prices": "of one's own"
        if found.as_of is None
        else f"looked up {found.as_of}, without cache discounts",
    }
    if found.cache_share:
        rows["prompt cache"] = (
            f"{found.cache_share:.0%} of the tokens in repeat a prefix; hosts may charge less for it"
        )
    return rows


def _range(found: Range) -> str:
    return f"{found.p50:,.0f}, with 95 % at most {found.p95:,.0f}"
