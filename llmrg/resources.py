"""Where the shipped prompts and RecBole configs lie: in a wheel, an editable install or a checkout.

Promise: :func:`resource_folder` finds the same files in all three, or says what is broken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from llmrg.errors import LlmrgError

PACKAGE = Path(__file__).resolve().parent


def resource_folder(name: Literal["prompts", "recbole_configs"]) -> Path:
    """The folder of shipped files called ``name``.

    Raises:
        LlmrgError: the installation lacks the folder.
    """
    for folder in (PACKAGE / "_resources" / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise LlmrgError(f"the installation lacks its {name}/ folder beside {PACKAGE}; reinstall llmrg")
