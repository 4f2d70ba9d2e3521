"""The documentation holds what it says: marked examples run, every `lc` line parses, the example plug-ins work."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer.main
import yaml

from landcover_cli.cli.app import app
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"^(?P<mark><!-- run -->\n)?```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.M | re.S
)
INLINE = re.compile(r"`(lc [^`\n]*(?:\n[^`\n]+)?)`")
CHAIN = {"preprocess", "composite", "labels", "tile", "train", "predict", "assess", "report"}
"""Pages whose examples build on each other, in the order of the navigation."""


def nav_pages() -> list[str]:
    """Pages in the order of the navigation."""

    def walk(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for item in entry.values() if isinstance(entry, dict) else entry:
                yield from walk(item)

    return list(walk(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))


def blocks(page: Path, language: str) -> list[re.Match[str]]:
    return [found for found in FENCE.finditer(page.read_text(encoding="utf-8")) if found["language"] == language]


def marked() -> dict[str, list[str]]:
    """Page → its blocks that are marked to be run."""
    found = {name: [b["text"] for b in blocks(DOCS / name, "bash") if b["mark"]] for name in nav_pages()}
    return {name: texts for name, texts in found.items() if texts}


# --- every command line parses ----------------------------------------------------------------------------------------


def command_lines(text: str) -> Iterator[str]:
    """Lines of a shell text, or inline code, that call `lc`."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        for part in re.split(r"&&|\|\||;|\|", line):
            words = part.split("#")[0].strip()
            if words == "lc" or words.startswith("lc "):
                yield words


def all_command_lines() -> list[tuple[str, str]]:
    pages = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        name = str(page.relative_to(ROOT))
        for block in FENCE.finditer(text):
            if block["language"] in {"bash", "text", "console", "sh"}:
                found += [(name, line) for line in command_lines(block["text"])]
        for code in INLINE.findall(FENCE.sub("", text)):
            found += [(name, line) for line in command_lines(code.replace("\n", " "))]
    for page in sorted((ROOT / "examples").glob("*.yaml")):
        comments = re.findall(r"^#\s+(lc .*)$", page.read_text(encoding="utf-8"), re.M)
        found += [(page.name, line) for text in comments for line in command_lines(text)]
    return sorted(set(found))


def problem_of(line: str) -> str:
    """What `lc --help` and the commands' help know nothing of in a line; empty if nothing."""
    words = [word for word in shlex.split(line)[1:] if word not in {"…", "..."}]
    command: Any = typer.main.get_command(app)
    while True:
        options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
        options |= dict.fromkeys(command.context_settings.get("help_option_names", ["-h", "--help"]))
        position = 0
        while position < len(words) and words[position].startswith("-"):
            name, equals, _ = words[position].partition("=")
            if name not in options:
                return f"no option {name}"
            option = options[name]
            position += 1 if option is None or option.is_flag or equals else 2
        rest = words[position:]
        children = getattr(command, "commands", None)
        if children is None:
            break
        if not rest:
            return ""
        if rest[0] not in children:
            return f"no command {rest[0]}"
        command, words = children[rest[0]], rest[1:]
    unknown = [w.partition("=")[0] for w in rest if re.match(r"-[A-Za-z-]", w) and w.partition("=")[0] not in options]
    return f"no option {unknown[0]}" if unknown else ""


@pytest.mark.parametrize(("page", "line"), all_command_lines())
def test_every_command_line_uses_what_exists(page: str, line: str) -> None:
    assert problem_of(line) == "", f"{page}: {line}"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("lc run pipeline.yaml --untill map", "no option --untill"),
        ("lc runn pipeline.yaml", "no command runn"),
        ("lc run -q pipeline.yaml", "no option -q"),
        ("lc preprocess s3 x", "no command s3"),
        ("lc -q run p.yaml --set train.epochs=5", ""),
        ("lc config schema", ""),
    ],
)
def test_a_wrong_command_line_is_found(line: str, problem: str) -> None:
    assert problem_of(line) == problem


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(nav_pages()) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_every_command_has_a_page() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    missing = [
        name
        for name in typer.main.get_command(app).commands
        if f"## `lc {name}" not in text and f"`lc {name}" not in text
    ]  # type: ignore[attr-defined]
    assert not missing


# --- marked examples run ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `lc` and `python` are those that run the tests, on one thread."""
    tools = tmp_path_factory.mktemp("bin")
    for name, start in {"lc": "-c 'from landcover_cli.cli.main import main; main()'", "python": ""}.items():
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" {start} "$@"\n', encoding="utf-8")
        tool.chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from landcover_cli.demo.generate import generate

    return generate(tmp_path_factory.mktemp("docs") / "lc-demo", size="tiny", seed=7).root


