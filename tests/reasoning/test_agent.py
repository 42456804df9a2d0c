"""The agent: causality, budgets, and what it does with replies that are wrong."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_reasoning import ITEMS, think, toy_histories, toy_reasoner, toy_world

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReplyError
from llmrg.graph.checks import check_graph
from llmrg.graph.schema import NodeKind, Provenance, Relation
from llmrg.reasoners.reasoner import Reply
from llmrg.reasoners.tasks import (
    ChainedPayload,
    ChainedReply,
    DivergentReply,
    Extension,
    FillPayload,
    FillReply,
    FillVerdict,
    ImaginedItem,
    Link,
    Task,
    VerificationPayload,
)
from llmrg.reasoning.chained import Shown, chained_payload, link_contributions, thoughts_from, windows
from llmrg.reasoning.draft import Thought
from llmrg.reasoning.verification import masked, scores_of
from llmrg.settings import GenerationSettings

HISTORIES = toy_histories(users=40, length=14)
REASONER = toy_reasoner(HISTORIES)
WORLD = toy_world(REASONER)


class Scripted:
    """The embedded reasoner, with one task's replies replaced."""

    name = "scripted"
    fingerprint = "scripted"

    def __init__(self, task, change):
        self.task, self.change = task, change

    def scope(self, user_id):
        return REASONER.scope(user_id)

    def answer(self, request):
        reply = REASONER.answer(request)
        return replace(reply, parsed=self.change(reply.parsed)) if request.task is self.task else reply


@settings(max_examples=40)
@given(
    items=st.lists(st.sampled_from(ITEMS), min_size=8, max_size=24),
    more=st.integers(1, 8),
    window=st.integers(1, 5),
    every=st.integers(1, 3),
)
def test_a_longer_history_changes_nothing_before_a_closed_window(items, more, window, every):
    # the windows that the end of training and the end of the history close early are the exception
    recipe = GenerationSettings(window=window, divergent_every=every, knowledge=False)
    end = max(window, (len(items) - more) // window * window)
    short = UserHistory("u", tuple(items[: end + 1]), end)
    longer = UserHistory("u", tuple(items), max(end, len(items) - 1))
    graphs = [think(h, WORLD, REASONER, recipe).graph.before(end - end % window) for h in (short, longer)]
    due = end // window % every == 0
    if not due:  # the short history's last extension is one that the longer one never made
        graphs = [graph.before(end - window) for graph in graphs]
    assert graphs[0].nodes == graphs[1].nodes
    assert graphs[0].edges == graphs[1].edges


@settings(max_examples=25)
@given(
    items=st.lists(st.sampled_from(ITEMS), min_size=1, max_size=20),
    window=st.integers(1, 6),
    newest=st.none() | st.integers(2, 9),
)
def test_every_graph_passes_the_checks_and_no_prompt_sees_past_its_nodes(items, window, newest):
    history = UserHistory("u", tuple(items), max(0, len(items) - 1), attributes={"sex": ("F",)})
    shown = []
    graph = think(
        history,
        WORLD,
        REASONER,
        GenerationSettings(window=window, max_history=newest),
        watch=lambda q, a: shown.append(q),
    ).graph
    assert check_graph(replace(graph, history=history.fingerprint), history) == []
    newest_shown = {
        q.content_hash: max(i for i, item in enumerate(items) if item == q.payload.items[-1].item_id)
        for q in shown
        if not isinstance(q.payload, VerificationPayload)
    }
    for node in graph.nodes:
        if node.provenance is not None:
            assert node.position <= newest_shown[node.provenance.request]


def test_windows_close_at_multiples_and_at_the_end():
    assert windows(13, 5) == [(0, 5), (5, 10), (10, 13)]
    assert windows(1, 5) == [(0, 1)]
    assert windows(0, 5) == []


def asked_of(history, recipe, reasoner=REASONER):
    requests = []
    think(history, WORLD, reasoner, recipe, watch=lambda request, reply: requests.append(request))
    return requests


def test_ten_items_cost_four_requests_and_the_papers_way_three_an_item():
    for history in HISTORIES[:5]:
        ten = UserHistory(history.user_id, history.item_ids[:10], 9)
        assert len(asked_of(ten, GenerationSettings())) == 4
        paper = GenerationSettings(window=1, joint_extension=False, divergent_every=100)
        tasks = [request.task for request in asked_of(ten, paper)]
        assert tasks.count(Task.CHAINED_REASONING) == 10
        assert tasks.count(Task.DIVERGENT_EXTENSION) == 1


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        ({}, {Task.CHAINED_REASONING, Task.SELF_VERIFICATION}),
        (
            {"joint_extension": False},
            {Task.CHAINED_REASONING, Task.DIVERGENT_EXTENSION, Task.SELF_VERIFICATION},
        ),
        ({"verification": "free"}, {Task.CHAINED_REASONING, Task.FREE_FILL}),
        ({"verify": False, "tau": 0.0}, {Task.CHAINED_REASONING}),
    ],
)
def test_settings_decide_which_questions_are_asked(changes, tasks):
    assert {request.task for request in asked_of(HISTORIES[0], GenerationSettings(**changes))} == tasks


