"""What a language model costs: a dated table of hosted models, or a price of one's own.

Promise: no look-up needs a network, a price says the day it was looked up, and a model that is not in the table has
no price rather than a guessed one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml

Mode = Literal["standard", "flex", "batch"]
MODES: tuple[Mode, ...] = ("standard", "flex", "batch")

TABLE = Path(__file__).with_name("prices.yaml")
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens.

    >>> Price(0.4, 1.6, cached=0.1).usd(1_000_000, 500_000, 200_000)
    1.14
    """

    input: float
    output: float
    cached: float | None = None

    def usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """US dollars of so many tokens; ``cached_tokens`` are among the tokens in."""
        cached = self.input if self.cached is None else self.cached
        fresh = max(0, prompt_tokens - cached_tokens)
        return (fresh * self.input + cached_tokens * cached + completion_tokens * self.output) / _MILLION

    def times(self, share: float) -> Price:
        """The price in a cheaper mode."""
        cached = None if self.cached is None else self.cached * share
        return Price(self.input * share, self.output * share, cached)


FREE = Price(0.0, 0.0)


@dataclass(frozen=True)
class PriceTable:
    """Prices of hosted models.

    Args:
        as_of: the day they were looked up, ``YYYY-MM-DD``.
        models: name to standard price.
        shares: mode to its share of the standard price.
        flex: models that have the flex tier.
    """

    as_of: str
    models: Mapping[str, Price]
    shares: Mapping[str, float]
    flex: frozenset[str]

    def price(self, model: str, mode: Mode = "standard") -> Price | None:
        """The price of a model, by its name or a dated form of it; ``None`` where the table has none.

        >>> price_table().price("gpt-4o-mini-2024-07-18") == price_table().price("gpt-4o-mini")
        True
        >>> price_table().price("my-own-model") is None
        True
        """
        name = model if model in self.models else _DATED.sub("", model)
        found = self.models.get(name)
        if found is None or (mode == "flex" and name not in self.flex):
            return None
        return found.times(self.shares[mode])


@lru_cache(maxsize=1)
def price_table() -> PriceTable:
    """The shipped table."""
    values = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    models = {name: Price(paid, out, cached) for name, (paid, cached, out) in values["models"].items()}
    return PriceTable(str(values["as_of"]), models, values["modes"], frozenset(values["flex"]))
