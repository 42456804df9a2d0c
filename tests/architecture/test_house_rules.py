"""The rules of the house that a program can read off the source: size, names, words, effects.

Each rule collects its offenders as ``path:line`` and expects none: a failure is a list of what to fix.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "llmrg"

MOST_LINES = 300
LONGER_BY_AGREEMENT: dict[str, str] = {}  # path → why it may be longer
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
USER_BOUNDARY = {"llmrg/reasoning/thinker.py"}  # where one user's failure becomes a recorded failure
GLOBAL_SEEDING = {  # path → why it must seed globally
    "llmrg/recbole_adapter/training.py": "RecBole's models draw their weights from global generators",
}
LOCAL_RANDOMNESS = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "BitGenerator", "Random"}
SEEDING_CALLS = {
    "manual_seed",
    "manual_seed_all",
    "set_rng_state",
    "init_seed",
    "seed_everything",
    "set_seed",
}

SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def nodes(*, outside: tuple[str, ...] = ()) -> Iterator[tuple[str, ast.AST]]:
    for path, tree in TREES.items():
        if not path.startswith(outside):
            for node in ast.walk(tree):
                yield path, node


def dotted(node: ast.AST) -> str:
    """``np.random.seed`` for such an expression; an empty string where it starts with a call."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def seeds_globally(name: str) -> bool:
    head, _, last = name.rpartition(".")
    if last in SEEDING_CALLS:
        return head in {"", "torch", "torch.random", "torch.cuda", "transformers", "recbole.utils"}
    return head in {"np.random", "numpy.random", "random"} and last not in LOCAL_RANDOMNESS


def global_seeding(tree: ast.AST) -> Iterator[int]:
    """Lines that touch a global generator, but for those inside ``with torch.random.fork_rng(...)``."""
    forked: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            entered = [item.context_expr for item in node.items]
            if any(isinstance(e, ast.Call) and dotted(e.func).endswith("fork_rng") for e in entered):
                forked.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in forked and seeds_globally(dotted(node.func)):
            yield node.lineno


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """Whether a handler swallows any exception; one that ends by raising it again only tidies up."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = any(kind is None or dotted(kind) in {"Exception", "BaseException"} for kind in caught)
    last = handler.body[-1]
    return broad and not (isinstance(last, ast.Raise) and last.exc is None)


def undocumented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Public functions and classes, and public methods of classes that inherit no contract."""
    for node in tree.body:
        if isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node.lineno, node.name
            if isinstance(node, ast.ClassDef) and not node.bases:
                for method in node.body:
                    if isinstance(
                        method, ast.FunctionDef | ast.AsyncFunctionDef
                    ) and not method.name.startswith("_"):
                        overload = any(
                            dotted(d) in {"overload", "typing.overload"} for d in method.decorator_list
                        )
                        setter = any(
                            isinstance(d, ast.Attribute) and d.attr == "setter" for d in method.decorator_list
                        )
                        if not ast.get_docstring(method) and not overload and not setter:
                            yield method.lineno, f"{node.name}.{method.name}"


def expect_none(offenders: list[str]) -> None:
    assert not offenders, "\n".join(["", *offenders])


def test_no_module_is_longer_than_a_room_may_be() -> None:
    lengths = {
        p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES
    }
    too_long = {path: n for path, n in lengths.items() if n > MOST_LINES and path not in LONGER_BY_AGREEMENT}
    expect_none([f"{path}: {n} lines, at most {MOST_LINES}" for path, n in too_long.items()])


def test_every_agreed_exception_is_still_needed() -> None:
    lengths = {
        p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES
    }
    expect_none([path for path in LONGER_BY_AGREEMENT if lengths.get(path, 0) <= MOST_LINES])
    expect_none(
        [path for path in GLOBAL_SEEDING if path not in TREES or not list(global_seeding(TREES[path]))]
    )


def test_no_module_has_a_name_that_says_nothing() -> None:
    words = {path: set(Path(path).with_suffix("").as_posix().replace("_", "/").split("/")) for path in TREES}
    expect_none([path for path, parts in words.items() if parts & FORBIDDEN_NAMES])


def test_every_module_says_what_it_is_for_and_then_what_it_promises() -> None:
    parts = {path: (ast.get_docstring(tree) or "").split("\n\n") for path, tree in TREES.items()}
    least = {path: 1 if path.endswith("__init__.py") else 2 for path in TREES}
    expect_none([path for path, found in parts.items() if not found[0] or len(found) < least[path]])


def test_everything_public_has_a_docstring() -> None:
    expect_none(
        [f"{path}:{line} {name}" for path, tree in TREES.items() for line, name in undocumented(tree)]
    )


def test_nothing_outside_the_command_line_prints() -> None:
    calls = ((path, node) for path, node in nodes(outside=("llmrg/cli/",)) if isinstance(node, ast.Call))
    expect_none([f"{path}:{node.lineno}" for path, node in calls if dotted(node.func) == "print"])


def test_only_the_user_boundary_of_the_offline_job_catches_everything() -> None:
    handlers = ((path, node) for path, node in nodes() if isinstance(node, ast.ExceptHandler))
    found = [(path, node.lineno) for path, node in handlers if catches_everything(node)]
    expect_none([f"{path}:{line}" for path, line in found if path not in USER_BOUNDARY])


def test_nothing_seeds_or_draws_from_a_global_generator() -> None:
    found = [(path, line) for path, tree in TREES.items() for line in global_seeding(tree)]
    expect_none([f"{path}:{line}" for path, line in found if path not in GLOBAL_SEEDING])


@pytest.mark.parametrize(
    ("source", "offends"),
    [
        ("np.random.seed(1)", True),
        ("random.shuffle(x)", True),
        ("torch.manual_seed(1)", True),
        ("init_seed(1, True)", True),
        ("np.random.default_rng(1)", False),
        ("random.Random(1)", False),
        ("generator.manual_seed(1)", False),
        ("rng.random.shuffle(x)", False),
        ("with torch.random.fork_rng():\n    torch.manual_seed(1)", False),
    ],
)
def test_the_seeding_rule_tells_global_from_local(source: str, offends: bool) -> None:
    assert bool(list(global_seeding(ast.parse(source)))) == offends


@pytest.mark.parametrize(
    ("handler", "offends"),
    [
        ("except Exception:\n    pass", True),
        ("except (ValueError, Exception):\n    pass", True),
        ("except:\n    pass", True),
        ("except BaseException:\n    tidy()\n    raise", False),
        ("except ValueError:\n    pass", False),
    ],
)
def test_the_catching_rule_tells_swallowing_from_tidying(handler: str, offends: bool) -> None:
    block = ast.parse(f"try:\n    work()\n{handler}").body[0]
    assert isinstance(block, ast.Try)
    assert catches_everything(block.handlers[0]) == offends


def test_every_setting_is_consumed_outside_the_room_that_declares_it() -> None:
    """Rule 12: a setting that no object reads is refused, not declared."""
    from llmrg.settings import LlmrgSettings

    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "settings.py"
    )
    for section, field in LlmrgSettings.model_fields.items():
        names = getattr(field.annotation, "model_fields", {section: field})
        for name in names:
            assert f".{name}" in code, f"llmrg.{section}.{name} is read nowhere"
