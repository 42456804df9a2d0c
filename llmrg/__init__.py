"""llmrg: LLM reasoning graphs as a leak-free plugin for classic recommenders.

The way through it: :func:`read_job` and :func:`make_graphs` turn a data set's name into graphs on disk (or
:func:`generate`, from histories of your own); :func:`enhance` gives a RecBole model a graph branch, :func:`register`
makes its name known to RecBole; :func:`compare` trains it beside its controls and :func:`write_report` writes down
what came of it; :func:`recommend` and :func:`explain` use a trained checkpoint; :func:`render_tree` and
:func:`render_html` show one user's graph.

Promise: importing this package imports none of torch, recbole and openai; the names below are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmrg.data.atomic_files import read_dataset as read_dataset
    from llmrg.data.catalog import ItemCatalog as ItemCatalog
    from llmrg.data.interactions import UserHistory as UserHistory
    from llmrg.errors import LlmrgError as LlmrgError
    from llmrg.evaluation.report import write_report as write_report
    from llmrg.experiment import compare as compare
    from llmrg.explanation.effects import Explanation as Explanation
    from llmrg.explanation.rendering import render_tree as render_tree
    from llmrg.explanation.view import render_html as render_html
    from llmrg.graph.arrays import load_arrays as load_arrays
    from llmrg.graph.schema import ReasoningGraph as ReasoningGraph
    from llmrg.graph.store import GraphStore as GraphStore
    from llmrg.job.assembly import make_graphs as make_graphs
    from llmrg.job.reading import read_job as read_job
    from llmrg.reasoners.offline import EmbeddedReasoner as EmbeddedReasoner
    from llmrg.reasoning.generate import generate as generate
    from llmrg.recbole_adapter.checkpoint import load_checkpoint as load_checkpoint
    from llmrg.recbole_adapter.checkpoint import save_checkpoint as save_checkpoint
    from llmrg.recbole_adapter.enhanced import enhance as enhance
    from llmrg.recbole_adapter.registration import register as register
    from llmrg.serving.explaining import explain as explain
    from llmrg.serving.recommender import Recommendation as Recommendation
    from llmrg.serving.recommender import open_recommender as open_recommender
    from llmrg.serving.recommender import recommend as recommend
    from llmrg.settings import LlmrgSettings as LlmrgSettings
    from llmrg.text.encoder import load_text_encoder as load_text_encoder

__version__ = "0.1.0"

__all__ = [
    "EmbeddedReasoner",
    "Explanation",
    "GraphStore",
    "ItemCatalog",
    "LlmrgError",
    "LlmrgSettings",
    "ReasoningGraph",
    "Recommendation",
    "UserHistory",
    "__version__",
    "compare",
    "enhance",
    "explain",
    "generate",
    "load_arrays",
    "load_checkpoint",
    "load_text_encoder",
    "make_graphs",
    "open_recommender",
    "read_dataset",
    "read_job",
    "recommend",
    "register",
    "render_html",
    "render_tree",
    "save_checkpoint",
    "write_report",
]

_HOMES = {
    "EmbeddedReasoner": "reasoners.offline",
    "Explanation": "explanation.effects",
    "GraphStore": "graph.store",
    "ItemCatalog": "data.catalog",
    "LlmrgError": "errors",
    "LlmrgSettings": "settings",
    "ReasoningGraph": "graph.schema",
    "Recommendation": "serving.recommender",
    "UserHistory": "data.interactions",
    "compare": "experiment",
    "enhance": "recbole_adapter.enhanced",
    "explain": "serving.explaining",
    "generate": "reasoning.generate",
    "load_arrays": "graph.arrays",
    "load_checkpoint": "recbole_adapter.checkpoint",
    "load_text_encoder": "text.encoder",
    "make_graphs": "job.assembly",
    "open_recommender": "serving.recommender",
    "read_dataset": "data.atomic_files",
    "read_job": "job.reading",
    "recommend": "serving.recommender",
    "register": "recbole_adapter.registration",
    "render_html": "explanation.view",
    "render_tree": "explanation.rendering",
    "save_checkpoint": "recbole_adapter.checkpoint",
    "write_report": "evaluation.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llmrg' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"llmrg.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
