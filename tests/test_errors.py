"""The error tree: drawn in its docstring, one root, opaque where it must be."""

from __future__ import annotations

import ast
import inspect
import pickle
from pathlib import Path

import pytest

from iomt_crypt import errors

ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
OPAQUE = (errors.AuthenticationError, errors.NoMatchingIdentityError)


def drawn() -> dict[str, str]:
    """Name to name of the parent, as the docstring draws it."""
    parents, path = {}, {}
    for line in errors.__doc__.splitlines():
        if not line.strip().startswith(("IomtCryptError", "+--", "|")):
            continue
        name = line.replace("|", " ").replace("+--", "   ").split()[0]
        depth = line.replace("|", " ").replace("+--", "   ").index(name)
        path = {d: n for d, n in path.items() if d < depth}
        parents[name] = path[max(path)] if path else "Exception"
        path[depth] = name
    return parents


def test_the_docstring_draws_the_tree():
    assert drawn() == {c.__name__: c.__bases__[0].__name__ for c in ALL}
    assert all(c.__doc__ for c in ALL)


def made(error: type[errors.IomtCryptError]) -> errors.IomtCryptError:
    return error() if error in OPAQUE else error("what", hint="do this")


@pytest.mark.parametrize("error", ALL)
def test_one_root_and_a_hint(error):
    assert issubclass(error, errors.IomtCryptError)
    found = made(error)
    assert str(found)
    assert found.hint
    assert "\n" not in found.hint + str(found)


def test_opaque():
    assert str(errors.AuthenticationError()) == "authentication failed"
    assert str(errors.NoMatchingIdentityError()) == "no matching identity"


def test_the_package_gives_opaque_errors_no_words():
    """Only what makes the error of another process anew may."""
    names = {error.__name__ for error in OPAQUE}
    n_named = 0
    for path in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            n_named += isinstance(node, ast.Name) and node.id in names
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in names:
                assert not node.args and not node.keywords, f"{path}:{node.lineno}"  # noqa: PT018 - one rule
    assert n_named > 10


@pytest.mark.parametrize("error", ALL)
def test_between_processes(error):
    """Workers hand errors to their supervisor, with the notes on them."""
    original = made(error)
    original.add_note("file: a.dcm")
    copy = pickle.loads(pickle.dumps(original))
    assert type(copy) is error
    assert (str(copy), copy.hint) == (str(original), original.hint)
    assert copy.__notes__ == ["file: a.dcm"]


@pytest.mark.parametrize("error", ALL)
def test_made_anew_from_its_text(error):
    """PyTorch's data loaders raise a worker's error so, and a RuntimeError where that fails."""
    text = f"Caught {error.__name__} in DataLoader worker process 0."
    anew = error(text)
    assert str(anew) == text
    assert anew.hint == (made(error).hint if error in OPAQUE else "")
