"""Groups of users: every user once a kind, made from the data alone, and differences paired within them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llmrg.errors import DataError
from llmrg.evaluation.comparison import Procedure, build_report
from llmrg.evaluation.groups import COLD_UNDER, EVERYONE, UserGroup, user_groups
from llmrg.evaluation.metrics import mean_of
from llmrg.evaluation.report import render_markdown
from llmrg.evaluation.report_costs import cost_table

QUICK = Procedure(resamples=200, permutations=500)


def test_each_kind_of_group_holds_every_user_once() -> None:
    rng = np.random.default_rng(1)
    users = [f"u{index}" for index in range(300)]
    items = rng.integers(0, 200, 100)
    groups = user_groups(
        "d",
        users,
        target_count=rng.choice(items, 300),
        item_count=items,
        history_length=rng.integers(2, 40, 300),
    )
    for ending in (" items", " histories"):
        inside = [user for group in groups if group.name.endswith(ending) for user in group.user_ids]
        assert sorted(inside) == sorted(users)


def test_items_are_cold_tail_or_head_by_their_users_in_the_training_part() -> None:
    counts = np.array([100, 90, 50, 40, 30, 20, 10, 8, 6, 1])
    groups = user_groups(
        "d", "abcdef", target_count=[1, 4, 5, 50, 90, 100], item_count=counts, history_length=[3] * 6
    )
    found = {group.name: group.user_ids for group in groups}
    assert found["cold items"] == ("a", "b")
    assert found["tail items"] == ("c", "d")  # the most popular fifth has more than 50
    assert found["head items"] == ("e", "f")
    assert found["short histories"] == tuple("abcdef")
    assert f"under {COLD_UNDER}" in groups[0].words


def test_histories_are_cut_in_thirds() -> None:
    groups = user_groups(
        "d", "abcdef", target_count=[9] * 6, item_count=[9], history_length=[1, 2, 3, 4, 5, 6]
    )
    found = {group.name: group.user_ids for group in groups}
    assert (found["short histories"], found["long histories"]) == (("a", "b"), ("e", "f"))
    assert found["medium histories"] == ("c", "d")
    assert "medium histories" in found


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="one target and one length per user"):
        user_groups("d", "abc", target_count=[1], item_count=[1], history_length=[1, 1, 1])


def test_a_gain_that_only_one_group_has_shows_there(draw_runs) -> None:
    runs = draw_runs(lift=0.0, arms=("base", "enhanced"), users=120)
    lucky = {f"u{index}" for index in range(60)}
    improved = [
        replace(run, ranks=np.where([user in lucky for user in run.user_ids], 1.0, run.ranks))
        if run.arm == "enhanced"
        else run
        for run in runs
    ]
    groups = (
        UserGroup("toy", "lucky", "the first half", tuple(sorted(lucky))),
        UserGroup("toy", "others", "the other half", tuple(f"u{index}" for index in range(60, 120))),
    )
    report = build_report(improved, groups=groups, procedure=QUICK)
    rows = {(row.group, row.arm): row for row in report.groups}
    gain = rows["lucky", "enhanced"]
    assert gain.mean == 1.0
    assert gain.interval.low > 0
    assert rows["others", "enhanced"].difference == 0.0
    assert rows["others", "base"].difference is None
    others = [run for run in improved if run.arm == "base"]
    assert rows["others", "base"].mean == pytest.approx(
        np.mean([mean_of("ndcg@10", run.ranks[60:]) for run in others])
    )
    words = render_markdown(report)
    assert "by group of users" in words
    assert "| lucky | the first half | 60 |" in words


def test_arms_are_paired_with_the_seeds_that_both_have(draw_runs) -> None:
    """One more seed of an arm changes what it stands at, and not what it gains over another."""
    group = UserGroup("toy", "some", "a few", tuple(f"u{index}" for index in range(50)))
    runs = draw_runs(seeds=(1, 2, 3), arms=("base", "enhanced", "shuffled"))
    fewer = [run for run in runs if (run.arm, run.seed) != ("shuffled", 3)]
    report = build_report(fewer, groups=(group,), procedure=QUICK)
    of_two = build_report([run for run in runs if run.seed < 3], groups=(group,), procedure=QUICK)
    for found, expected in zip(report.groups, of_two.groups, strict=True):
        assert (found.group, found.arm) == (expected.group, expected.arm)
        if found.arm == "shuffled":
            assert (found.difference, found.interval) == (expected.difference, expected.interval)
    table, two = (
        {row[1]: row[3] for row in cost_table(one).rows} for one in (report, of_two)
    )  # arm to gain %
    assert table["shuffled"] == two["shuffled"]
    assert table["enhanced"] != two["enhanced"]
    (said,) = [words for words in report.sentences if "2 seeds" in words]
    assert said.startswith("Caution: 2 seeds of shuffled. ")


def test_the_order_of_runs_and_users_changes_no_group(draw_runs) -> None:
    runs = draw_runs(users=50)
    group = UserGroup("toy", "some", "a few", ("u3", "u1", "u7"))
    turned = [
        replace(run, user_ids=run.user_ids[::-1], ranks=run.ranks[::-1], other_ranks=run.other_ranks[::-1])
        for run in runs[::-1]
    ]
    first = build_report(runs, groups=(group,), procedure=QUICK).groups
    assert first == build_report(turned, groups=(group,), procedure=QUICK).groups


def test_everyone_stands_there_under_the_other_protocol(draw_runs) -> None:
    """A model that learnt nothing but not to repeat gains where seen items compete, and only there."""
    runs = draw_runs(lift=0.0, arms=("base", "enhanced"), users=120)
    base = next(run for run in runs if run.arm == "base")
    careful = [
        replace(
            run,
            ranks=base.ranks if run.arm == "enhanced" else base.ranks + 5,
            other_ranks=base.ranks,
        )
        for run in runs
    ]
    report = build_report(careful, procedure=QUICK)
    rows = {(row.group, row.words, row.arm): row for row in report.groups}
    left_out = rows[EVERYONE, "seen items left out", "enhanced"]
    assert left_out.difference == 0
    assert left_out.mean == pytest.approx(mean_of("ndcg@10", base.ranks))
    gain = next(c for c in report.comparisons if c.metric == "ndcg@10" and c.other == "base")
    assert gain.interval.low > 0
    assert "with seen items left out" in report.sentences[1]
    assert f": 0.0 % instead of {100 * gain.gain:+.1f} %" in report.sentences[1]
    turned = [replace(run, keep_seen=False) for run in careful]
    words = {row.words for row in build_report(turned, procedure=QUICK).groups}
    assert words == {"seen items kept"}
