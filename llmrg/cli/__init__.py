"""The command line: one file per verb, and nothing heavy imported before a verb asks for it.

Exit codes of every verb: 0 done; 1 a user error, told in one line; 2 a budget reached (run it again to go
on); 3 verification failed; 130 interrupted.
"""

from __future__ import annotations

from llmrg.cli.app import main

__all__ = ["main"]