def run_blocks(page: str, folder: Path, env: dict[str, str]) -> None:
    for text in marked()[page]:
        done = subprocess.run(
            ["bash", "-eu", "-c", text], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"docs/{page}:\n{text}\n{done.stdout}{done.stderr}"


def test_the_pages_of_the_chain_run_one_after_the_other(demo_folder: Path, shell: dict[str, str]) -> None:
    chain = [page for page in marked() if page.removesuffix(".md") in CHAIN]
    assert {page.removesuffix(".md") for page in chain} == CHAIN
    for page in chain:
        run_blocks(page, demo_folder, shell)
    assert (demo_folder / "report.html").is_file()
    _step_example_runs(demo_folder)


@pytest.mark.parametrize("page", [page for page in marked() if page.removesuffix(".md") not in CHAIN])
def test_the_examples_of_a_page_run(page: str, demo_folder: Path, shell: dict[str, str]) -> None:
    run_blocks(page, demo_folder, shell)


def test_a_failing_example_is_found(tmp_path: Path, shell: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "marked", lambda: {"x.md": ["lc plugins nothing\necho on"]})
    with pytest.raises(AssertionError, match="unknown kind of plug-in 'nothing'"):
        run_blocks("x.md", tmp_path, shell)


# --- example plug-ins -------------------------------------------------------------------------------------------------


def plugin_files() -> dict[str, str]:
    page = DOCS / "plugins.md"
    return {b["title"]: b["text"] for b in (*blocks(page, "python"), *blocks(page, "toml")) if b["title"]}


def test_the_example_plugins_keep_the_contracts(tmp_path: Path) -> None:
    files = plugin_files()
    project = tomllib.loads(files["pyproject.toml"])["project"]
    for name, text in files.items():
        if name.startswith("lc_extras/"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
    # What an installer would leave: the entry points beside the package.
    about = tmp_path / f"lc_extras-{project['version']}.dist-info"
    about.mkdir()
    about.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    groups = project["entry-points"].items()
    lines = [line for group, names in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in names.items()))]
    about.joinpath("entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = [name for _, entries in groups for name in entries]
    assert len(names) == len({stem for stem in files if stem.startswith("lc_extras/")})
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/contract",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        " or ".join(names),
    ]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 5 * len(names), done.stdout[-1000:]


def _step_example_runs(folder: Path) -> None:
    """The example step lays out a unit per map and counts the pixels of the map that the chain made."""
    (name,) = (name for name in plugin_files() if "/steps/" in name)
    path = folder / "counts_step.py"
    path.write_text(plugin_files()[name], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("counts_step", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (unit,) = module.STEP.plan(SimpleNamespace(units={"map": (Unit("map", "region"),)}))
    assert unit.needs == {"map": UnitRef("map", "region")}
    out = folder / "counts"
    out.mkdir()
    module.STEP.run(unit, Inputs({}, {"map": folder / "map"}), out, RunContext())
    counts = yaml.safe_load((out / "counts.json").read_text(encoding="utf-8"))
    assert sum(counts.values()) > 10_000
    assert Path(name).stem == module.STEP.name


# --- pages are complete -----------------------------------------------------------------------------------------------


def leaf_commands() -> list[tuple[str, Any]]:
    """(name of the top command, command) of everything that can be called."""
    found = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        found += [(name, child) for child in getattr(command, "commands", {"": command}).values()]
    return found


@pytest.mark.parametrize(("name", "command"), leaf_commands())
def test_a_page_names_every_option_of_its_command(name: str, command: Any) -> None:
    page = {"status": "run", "clean": "run", "plugins": "doctor", "config": "doctor"}.get(name, name)
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    options = {option for p in command.params for option in p.opts if option.startswith("--")} - {"--help"}
    assert sorted(option for option in options if not re.search(rf"{option}\b", text)) == []


def test_the_steps_and_the_exit_codes_are_all_listed() -> None:
    from landcover_cli import errors
    from landcover_cli.plan import ORDER

    run = (DOCS / "run.md").read_text(encoding="utf-8")
    assert [step for step in ORDER if f"`{step}`" not in run] == []
    operations = (DOCS / "operations.md").read_text(encoding="utf-8")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LcError)]
    assert [kind.exit_code for kind in kinds if f"\n| {kind.exit_code} |" not in operations] == []


def test_the_reference_of_the_pipeline_file_is_current() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = (DOCS / "pipeline.md").read_text(encoding="utf-8")
    assert hooks.current(page) == page, "run: python docs/hooks.py"
