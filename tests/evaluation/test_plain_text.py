"""Foreign words stay on their line."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from llmrg.plain_text import plain_line


@given(st.text(st.characters(), max_size=400), st.integers(1, 50))
def test_any_text_becomes_one_short_line_without_controls(text: str, limit: int) -> None:
    shown = plain_line(text, limit)
    assert len(shown) <= limit
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert not any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "RLI", "FSI") for c in shown)
    shown.encode()


@given(st.text(st.sampled_from("abc ÄÖ日本"), min_size=1, max_size=20))
def test_harmless_words_are_left_as_they_are(text: str) -> None:
    assert plain_line(text) == " ".join(text.split())