def test_one_call_or_two_imagine_equally_many_items():
    def imagined(joint):
        graph = think(HISTORIES[1], WORLD, REASONER, GenerationSettings(joint_extension=joint)).graph
        return [node.position for node in graph.nodes if node.kind is NodeKind.IMAGINED_ITEM]

    assert imagined(True) == imagined(False)


def test_links_that_verification_rejects_are_asked_about_once_more_where_that_is_wanted():
    backwards = Scripted(
        Task.SELF_VERIFICATION,
        lambda parsed: parsed.model_copy(
            update={"verdicts": [v.model_copy(update={"ranking": v.ranking[::-1]}) for v in parsed.verdicts]}
        ),
    )
    once = asked_of(HISTORIES[0], GenerationSettings(), backwards)
    again = asked_of(HISTORIES[0], GenerationSettings(recalibrate=True), backwards)
    second = [request.payload for request in again if request.payload not in [r.payload for r in once]]
    asked = [payload for payload in second if isinstance(payload, ChainedPayload) and payload.rejected]
    assert asked
    for payload in asked:
        assert payload.extend == 0
        assert set(payload.rejected)


def test_a_free_fill_scores_the_titles_named_by_how_near_they_come():
    history = HISTORIES[0]
    claims = [Thought("a reason", 4, (p, p + 1), {p + 1: (p,)}, Provenance("request")) for p in (0, 2)]
    question = masked(history, WORLD, Shown(0, 5), claims, [], GenerationSettings(verification="free"))
    hidden = [WORLD.shown(history.item_ids[p]).title for p in (0, 2)]
    assert isinstance(question.payload, FillPayload)
    assert not {item.title for item in question.payload.items} & set(hidden)
    assert all(mask.options == () for mask in question.payload.masks)

    def scores(titles):
        verdicts = [
            FillVerdict(mask=at, reasoning="", titles=[title]) for at, title in enumerate(titles) if title
        ]
        return scores_of(question, FillReply(verdicts=verdicts), WORLD)

    assert scores(hidden) == ([1.0, 1.0], [])
    found, problems = scores(["quantum chromodynamics", ""])
    assert found[0] < 1
    assert found[1] == 0
    assert problems == ["mask 1 has no verdict"]


def test_a_reply_of_no_use_leaves_its_window_without_reasons_and_a_note():
    class Moody(Scripted):
        calls = 0

        def answer(self, request):
            self.calls += request.task is Task.CHAINED_REASONING
            if self.calls == 1 and request.task is Task.CHAINED_REASONING:
                raise ReplyError("nothing to be understood")
            return REASONER.answer(request)

    reasoned = think(HISTORIES[0], WORLD, Moody(None, None), GenerationSettings())
    assert [problem.message for problem in reasoned.problems] == ["nothing to be understood"]
    reasons = [node for node in reasoned.graph.nodes if node.kind is NodeKind.REASON]
    assert reasons
    assert min(node.position for node in reasons) >= 5
    assert check_graph(reasoned.graph, HISTORIES[0]) == []


def test_a_user_of_whom_no_reply_was_of_use_fails():
    class Mute(Scripted):
        def answer(self, request):
            raise ReplyError("nothing to be understood")

    with pytest.raises(ReplyError, match="nothing to be understood"):
        think(HISTORIES[0], WORLD, Mute(None, None), GenerationSettings())


