"""Reasoner tests share the toy users of the reasoning tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "reasoning"))
sys.path.insert(0, str(Path(__file__).parent))
