"""Errors travel between processes whole: words and facts."""

from __future__ import annotations

import pickle

import pytest

from llmrg.errors import (
    BudgetReached,
    DataError,
    FingerprintError,
    GraphError,
    LlmrgError,
    MissingExtraError,
    ReplyError,
    SettingsError,
)
from llmrg.reasoners.reasoner import UnusableReplyError, Usage


@pytest.mark.parametrize(
    "error",
    [
        SettingsError.unknown("windw", ["window"], where="llmrg.generation"),
        DataError("no such column", path="a.inter", line=3),
        FingerprintError("other data", expected="b2:one", found="b2:two"),
        GraphError("unsound", problems=("a cycle",)),
        BudgetReached("no more money"),
        MissingExtraError("dask", extra="dask"),
        ReplyError("no JSON", problems=("line 1",)),
        UnusableReplyError("refused", problems=("no",), usage=Usage(calls=2), cached=False, rungs=()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_was_copied_says_the_same(error: LlmrgError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