def test_a_history_of_one_item_gets_a_graph_with_imagined_items():
    graph = think(UserHistory("u", ("i3",), 1), WORLD, REASONER, GenerationSettings()).graph
    kinds = [node.kind for node in graph.nodes]
    assert kinds.count(NodeKind.ITEM) == 1
    assert NodeKind.IMAGINED_ITEM in kinds


def test_no_item_is_imagined_twice_in_one_call_nor_known_already():
    for history in HISTORIES[:8]:
        graph = think(history, WORLD, REASONER, GenerationSettings()).graph
        by_position = {}
        for node in graph.nodes:
            if node.kind is NodeKind.IMAGINED_ITEM:
                assert node.item_id not in history.item_ids[: node.position + 1]
                by_position.setdefault(node.position, []).append(node.item_id)
        assert all(len(set(found)) == len(found) for found in by_position.values())


def test_a_hidden_endpoint_is_not_among_the_shown_items():
    def watch(request, reply):
        if not isinstance(request.payload, VerificationPayload):
            return
        shown = {item.item_id for item in request.payload.items}
        for mask in request.payload.masks:
            options = {option.item_id for option in mask.options}
            assert len(options) == len(mask.options)
            assert not options & shown

    for history in HISTORIES[:8]:
        think(history, WORLD, REASONER, GenerationSettings(), watch=watch)


def test_rejected_claims_stay_in_the_graph_with_their_score():
    backwards = Scripted(
        Task.SELF_VERIFICATION,
        lambda parsed: parsed.model_copy(
            update={"verdicts": [v.model_copy(update={"ranking": v.ranking[::-1]}) for v in parsed.verdicts]}
        ),
    )
    graph = think(HISTORIES[0], WORLD, backwards, GenerationSettings()).graph
    straight = think(HISTORIES[0], WORLD, REASONER, GenerationSettings()).graph
    assert len(graph.rejected) > len(straight.rejected)
    assert all(node.score < graph.tau for node in graph.rejected)


def test_a_chain_citing_an_unseen_item_is_left_out_and_noted():
    def dangling(parsed):
        first, *rest = parsed.links
        return parsed.model_copy(update={"links": [first.model_copy(update={"sources": [999]}), *rest]})

    reasoned = think(HISTORIES[0], WORLD, Scripted(Task.CHAINED_REASONING, dangling), GenerationSettings())
    assert any("sources [999]" in problem.message for problem in reasoned.problems)
    assert {problem.task for problem in reasoned.problems} == {Task.CHAINED_REASONING}
    assert check_graph(reasoned.graph, HISTORIES[0]) == []


def test_links_that_say_the_same_share_one_reason():
    def alike(parsed):
        links = [link.model_copy(update={"reason": "one theme"}) for link in parsed.links]
        return parsed.model_copy(update={"links": links})

    graph = think(HISTORIES[0], WORLD, Scripted(Task.CHAINED_REASONING, alike), GenerationSettings()).graph
    reasons = [node for node in graph.nodes if node.label == "one theme"]
    assert len(reasons) == len(windows(14, 5))


def test_user_attributes_support_a_reason_only_where_the_reply_cites_them():
    from llmrg.reasoning.agent import Asker, reason_about

    def graph_of(change):
        reasoner = Scripted(Task.CHAINED_REASONING, change)
        asker = Asker(scope=reasoner.scope("u0"), attributes=("sex=F",))
        thinking = reason_about(HISTORIES[0], WORLD, GenerationSettings(), None, asker)
        try:
            request = next(thinking)
            while True:
                request = thinking.send(reasoner.answer(request))
        except StopIteration as end:
            return end.value.graph

    def citing(parsed):
        links = [link.model_copy(update={"attributes": [0]}) for link in parsed.links]
        return parsed.model_copy(update={"links": links})

    silent, cited = graph_of(lambda parsed: parsed), graph_of(citing)
    assert [node.key for node in silent.nodes[:1]] == ["attribute:sex=F"]
    assert not any(edge.source == "attribute:sex=F" for edge in silent.edges)
    assert any(
        edge.source == "attribute:sex=F" and edge.relation is Relation.SUPPORTS for edge in cited.edges
    )


