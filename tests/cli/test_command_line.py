"""The command line as a whole: what every verb owes, start-up, errors and exit codes."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from cli_runs import NAME, QUICK, Command, Outcome, told_in_one_line

import llmrg.cli.app as application
from llmrg.cli.app import VERBS, run
from llmrg.cli.options import gather_overrides, split_numbers
from llmrg.cli.screen import Screen
from llmrg.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented_with_an_example_and_speaks_json(llmrg: Command, verb: str) -> None:
    shown = llmrg(verb, "--help")
    assert shown.code == 0
    example = shown.out.partition("Example:")[2]
    assert f"llmrg {verb}" in example.split("Options:")[0]
    assert "--json" in shown.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_and_argument_is_explained(verb: str) -> None:
    parameters = typer.main.get_command(application.app).commands[verb].params  # type: ignore[attr-defined]
    assert parameters
    assert [parameter.name for parameter in parameters if not parameter.help] == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_the_help_are_command_lines_the_verb_takes(llmrg: Command, verb: str) -> None:
    example = llmrg(verb, "--help").out.partition("Example:")[2].partition("\n\n")[0]
    lines = [line.split() for line in example.splitlines() if line.strip()]
    assert lines
    for words in lines:
        assert words[:2] == ["llmrg", verb]
        # `--help` at the end: parsed, not run
        assert llmrg(*words[1:], "--help").code == 0


def test_the_list_of_verbs_is_not_cut_short(llmrg: Command) -> None:
    shown = llmrg("--help")
    assert all(re.search(rf"^  {verb} +\S", shown.out, re.MULTILINE) for verb in VERBS)
    assert "..." not in shown.out.partition("Commands:")[2]
    assert llmrg().out == shown.out


def test_the_package_run_as_a_module_is_the_command_line() -> None:
    program = [sys.executable, "-m", "llmrg"]
    assert subprocess.run([*program, "--version"], capture_output=True, check=True).stdout.startswith(
        b"llmrg "
    )
    wrong = subprocess.run([*program, "nosuch"], capture_output=True, check=False, text=True)
    told_in_one_line(Outcome(wrong.returncode, wrong.stdout, wrong.stderr), "nosuch")


def test_help_starts_without_numpy_torch_or_recbole() -> None:
    program = (
        "import sys\nfrom llmrg.cli import main\nsys.argv = ['llmrg', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(*sorted({'numpy', 'torch', 'recbole', 'pandas', 'plotly', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()[-1].split()) <= {"pydantic"}


def test_the_version_is_told(llmrg: Command) -> None:
    import llmrg as package

    assert llmrg("--version").out == f"llmrg {package.__version__}\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("trian SASRec planted", ("trian",)),
        ("train SASRec", ("DATASET",)),
        ("train SASRec planted --epochs 0", ("--epochs",)),
        ("train SASRec planted --bogus", ("--bogus",)),
        ("generate planted --set llmrg.generation.windw=1", ("windw", "did you mean 'window'?")),
        ("generate planted --set llmrg.generation.window=none", ("llmrg.generation.window",)),
        ("generate planted --set time_field=t", ("time_field",)),
        ("generate planted --set epochs=3", ("epochs", "only these keys")),
        ("generate planted --set llmrg.generation.window", ("KEY=VALUE",)),
        ("generate planted --set eval_args.split=3", ("eval_args.split",)),
        ("generate planted --config absent.yaml", ("absent.yaml",)),
        ("generate nowhere", ("nowhere", "nowhere.inter")),
        ("compare SASRec nowhere", ("nowhere.inter",)),
        ("compare SASRec planted --arms base,enhnced", ("enhnced", "did you mean 'enhanced'?")),
        ("compare SASRec planted --seeds one", ("--seeds",)),
        ("compare SASRecLLMRG planted", ("SASRecLLMRG", "'enhanced'")),
        ("compare SASRec planted --set lerning_rate=1", ("lerning_rate", "did you mean 'learning_rate'?")),
        ("compare NoSuchModel planted", ("NoSuchModel",)),
        ("train NoSuchModel planted", ("NoSuchModel",)),
        ("compare FPMC planted", ("FPMC", "no enhanced form", "SASRec")),
        ("train FPMCLLMRG planted", ("FPMC", "no enhanced form", "SASRec")),
        ("view planted 3", ("planted", "llmrg generate planted")),
        ("status planted", ("planted",)),
        ("verify planted", ("planted",)),
        ("export planted out.jsonl", ("planted",)),
        ("import absent.jsonl there", ("absent.jsonl",)),
    ],
)
def test_a_user_error_is_one_line_and_exit_code_1(llmrg: Command, line: str, words: tuple[str, ...]) -> None:
    outcome = llmrg(*line.split())
    told_in_one_line(outcome, *words)
    assert len(outcome.err.splitlines()) == 1


def test_nothing_is_made_by_a_command_that_is_refused(llmrg: Command, room: Path) -> None:
    llmrg("compare", "SASRec", NAME, *QUICK, "--set", "lerning_rate=1")
    llmrg("generate", NAME, *QUICK, "--set", "llmrg.generation.windw=1")
    llmrg("import", "absent.jsonl", "there")
    assert list(room.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(llmrg: Command, graphs: Path, room: Path) -> None:
    (room / "file").write_text("in the way")
    told_in_one_line(llmrg("export", NAME, "file/out.jsonl"), "file")


@pytest.mark.parametrize(
    ("verb", "words"), [("generate", "what is finished is kept"), ("compare", "the graphs")]
)
def test_an_interruption_is_one_line_and_exit_code_130(
    llmrg: Command, monkeypatch: pytest.MonkeyPatch, verb: str, words: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("llmrg.job.reading.read_job", interrupted)
    monkeypatch.setattr(
        "llmrg.recbole_adapter.configuration.build_config",
        lambda *_, **__: {"epochs": 1, "valid_metric": "NDCG@10", "eval_step": 1, "llmrg": {}},
    )
    line = [verb, *(["SASRec"] if verb == "compare" else []), NAME]
    outcome = llmrg(*line)
    assert outcome.code == 130
    assert outcome.out == ""
    assert outcome.err.strip().startswith(f"interrupted; {words}")
    assert outcome.err.strip().endswith("run the same command again")
    assert len(outcome.err.strip().splitlines()) == 1


@pytest.mark.parametrize("words", ["Unable to allocate 3.64 TiB for an array", ""])
def test_no_memory_left_is_one_line(llmrg: Command, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError(*filter(None, [words]))

    monkeypatch.setattr("llmrg.job.reading.read_job", exhausted)
    outcome = llmrg("generate", NAME)
    told_in_one_line(outcome, "no memory left", words, "what is finished is kept")
    assert len(outcome.err.splitlines()) == 1


def test_a_fault_of_ours_is_not_dressed_up_as_a_user_error(
    monkeypatch: pytest.MonkeyPatch, room: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("llmrg.cli.status.known_stores", broken)
    with pytest.raises(ZeroDivisionError):
        run(["status"])


def test_the_reader_of_a_pipe_may_go_away(graphs: Path) -> None:
    command = [sys.executable, "-c", "from llmrg.cli import main; main()", "status", str(graphs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
    assert "Traceback" not in complaint
    assert "BrokenPipe" not in complaint


def test_set_reads_yaml_and_nests_ours_only() -> None:
    values = ["llmrg.text.encoder=hashing", "llmrg.generation.tau=0.1", "topk=[5, 10]", "eps=1e-12", "x="]
    assert gather_overrides(values, max_users=7) == {
        "llmrg": {"text": {"encoder": "hashing"}, "generation": {"tau": 0.1}, "training": {"max_users": 7}},
        "topk": [5, 10],
        "eps": 1e-12,
        "x": None,
    }


@pytest.mark.parametrize("text", ["a=[", "=1", "llmrg.generation", "data.path=x"])
def test_set_refuses_what_it_cannot_read(text: str) -> None:
    with pytest.raises(SettingsError):
        gather_overrides([text])


def test_a_section_given_a_value_cannot_hold_names_any_more() -> None:
    with pytest.raises(SettingsError, match="given a value before"):
        gather_overrides(["llmrg.generation=3", "llmrg.generation.window=1"])


def test_repeated_numbers_count_once() -> None:
    assert split_numbers("3, 1,3", "--seeds") == (3, 1)


def test_progress_off_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter([0.0, 1.0, 6.0, 6.1])
    screen = Screen(as_json=False, clock=lambda: next(moments))
    with screen.progress() as bars:
        for done in (1, 2, 3, 4):
            bars.update("users", done, 4, "fine")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["users: 1 of 4, fine", "users: 3 of 4, fine", "users: 4 of 4, fine"]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    screen = Screen(as_json=False)
    with screen.progress() as bars:
        bars.update("users [bold]", 1, 4, "fine")
        bars.finish("users [bold]", 4, "done")
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "users [bold]" in shown
    assert "━" in shown
    assert "4/4" in shown


def test_foreign_words_are_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False)
    screen.line("[red]a\nb\x1b[31m", before="  ")
    assert capsys.readouterr().out == "  [red]a b [31m\n"


def test_starting_costs_little() -> None:
    """Half a second is promised; three are allowed where other work shares the machine."""
    command = [sys.executable, "-c", "from llmrg.cli import main; main()", "--help"]
    started = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    assert time.perf_counter() - started < 3
    assert application.app.info.name == "llmrg"
