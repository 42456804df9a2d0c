"""Vectors kept beside the graphs: encoded once, the same for all, and a cache that nothing depends on."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from llmrg.settings import TextSettings
from llmrg.text import kept_vectors
from llmrg.text.encoder import PACKAGED, HashingEncoder, SentenceTransformerEncoder, Vectors
from llmrg.text.kept_vectors import FOLDER, SET_ASIDE, KeptVectors, kept_encoder

WORDS = ["Heat", "Fargo", "Heat", "Alien"]


class Counting(HashingEncoder):
    """A hashing encoder that notes what it was asked for, and like a model never gives the very same bits twice."""

    def __init__(self, *, width: int = 8, fingerprint: str = "b2:one") -> None:
        super().__init__(width=width)
        self.asked: list[str] = []
        self.told = fingerprint

    @property
    def fingerprint(self) -> str:
        return self.told

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.asked.extend(texts)
        return super().__call__(texts) + np.float32(1e-6) * len(self.asked)


def test_a_text_is_encoded_once_over_two_jobs_and_stays_bit_for_bit(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    vectors = KeptVectors(first, tmp_path)(WORDS)
    assert vectors.shape == (4, 8)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors[0], vectors[2])
    assert sorted(first.asked) == ["Alien", "Fargo", "Heat"]
    later = KeptVectors(second, tmp_path)
    assert np.array_equal(later([*WORDS, "Casino"])[:4], vectors)
    assert np.array_equal(later(["Alien"])[0], vectors[3])
    assert second.asked == ["Casino"]


def test_more_texts_than_are_looked_up_at_once_come_back_in_their_order(tmp_path: Path) -> None:
    words = [f"item {i % 1203}" for i in range(1300)]
    vectors = KeptVectors(Counting(), tmp_path)(words)
    again = Counting()
    assert np.array_equal(KeptVectors(again, tmp_path)(words[::-1]), vectors[::-1])
    assert not again.asked


def test_a_job_that_is_killed_keeps_the_blocks_that_were_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Counting):
        def __call__(self, texts: Sequence[str]) -> Vectors:
            if "item 7" in texts:
                raise KeyboardInterrupt
            return super().__call__(texts)

    monkeypatch.setattr(kept_vectors, "ENCODED", 3)
    words = [f"item {i}" for i in range(10)]
    with pytest.raises(KeyboardInterrupt):
        KeptVectors(Killed(), tmp_path)(words)
    after = Counting()
    vectors = KeptVectors(after, tmp_path)(words)
    assert after.asked == words[6:]
    assert np.allclose(vectors, HashingEncoder(width=8)(words), atol=0.01)


def test_a_catalogue_of_usual_size_is_encoded_in_one_call(tmp_path: Path) -> None:
    calls = []

    class Noting(Counting):
        def __call__(self, texts: Sequence[str]) -> Vectors:
            calls.append(len(texts))
            return super().__call__(texts)

    KeptVectors(Noting(), tmp_path, keep=False)([str(i) for i in range(12_300)])
    assert calls == [12_300]


def test_name_and_fingerprint_are_the_encoders_and_no_texts_are_its_own_affair(tmp_path: Path) -> None:
    encoder = Counting()
    kept = KeptVectors(encoder, tmp_path)
    assert (kept.name, kept.fingerprint) == (encoder.name, encoder.fingerprint)
    assert kept([]).shape == (0, 8)
    assert not list(tmp_path.iterdir())


def test_two_encoders_in_one_folder_have_a_file_each(tmp_path: Path) -> None:
    one, other = Counting(), Counting(width=16, fingerprint="b2:other")
    KeptVectors(one, tmp_path)(WORDS)
    assert KeptVectors(other, tmp_path)(WORDS).shape == (4, 16)
    assert KeptVectors(Counting(), tmp_path)(WORDS).shape == (4, 8)
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"b2-one.sqlite", "b2-other.sqlite"}


def test_vectors_of_another_encoder_under_this_ones_name_are_never_taken(tmp_path: Path) -> None:
    other = KeptVectors(Counting(fingerprint="b2:other"), tmp_path)
    other(WORDS)
    mine = Counting()
    kept = KeptVectors(mine, tmp_path)
    other.path.rename(kept.path)
    kept(WORDS)
    assert len(mine.asked) == 3


def test_what_two_writers_add_is_all_kept(tmp_path: Path) -> None:
    one, other = KeptVectors(Counting(), tmp_path), KeptVectors(Counting(), tmp_path)
    one(["Heat"])
    other(["Fargo"])
    one(["Alien"])
    after = Counting()
    KeptVectors(after, tmp_path)(WORDS)
    assert not after.asked


def damaged(path: Path, how: str) -> None:
    if how == "bytes":
        path.write_bytes(b"?" * 5000)
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        with closing(sqlite3.connect(path)) as file, file:
            if how == "another table":
                file.execute("ALTER TABLE vectors RENAME TO others")
            else:
                rows = {"odd row": b"123", "no numbers": b"\xff" * 32, "narrow": b"\0" * 8}
                file.execute("UPDATE vectors SET vector = ?", (rows[how],))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("how", ["bytes", "cut short", "another table", "odd row", "no numbers", "narrow"])
def test_an_unusable_file_is_said_once_set_aside_and_its_texts_are_encoded_anew(
    tmp_path: Path, how: str, keep: bool, caplog: pytest.LogCaptureFixture
) -> None:
    KeptVectors(Counting(), tmp_path)([f"item {i}" for i in range(400)] + WORDS)
    encoder = Counting()
    kept = KeptVectors(encoder, tmp_path, keep=keep)
    damaged(kept.path, how)
    before = kept.path.read_bytes()
    with caplog.at_level(logging.WARNING):
        vectors = [kept([*WORDS, "new"]), kept(["item 7"]), kept([*WORDS, "new"])]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(kept.path) in caplog.text
    assert {"Heat", "new", "item 7"} <= set(encoder.asked)
    assert np.allclose(vectors[0], HashingEncoder(width=8)([*WORDS, "new"]), atol=0.01)
    if keep:
        assert kept.path.with_name(kept.path.name + SET_ASIDE).read_bytes() == before
        after = Counting()
        assert np.array_equal(KeptVectors(after, tmp_path)([*WORDS, "new"]), vectors[2])
        assert not after.asked
    else:
        assert {path: path.read_bytes() for path in kept.path.parent.iterdir()} == {kept.path: before}


def test_who_may_not_keep_reads_and_writes_nothing(tmp_path: Path) -> None:
    KeptVectors(Counting(), tmp_path, keep=False)(WORDS)
    assert not list(tmp_path.iterdir())
    vectors = KeptVectors(Counting(), tmp_path)(WORDS)
    encoder = Counting()
    kept = KeptVectors(encoder, tmp_path, keep=False)
    before = kept.path.read_bytes()
    assert np.array_equal(kept([*WORDS, "Casino"])[:4], vectors)
    assert encoder.asked == ["Casino"]
    assert kept.path.read_bytes() == before


def test_an_interrupted_write_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = KeptVectors(Counting(), tmp_path)(WORDS)
    rows, as_row = iter(range(3)), kept_vectors._as_row

    def interrupted(vector: Vectors) -> bytes:
        if next(rows, None) is None:
            raise KeyboardInterrupt
        return as_row(vector)

    monkeypatch.setattr(kept_vectors, "_as_row", interrupted)
    with pytest.raises(KeyboardInterrupt):
        KeptVectors(Counting(), tmp_path)([f"item {i}" for i in range(5)])
    monkeypatch.undo()
    after = Counting()
    kept = KeptVectors(after, tmp_path)
    assert np.array_equal(kept(WORDS), vectors)
    assert not after.asked
    kept(["item 0", "item 4"])
    assert after.asked == ["item 0", "item 4"]


def test_a_folder_that_cannot_be_written_costs_the_keeping_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FOLDER).write_text("a file in the way", encoding="utf-8")
    kept = KeptVectors(Counting(), tmp_path)
    with caplog.at_level(logging.WARNING):
        assert kept(WORDS).shape == kept(WORDS).shape == (4, 8)
    assert len(caplog.records) == 1


def test_vectors_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    class Broken(Counting):
        def __call__(self, texts: Sequence[str]) -> Vectors:
            return super().__call__(texts) * np.float32(np.nan)

    assert np.isnan(KeptVectors(Broken(), tmp_path)(WORDS)).all()
    assert np.isfinite(KeptVectors(Counting(), tmp_path)(WORDS)).all()


def test_hashing_is_not_kept_and_a_model_is(tmp_path: Path) -> None:
    assert isinstance(kept_encoder(TextSettings(encoder="hashing"), tmp_path), HashingEncoder)
    (tmp_path / "model").mkdir()
    found = kept_encoder(TextSettings(encoder=str(tmp_path / "model")), tmp_path)
    assert isinstance(found, KeptVectors)
    plain = SentenceTransformerEncoder(PACKAGED, str(tmp_path / "model"))
    assert found.fingerprint == plain.fingerprint