def test_an_imagined_item_without_a_near_title_stays_as_text():
    def invented(parsed):
        item = ImaginedItem(title="quantum chromodynamics", score=50)
        return DivergentReply(
            extensions=[Extension(item=e.item, reason="far away", items=[item]) for e in parsed.extensions]
        )

    recipe = GenerationSettings(joint_extension=False)
    reasoned = think(HISTORIES[0], WORLD, Scripted(Task.DIVERGENT_EXTENSION, invented), recipe)
    imagined = [node for node in reasoned.graph.nodes if node.kind is NodeKind.IMAGINED_ITEM]
    assert imagined
    assert all(node.item_id is None and node.label == "quantum chromodynamics" for node in imagined)
    # nothing to hide: a guess, and a plausibility of 50
    assert {node.score for node in imagined} == {0.5}
    assert any(node.label == "far away" for node in reasoned.graph.nodes)
    assert check_graph(reasoned.graph, HISTORIES[0]) == []


def test_a_reply_to_another_task_is_refused():
    wrong = Scripted(Task.CHAINED_REASONING, lambda parsed: DivergentReply(extensions=[]))
    with pytest.raises(ReplyError, match="mixed up"):
        think(HISTORIES[0], WORLD, wrong, GenerationSettings())


def test_an_empty_reply_leaves_a_note_for_every_item():
    silent = Scripted(Task.CHAINED_REASONING, lambda parsed: ChainedReply(links=[], extensions=[]))
    reasoned = think(HISTORIES[0], WORLD, silent, GenerationSettings())
    assert sum("has no link" in problem.message for problem in reasoned.problems) == len(HISTORIES[0])


def test_a_link_keeps_its_own_words_and_sources():
    def one(parsed):
        return ChainedReply(
            links=[
                Link(
                    item=link.item,
                    reason=f"because {link.item}",
                    sources=[link.item - 1] if link.item else [],
                    attributes=[],
                    earlier_reasons=[],
                    relation="none",
                )
                for link in parsed.links
            ],
            extensions=[],
        )

    graph = think(
        HISTORIES[0], WORLD, Scripted(Task.CHAINED_REASONING, one), GenerationSettings(window=5)
    ).graph
    reason = next(n for n in graph.nodes if n.label == "because 3" and n.position == 4)
    assert [(node.key, relation) for node, relation in graph.incoming(reason.key)] == [
        ("item:2", Relation.SUPPORTS),
        ("item:3", Relation.SUPPORTS),
    ]


def test_replies_are_values():
    nothing = {"links": [], "extensions": []}
    assert Reply(ChainedReply(**nothing)) == Reply(ChainedReply(**nothing))


def test_an_item_that_is_hidden_is_shown_at_no_other_position():
    a, b, c = HISTORIES[0].item_ids[:3]
    history = UserHistory("twice", (a, b, a, c), 4)
    claim = Thought("a reason", 3, (0, 3), {3: (0,)}, Provenance("request"))
    question = masked(history, WORLD, Shown(0, 4), [claim], [], GenerationSettings())
    assert [item.title for item in question.payload.items] == [WORLD.shown(item).title for item in (b, c)]
    assert question.options[0][question.truth[0]] == WORLD.shown(a)


def test_a_reason_of_several_items_teaches_of_each_what_was_said_of_it():
    items = HISTORIES[0].item_ids[:6]
    shown, words = Shown(0, 6), "often taken together"

    def lessons(*links):
        new = tuple(sorted(item for item, _ in links))
        payload = chained_payload(UserHistory("u", items, 6), WORLD, shown, new, (), ())
        reply = ChainedReply(
            links=[
                Link(
                    item=item,
                    sources=list(sources),
                    attributes=[],
                    earlier_reasons=[],
                    relation="none",
                    reason=words,
                )
                for item, sources in links
            ],
            extensions=[],
        )
        (thought,), problems = thoughts_from(payload, reply, shown, (), Provenance("request"))
        assert problems == []
        exact = [one for one in link_contributions(items, WORLD, thought) if one.key.startswith("link:")]
        return thought.links, [one.key for one in exact]

    def link(source, target):
        return f"link:{items[source]}->{items[target]}"

    # two that start something: neither followed from the other
    assert lessons((3, []), (5, [])) == (False, [])
    assert lessons((3, [1]), (5, [])) == (True, [link(1, 3)])
    assert lessons((3, [1]), (5, [3])) == (True, [link(1, 3), link(3, 5)])
    assert lessons((1, []), (3, [1])) == (True, [link(1, 3)])
