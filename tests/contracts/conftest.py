"""Contract tests share the toy users of the reasoning tests and the planted data of the adapter's."""

import sys
from pathlib import Path

for room in ("reasoning", "reasoners", "recbole_adapter"):
    sys.path.insert(0, str(Path(__file__).parent.parent / room))
