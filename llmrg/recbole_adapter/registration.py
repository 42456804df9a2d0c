"""Make enhanced models resolvable through RecBole's own look-ups, on request.

Promise: nothing is registered by an import; :func:`register` is idempotent and only adds names (the module
``recbole.model.sequential_recommender.<lowercase>``, ``<Name>Dataset`` and ``<Name>Trainer``), never changes one.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import types

from llmrg.recbole_adapter.compatibility import host_ready
from llmrg.recbole_adapter.configuration import SUFFIX

ENHANCED_BASES = ("SASRec", "GRU4Rec")
"""Base models whose enhanced form passes the contract suite."""


def register() -> tuple[str, ...]:
    """Register the enhanced form of every supported base model with RecBole.

    Returns:
        The names RecBole now resolves, such as ``SASRecLLMRG``.
    """
    host_ready()
    names = tuple(f"{base}{SUFFIX}" for base in ENHANCED_BASES)
    missing = [name for name in names if f"{_PACKAGE}.{name.lower()}" not in sys.modules]
    if not missing:
        return names
    import recbole.data.dataset as datasets
    import recbole.trainer as trainers
    from recbole.utils import get_model

    from llmrg.recbole_adapter.dataset import PrefixDataset
    from llmrg.recbole_adapter.enhanced import enhance
    from llmrg.recbole_adapter.prefix_training import PrefixTrainer

    package = importlib.import_module(_PACKAGE)
    for name in missing:
        module = types.ModuleType(f"{_PACKAGE}.{name.lower()}", doc=f"{name}, registered by llmrg.")
        # RecBole looks a module up with find_spec before it imports it
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, loader=None)
        setattr(module, name, enhance(get_model(name.removesuffix(SUFFIX))))
        sys.modules[module.__name__] = module
        setattr(package, name.lower(), module)
        setattr(datasets, f"{name}Dataset", PrefixDataset)
        setattr(trainers, f"{name}Trainer", PrefixTrainer)
    return names


_PACKAGE = "recbole.model.sequential_recommender"
