"""Make our models and enhanced ones resolvable through RecBole's own look-ups, on request.

Promise: nothing is registered by an import; :func:`register` is idempotent and only adds names (the module
``recbole.model.sequential_recommender.<lowercase>``, ``<Name>Dataset`` and ``<Name>Trainer``), never changes one.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import types
from collections.abc import Mapping
from typing import Any

from llmrg.errors import ModelError
from llmrg.recbole_adapter.base_models import ENHANCED_BASES as ENHANCED_BASES
from llmrg.recbole_adapter.compatibility import host_ready
from llmrg.recbole_adapter.configuration import OWN_DEFAULTS, SUFFIX

_PACKAGE = "recbole.model.sequential_recommender"
_OURS = {
    "CL4SRec": "llmrg.recbole_adapter.models.cl4srec",
    "DuoRec": "llmrg.recbole_adapter.models.duorec",
}


def register(model: type[Any] | None = None, *, defaults: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Register with RecBole: CL4SRec, DuoRec, the enhanced form of every supported base model, and ``model``.

    Args:
        model: a sequential recommender of your own; its name and its enhanced one are then known like RecBole's.
        defaults: the settings it reads, at their defaults; what else RecBole knows needs no mention.

    Returns:
        The enhanced names RecBole now resolves, such as ``SASRecLLMRG``.

    Raises:
        ModelError: ``model`` cannot be enhanced, or RecBole knows another class of its name.
    """
    host_ready()
    names = tuple(f"{base}{SUFFIX}" for base in ENHANCED_BASES)
    if any(_module_name(name) not in sys.modules for name in names):
        _register_all()
    if model is None:
        return names
    return (*names, _register_own(model, dict(defaults or {})))


def _register_all() -> None:
    from recbole.utils import get_model

    for name, home in _OURS.items():
        _add(name, getattr(importlib.import_module(home), name))
    for base in ENHANCED_BASES:
        _add_enhanced(get_model(base))


def _register_own(model: type[Any], defaults: dict[str, Any]) -> str:
    from recbole.utils import get_model

    from llmrg.recbole_adapter.base_models import check_base

    check_base(model)
    try:
        known = get_model(model.__name__)
    except (
        ValueError,
        AttributeError,
        ImportError,
    ):  # the last: RecBole looks in packages of absent libraries too
        known = None
    if (
        known not in (None, model) and model.__name__ not in OWN_DEFAULTS
    ):  # a class may be written anew, as in notebooks
        raise ModelError(f"RecBole knows another model {model.__name__!r} ({known.__module__}); rename yours")
    OWN_DEFAULTS[model.__name__] = defaults
    _add(model.__name__, model)
    return _add_enhanced(model)


def _add_enhanced(base: Any) -> str:
    import recbole.data.dataset as datasets
    import recbole.trainer as trainers

    from llmrg.recbole_adapter.dataset import PrefixDataset
    from llmrg.recbole_adapter.enhanced import enhance
    from llmrg.recbole_adapter.trainer import PrefixTrainer

    enhanced = enhance(base)
    name = enhanced.__name__
    _add(name, enhanced)
    setattr(datasets, f"{name}Dataset", PrefixDataset)
    setattr(trainers, f"{name}Trainer", PrefixTrainer)
    return name


def _add(name: str, model: type[Any]) -> None:
    module = types.ModuleType(_module_name(name), doc=f"{name}, registered by llmrg.")
    # RecBole looks a module up with find_spec before it imports it
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, loader=None)
    setattr(module, name, model)
    sys.modules[module.__name__] = module
    setattr(importlib.import_module(_PACKAGE), name.lower(), module)


def _module_name(name: str) -> str:
    return f"{_PACKAGE}.{name.lower()}"
