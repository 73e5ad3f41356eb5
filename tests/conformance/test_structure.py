"""Common structure of all services, and no domain terms in the shared package. Static checks.

Services are discovered by their folders, so new ones are checked automatically.
"""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.services import SERVICES as TABLE
from tests.fleet_under_test import ROOT, SERVICES

FOLDERS = sorted(path.parent for path in ROOT.glob("*/app"))
CHASSIS = ROOT / "libs" / "chassis"

each_service = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_every_service_is_known_to_launcher_and_fleet_tests() -> None:
    """A folder is a service if and only if it has its own requirements."""
    found = {folder.name for folder in FOLDERS}
    assert found == {path.parent.name for path in ROOT.glob("*/requirements.in")}
    assert found == {service.name for service in TABLE} == set(SERVICES)
    assert len(found) >= 6


NEEDED = [
    *("app/__init__.py", "app/main.py", "app/config.py", "Dockerfile", "Makefile"),
    *("pyproject.toml", "requirements.in", "requirements.txt"),
    *("requirements-dev.in", "requirements-dev.txt"),
    *("tests/unit", "tests/integration", "tests/contract"),
]


@each_service
def test_service_has_common_files(folder: Path) -> None:
    assert not [name for name in NEEDED if not (folder / name).exists()]
    assert len(list(folder.glob("*-docs.md"))) == 1
    assert (ROOT / "contracts" / "openapi" / f"{folder.name}.json").exists()
    assert "[tool.importlinter]" in (folder / "pyproject.toml").read_text()


@each_service
def test_service_defines_create_app_and_settings(folder: Path) -> None:
    main = ast.parse((folder / "app/main.py").read_text()).body
    assert "create_app" in {node.name for node in main if isinstance(node, ast.FunctionDef)}
    config = ast.parse((folder / "app/config.py").read_text()).body
    assert "Settings" in {node.name for node in config if isinstance(node, ast.ClassDef)}


@each_service
def test_every_requirement_is_pinned_without_index_url(folder: Path) -> None:
    allowed = {"requirements.txt": ("chassis",), "requirements-dev.txt": ("chassis", "local")}
    for name, editable in allowed.items():
        for line in (folder / name).read_text().splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            assert "://" not in line
            if line.startswith("-e "):
                assert line.rstrip("]").split("[")[0].rpartition("/")[2] in editable, line
            else:
                assert "==" in line, f"{folder.name}/{name}: {line}"


# -- imports

_INSTALLED = """
import importlib.metadata, json, sys
named = {n: d for n, d in importlib.metadata.packages_distributions().items()}
print(json.dumps([sorted(sys.stdlib_module_names), named]))
"""


def imported(source: str) -> set[str]:
    """Return the packages that a module imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@each_service
def test_service_imports_only_installed_packages(folder: Path) -> None:
    """Only the standard library, the chassis and requirements.txt, no service or test tool."""
    python = str(folder / "venv" / "bin" / "python")
    printed = subprocess.run([python, "-c", _INSTALLED], capture_output=True, text=True, check=True)
    standard, distributions = json.loads(printed.stdout)
    pinned = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==", _requirements(folder), re.MULTILINE)
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in pinned}
    known = {"app", "chassis", *standard}
    known |= {
        package
        for package, holders in distributions.items()
        if names & {re.sub(r"[-_.]+", "-", holder).lower() for holder in holders}
    }
    assert {"fastapi", "pydantic"} <= known
    assert not {"pytest", "fleet", "jsonschema"} & known, "test tools are not in the image"
    for path in sorted((folder / "app").rglob("*.py")):
        assert not imported(path.read_text()) - known, path


def _requirements(folder: Path) -> str:
    return (folder / "requirements.txt").read_text()


def test_imported_finds_imports_in_functions() -> None:
    source = "import a.b\nfrom c.d import e\nfrom . import f\ndef g():\n    import h as i\n"
    assert imported(source) == {"a", "c", "h"}


# -- the chassis

DOMAIN = {
    *("order", "orders", "product", "products", "stock", "inventory", "customer", "customers"),
    *("basket", "cart", "price", "prices", "catalogue", "shop", "mail", "mails", "smtp"),
    *("notification", "recommendation", "assistant", "groq"),
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def domain_words(source: str) -> Iterator[str]:
    """Yield domain words in a module's names and strings, with their lines.

    Docstrings may use examples from services. Names of other packages (aiokafka's
    OutOfOrderSequenceNumber) and SQL's ORDER BY are ignored.
    """
    tree = ast.parse(source)
    alone = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr))
    prose = {id(value) for value in alone if isinstance(value, ast.Constant)}
    foreign = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("chassis")
        for alias in node.names
    }
    for node in ast.walk(tree):
        if id(node) in prose:
            continue
        for text in _texts(node):
            if text in foreign:
                continue
            words = {word.lower() for word in _WORD.findall(re.sub(r"ORDER BY|order_by", "", text))}
            for word in sorted(words & DOMAIN):
                yield f"{getattr(node, 'lineno', 0)}: {word} in {text!r}"


def _texts(node: ast.AST) -> Iterator[str]:
    """Return the names and strings of a node of the syntax tree."""
    for name in ("name", "id", "attr", "arg", "asname", "value"):
        text = getattr(node, name, None)
        if isinstance(text, str):
            yield text


@pytest.mark.parametrize(
    "path", sorted((CHASSIS / "chassis").rglob("*.py")), ids=lambda path: path.stem
)
def test_chassis_code_contains_no_domain_words(path: Path) -> None:
    assert not list(domain_words(path.read_text()))
    assert not DOMAIN & {word.lower() for word in _WORD.findall(path.stem)}


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("class OrderPlaced: pass", "order"),
        ("def reserve(product_id): pass", "product"),
        ("x.current_price", "price"),
        ("CUSTOMER = 1", "customer"),
        ("send('mail-sent')", "mail"),
        ("f(stock=1)", "stock"),
        ("from chassis import inventory", "inventory"),
    ],
)
def test_domain_words_finds_every_kind_of_name(source: str, word: str) -> None:
    assert word in " ".join(domain_words(source))


def test_domain_words_ignores_library_names_and_sql() -> None:
    fine = '"""Such as `OrderPlaced`."""\nfrom x import OutOfOrderSequenceNumber\n'
    fine += 'OutOfOrderSequenceNumber\nq = "SELECT seq ORDER BY seq"\nclaims.email\nreordered = 1\n'
    assert not list(domain_words(fine))


def test_chassis_prose_contains_no_domain_words() -> None:
    words = re.compile(r"\b(order|product|stock|inventory|customer|basket)s?\b", re.IGNORECASE)
    allowed = re.compile(r"in order|order (of|for|by|is|was|per)|keep.* order|order kept|`[^`]*`")
    for path in sorted((CHASSIS / "chassis").rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if words.search(allowed.sub("", line)) and "ORDER BY" not in line:
                pytest.fail(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
