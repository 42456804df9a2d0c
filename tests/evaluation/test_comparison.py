"""Reports: what they conclude, what they refuse to conclude, and what survives the disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llmrg.errors import DataError
from llmrg.evaluation.comparison import ComparisonReport, Environment, Procedure, RunResult, build_report
from llmrg.evaluation.metrics import METRICS, mean_of

QUICK = Procedure(resamples=300)


def report(runs, **more) -> ComparisonReport:
    return build_report(runs, procedure=QUICK, **more)


def find(found: ComparisonReport, other: str, metric: str = "ndcg@10"):
    (one,) = [c for c in found.comparisons if c.other == other and c.metric == metric]
    return one


def test_a_planted_gain_is_found_and_said(draw_runs) -> None:
    found = report(draw_runs(lift=0.3))
    gain = find(found, "base")
    assert gain.verdict == "wins"
    assert gain.gain_interval.low > 0
    assert gain.gain_interval.low < gain.gain < gain.gain_interval.high
    assert "SASRec on toy: enhanced beats base by" in found.sentences[0]
    assert "after Holm" in found.sentences[0]


def test_no_gain_is_not_called_one(draw_runs) -> None:
    # the same ranks dealt to other users: as good on the whole, different for each
    dealt = [replace(run, ranks=run.ranks[::-1]) if run.arm == "base" else run for run in draw_runs(lift=0)]
    found = report([run for run in dealt if run.arm in ("base", "enhanced")])
    assert find(found, "base").p > 0.5
    assert "no difference shown between enhanced and base: 0.0 % NDCG@10 [−" in found.sentences[0]
    assert not any("beats" in sentence for sentence in found.sentences)


def test_equal_ranks_are_called_equal(draw_runs) -> None:
    found = report(draw_runs(lift=0.0, arms=("base", "enhanced")))
    assert find(found, "base").p == 1.0
    assert "enhanced and base give every user the same NDCG@10" in found.sentences[0]


def test_a_loss_is_called_a_loss(draw_runs) -> None:
    names = {"base": "enhanced", "enhanced": "base"}
    swapped = [replace(run, arm=names[run.arm]) for run in draw_runs(lift=0.4, arms=("base", "enhanced"))]
    found = report(swapped)
    assert find(found, "base").verdict == "loses"
    assert "enhanced loses to base: −" in found.sentences[0]


def test_a_gain_that_a_control_shares_is_not_credited_to_the_graphs(draw_runs) -> None:
    runs = draw_runs(lift=0.3, arms=("base", "enhanced"))
    runs += [replace(run, arm="shuffled") for run in runs if run.arm == "enhanced"]
    found = report(runs)
    assert any("not shown to beat shuffled" in sentence for sentence in found.sentences)


def test_a_gain_that_plain_neighbours_share_is_not_credited_to_reasoning(draw_runs) -> None:
    runs = draw_runs(lift=0.3, arms=("base", "enhanced", "shuffled"))
    runs += [replace(run, arm="neighbours") for run in runs if run.arm == "enhanced"]
    found = report(runs)
    assert any(
        "cannot be credited to reasoning: enhanced is not shown to beat neighbours in NDCG@10." in sentence
        for sentence in found.sentences
    )


def test_a_gain_without_any_control_is_not_credited_either(draw_runs) -> None:
    found = report(draw_runs(lift=0.3, arms=("base", "enhanced")))
    assert any("no control arm was run" in sentence for sentence in found.sentences)


def test_the_table_is_mean_and_deviation_over_seeds(draw_runs) -> None:
    runs = draw_runs(seeds=(1, 2, 3))
    row = report(runs).row("toy", "SASRec", "base", "hr@10")
    means = [mean_of("hr@10", run.ranks) for run in runs if run.arm == "base"]
    assert row.seeds == (1, 2, 3)
    assert row.mean == pytest.approx(np.mean(means))
    assert row.sd == pytest.approx(np.std(means, ddof=1))
    assert row.interval.low < row.mean < row.interval.high
    assert report(draw_runs(seeds=(1,))).row("toy", "SASRec", "base", "hr@10").sd is None


def test_the_order_of_runs_and_of_users_changes_no_figure(draw_runs) -> None:
    runs = draw_runs()
    mixed = []
    for index, run in enumerate(reversed(runs)):
        order = np.random.default_rng(index).permutation(len(run.user_ids))
        users = tuple(run.user_ids[place] for place in order)
        turned = {"ranks": run.ranks[order], "other_ranks": run.other_ranks[order]}
        mixed.append(replace(run, user_ids=users, **turned))
    assert report(mixed).to_document() == report(runs).to_document()


def test_another_model_changes_only_the_corrected_p_values(draw_runs) -> None:
    alone = report(draw_runs(lift=0.05))
    beside = report(draw_runs(lift=0.05) + draw_runs(lift=0.0, model="GRU4Rec"))
    kept = [c for c in beside.comparisons if c.model == "SASRec"]
    free = [replace(c, p_holm=1.0, verdict="no difference shown") for c in kept]
    assert free == [replace(c, p_holm=1.0, verdict="no difference shown") for c in alone.comparisons]
    assert all(new.p_holm >= old.p_holm for new, old in zip(kept, alone.comparisons, strict=True))
    assert [row for row in beside.rows if row.model == "SASRec"] == list(alone.rows)


def test_holm_runs_over_metrics_arms_and_models(draw_runs) -> None:
    found = report(draw_runs() + draw_runs(model="GRU4Rec"))
    assert len(found.comparisons) == len(METRICS) * 2 * 2  # base and shuffled, of two models
    smallest = min(found.comparisons, key=lambda c: c.p)
    assert smallest.p_holm == pytest.approx(min(1.0, smallest.p * len(found.comparisons)))


def test_the_empty_arm_must_equal_the_base_and_the_report_says_whether_it_does(draw_runs) -> None:
    runs = draw_runs()
    (check,) = report(runs).identities
    assert check.users_differing == 0
    broken = [replace(run, ranks=run.ranks + (run.arm == "empty")) for run in runs]
    found = report(broken)
    assert found.identities[0].users_differing == 200
    assert any("It must not" in sentence for sentence in found.sentences)


def test_an_empty_arm_that_differs_is_a_fault_on_a_processor_and_may_be_none_on_an_accelerator(
    draw_runs,
) -> None:
    runs = [
        replace(run, ranks=np.where(np.arange(len(run.ranks)) < 3, 9.0, run.ranks))
        if run.arm == "empty"
        else run
        for run in draw_runs()
    ]
    for device, words in (
        ("CPU", "It must not: the wrapper itself changes the model"),
        ("", "It must not"),
        ("NVIDIA H100", "On NVIDIA H100 sums come in no fixed order"),
    ):
        found = build_report(runs, environment=Environment(device=device), procedure=QUICK)
        (said,) = [sentence for sentence in found.sentences if "ranks the target of" in sentence]
        assert words in said


def test_the_empty_arm_costs_the_others_no_significance(draw_runs) -> None:
    with_it = report(draw_runs(lift=0.05, arms=("base", "enhanced", "shuffled", "empty")))
    without = report(draw_runs(lift=0.05, arms=("base", "enhanced", "shuffled")))
    assert with_it.comparisons == without.comparisons
    alone = report(draw_runs(arms=("enhanced", "empty")))  # no base: it stands for it
    assert {c.other for c in alone.comparisons} == {"empty"}


def test_a_difference_that_seeds_do_not_agree_on_is_cautioned_against(draw_runs) -> None:
    lucky = draw_runs(lift=0.9, users=400, seeds=(1, 2), arms=("base", "enhanced"))
    same = [
        replace(run, ranks=next(r.ranks for r in lucky if (r.arm, r.seed) == ("base", run.seed)))
        if (run.arm, run.seed) == ("enhanced", 2)
        else run
        for run in lucky
    ]
    steady, shaky = report(lucky), report(same)
    assert not any("luck of training may explain" in words for words in steady.sentences)
    assert next(c for c in shaky.comparisons if c.metric == "ndcg@10").verdict == "wins"
    (said,) = [words for words in shaky.sentences if "luck of training may explain" in words]
    assert "differs from base (+0." in said
    assert ", 0.0000; t-test over seeds: p = 0.5)" in said
    assert all(c.seed_p is None for c in report(draw_runs(seeds=(1,))).comparisons)


def test_few_seeds_and_unfinished_training_are_cautioned_against(draw_runs) -> None:
    runs = [replace(run, cut_off=True) for run in draw_runs(seeds=(1,))]
    text = " ".join(report(runs).sentences)
    assert "one seed per arm" in text
    assert "training of every arm of SASRec on toy ended at the most epochs allowed" in text
    runs = [replace(run, cut_off=run.arm == "base" and run.seed == 1) for run in draw_runs(seeds=range(5))]
    (caution,) = [sentence for sentence in report(runs).sentences if "Caution" in sentence]
    assert "training of base (1 of 5 runs) of SASRec" in caution
    text = " ".join(report(draw_runs(seeds=range(5))).sentences)
    assert "Caution" not in text


def test_untrained_rows_stand_in_the_table_and_in_no_comparison(draw_runs) -> None:
    popularity = RunResult("baseline", "Popularity", "toy", 0, ("u0", "u1"), np.array([1.0, 20.0]))
    found = report([popularity, *draw_runs()])
    assert found.row("toy", "Popularity", "baseline", "hr@10").mean == 0.5
    assert {c.model for c in found.comparisons} == {"SASRec"}
    assert found.rows[-1].model == "Popularity"


def test_a_run_without_an_enhanced_arm_compares_nothing_and_says_so(draw_runs) -> None:
    found = report(draw_runs(arms=("base",)))
    assert found.comparisons == ()
    assert "nothing was compared" in found.sentences[0]


def test_a_reference_at_zero_has_an_absolute_difference_and_no_gain() -> None:
    users = tuple(f"u{index}" for index in range(30))
    runs = [
        RunResult("base", "M", "toy", 1, users, np.full(30, 50.0)),
        RunResult("enhanced", "M", "toy", 1, users, np.full(30, 3.0)),
    ]
    found = report(runs)
    assert find(found, "base").gain is None
    assert "beats base by 0.5000 NDCG@10" in found.sentences[0]


def test_arms_with_other_users_are_refused(draw_runs) -> None:
    runs = draw_runs()
    runs[1] = replace(runs[1], user_ids=("stranger", *runs[1].user_ids[1:]))
    with pytest.raises(DataError, match="evaluate all arms on the same users"):
        report(runs)


def test_the_same_run_twice_is_refused(draw_runs) -> None:
    runs = draw_runs()
    with pytest.raises(DataError, match="twice"):
        report([*runs, runs[0]])


def test_arms_without_a_common_seed_are_refused(draw_runs) -> None:
    runs = draw_runs(seeds=(1,), arms=("base",)) + draw_runs(seeds=(2,), arms=("enhanced",))
    with pytest.raises(DataError, match="same seeds"):
        report(runs)


def test_only_common_seeds_are_compared(draw_runs) -> None:
    runs = draw_runs(seeds=(1, 2), arms=("base",)) + draw_runs(seeds=(2, 3), arms=("enhanced",))
    assert find(report(runs), "base").seeds == (2,)


def test_nothing_to_report_is_an_error() -> None:
    with pytest.raises(DataError, match="found none"):
        build_report([])


@pytest.mark.parametrize(
    ("users", "ranks"), [(("a",), [1.0, 2.0]), (("a", "a"), [1.0, 2.0]), (("a", "b"), [1.0, 0.0])]
)
def test_a_run_that_does_not_fit_itself_is_refused(users, ranks) -> None:
    with pytest.raises(DataError):
        RunResult("base", "M", "toy", 1, users, np.array(ranks))


def test_a_report_survives_json_and_its_ranks_survive_the_archive(
    draw_runs, environment, costs, tmp_path: Path
) -> None:
    runs = draw_runs()
    runs[0] = replace(runs[0], curve=((1, 1.0, float("nan"), None),))
    found = report(runs, environment=environment, costs=costs)
    text = json.dumps(found.to_document(), allow_nan=False)
    assert 'ranks"' not in text
    assert '"u17"' not in text
    path = tmp_path / "ranks.npz"
    found.save_ranks(path)
    again = ComparisonReport.from_document(json.loads(text), ranks=path)
    assert again.to_document() == found.to_document()
    assert again.comparisons == found.comparisons
    for old, new in zip(found.runs, again.runs, strict=True):
        assert old.user_ids == new.user_ids
        np.testing.assert_array_equal(old.ranks, new.ranks)
        np.testing.assert_array_equal(old.other_ranks, new.other_ranks)
    assert len(ComparisonReport.from_document(json.loads(text)).runs[0].ranks) == 0


def test_runs_of_two_protocols_are_not_compared(draw_runs) -> None:
    mixed = [replace(run, keep_seen=run.arm != "enhanced") for run in draw_runs()]
    with pytest.raises(DataError, match="expected one protocol"):
        report(mixed)
    left_out = report([replace(run, keep_seen=False) for run in mixed])
    assert any("left out of the ranking" in line for line in left_out.environment.protocol)
    assert not any("left out of the ranking" in line for line in report(draw_runs()).environment.protocol)


def test_a_broken_document_or_archive_is_refused(draw_runs, tmp_path: Path) -> None:
    document = report(draw_runs()).to_document()
    with pytest.raises(DataError, match="document_version"):
        ComparisonReport.from_document({**document, "document_version": 99})
    with pytest.raises(DataError, match="rows"):
        ComparisonReport.from_document({name: part for name, part in document.items() if name != "rows"})
    with pytest.raises(DataError, match="seed"):
        ComparisonReport.from_document({**document, "procedure": {"seed": "often"}})
    path = tmp_path / "ranks.npz"
    path.write_bytes(b"PK no archive")
    with pytest.raises(DataError, match="ranks of 8 runs"):
        ComparisonReport.from_document(document, ranks=path)


def test_a_report_of_many_tests_draws_enough_signs_for_one_of_them_to_be_shown(draw_runs) -> None:
    few = draw_runs(arms=("base", "enhanced"))
    assert report(few).procedure.permutations == Procedure().permutations
    many = [replace(run, model=f"M{number}") for number in range(12) for run in few]
    found = build_report(many, procedure=Procedure(resamples=10, permutations=10))
    assert found.procedure.permutations == 100 * 12 * len(METRICS)
    assert 1 / (found.procedure.permutations + 1) * len(found.comparisons) < 0.01
