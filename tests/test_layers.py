"""Imports go downwards only, and heavy ones happen only where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "iomt_crypt"
ORDER = (
    "errors",
    "foreign_text",
    "durable",
    "extension",
    "cipher",
    "seal",
    "dicom",
    "analysis",
    "checks",
    "archive",
    "node",
    "cli",
)
# what only one package, or only those at and above it, may import
ONLY = {"pynetdicom": {"node"}, "sqlalchemy": {"node"}, "monai": {"checks"}, "typer": {"cli"}, "rich": {"cli"}}
NOT_BELOW = {"pydicom": "dicom", "cryptography": "seal", "cbor2": "seal"}
EVERYWHERE = ("iomt_crypt", "iomt_crypt.__main__")  # the package's own face
HEAVY = ("numpy", "numba", "pydicom", "pynetdicom", "torch", "sqlalchemy", "cryptography", "typer", "matplotlib")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text(), str(path)) for path in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.Module, *, lazy: bool) -> set[str]:
    """Absolute names of the modules that are imported; with ``lazy`` those inside functions and for typing only too."""
    found: set[str] = set()
    nodes = list(ast.walk(tree)) if lazy else _at_import(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
            # 'from package import module'
            found |= {f"{node.module}.{a.name}" for a in node.names if f"{node.module}.{a.name}" in MODULES}
    return found


def _at_import(body: list[ast.stmt]) -> list[ast.AST]:
    """Statements that run when the module is imported."""
    found: list[ast.AST] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            found += _at_import(node.orelse)
            continue
        found.append(node)
        for field in ("body", "orelse", "finalbody"):
            found += _at_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            found += _at_import(handler.body)
    return found


def layer(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "iomt_crypt" and not parts[1].startswith("__") else None


def upward(module: str, tree: ast.Module) -> list[str]:
    """Imports of ``module`` that go to a later package."""
    own = layer(module)
    targets = {t for t in imports(tree, lazy=True) if layer(t)}
    return [t for t in sorted(targets) if own is not None and ORDER.index(layer(t) or "") > ORDER.index(own)]


def test_every_package_has_its_place():
    assert {layer(m) for m in MODULES} - {None} <= set(ORDER)
    assert len(MODULES) > 50


@pytest.mark.parametrize("module", [m for m in MODULES if m not in EVERYWHERE])
def test_no_import_goes_upwards(module):
    assert upward(module, MODULES[module]) == []


def test_the_test_sees_what_it_should():
    tree = ast.parse("def f():\n    from iomt_crypt.node.peer import Peer\nimport iomt_crypt.cli")
    assert upward("iomt_crypt.dicom.file", tree) == ["iomt_crypt.cli", "iomt_crypt.node.peer"]
    assert imports(tree, lazy=False) == {"iomt_crypt.cli"}


def test_no_cycles():
    """Between modules: a package's __init__ counts, as it runs before its modules."""
    graph = {}
    for module, tree in MODULES.items():
        used = {t for t in imports(tree, lazy=False) if t in MODULES and t != module}
        # a module of the same package is imported through the package, which is on its way then
        own = module.rpartition(".")[0]
        graph[module] = {t for t in used if t != own or module.endswith("__init__")}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", MODULES)
def test_who_may_import_what(module):
    used = {name.split(".")[0] for name in imports(MODULES[module], lazy=True)}
    own = layer(module)
    for library, packages in ONLY.items():
        assert library not in used or own in packages, f"{library} belongs to {packages}"
    for library, lowest in NOT_BELOW.items():
        assert library not in used or own is None or ORDER.index(own) >= ORDER.index(lowest)
    if used & {"torch", "triton"}:  # they take seconds to import
        assert own in {"analysis", "checks"} or module.startswith("iomt_crypt.cipher.torch_")
    if own == "cipher":
        assert not used & {"os", "time", "random", "secrets", "logging", "pathlib"} - _cache_exceptions(module), (
            "pure numbers"
        )


def _cache_exceptions(module: str) -> set[str]:
    """The numba backend looks for a place for its compiled kernels."""
    return {"os", "pathlib"} if module.startswith("iomt_crypt.cipher.numba") or module.endswith("kernel") else set()


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) != "cli"])
def test_only_the_command_line_prints(module):
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) != ("sys", "stdout")


@pytest.mark.parametrize("module", MODULES)
def test_errors_are_ours(module):
    """What is raised on purpose comes from errors.py, or is a caller's mistake."""
    allowed = {
        "ValueError",
        "TypeError",
        "AttributeError",
        "FileExistsError",
        "typer.Exit",
        "typer.BadParameter",
        "error",
    }
    allowed |= {"UnicodeError"}  # as Python's own codecs raise it
    allowed |= {"OSError", "ImportError"}  # at a seam to the system or to numba, caught one level up
    ours = {n.name for n in ast.walk(MODULES["iomt_crypt.errors"]) if isinstance(n, ast.ClassDef)}
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(raised)
            assert name in ours | allowed or name.removeprefix("self.").startswith("_"), f"line {node.lineno}: {name}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_small(module):
    path = PACKAGE.parent / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert len(path.read_text().splitlines()) <= 300
    assert ast.get_docstring(MODULES[module]) or module.endswith("__main__")
    assert not {"utils", "helpers", "misc", "common", "manager"} & set(module.split("."))


def loaded(statement: str) -> set[str]:
    """Heavy modules that a fresh interpreter has after ``statement``."""
    code = f"import sys\n{statement}\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_the_package_costs_nothing():
    assert loaded("import iomt_crypt; iomt_crypt.__version__; dir(iomt_crypt)") == set()


def test_the_command_tree_waits_for_its_command():
    assert loaded("import iomt_crypt.cli") <= {"typer"}


def test_no_network_without_the_node():
    found = loaded("import iomt_crypt; iomt_crypt.encrypt_file; iomt_crypt.HpkeIdentity")
    assert not found & {"pynetdicom", "torch", "sqlalchemy", "typer", "matplotlib"}


def test_public_names():
    import iomt_crypt

    assert sorted(iomt_crypt.__all__) == list(iomt_crypt.__all__)
    for name in iomt_crypt.__all__:
        assert getattr(iomt_crypt, name) is not None
    assert dir(iomt_crypt) == sorted(iomt_crypt.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        iomt_crypt.nothing  # noqa: B018
    for package in ("dicom", "seal", "cipher"):
        module = __import__(f"iomt_crypt.{package}", fromlist=["*"])
        assert all(hasattr(module, name) for name in module.__all__)
