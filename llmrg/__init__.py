"""llmrg: LLM reasoning graphs as a leak-free plugin for classic recommenders.

Importing this package imports none of torch, recbole and openai; the names below are loaded on first use.
"""

from __future__ import annotations

__version__ = "0.1.0"
