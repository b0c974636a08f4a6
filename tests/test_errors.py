"""The error tree: drawn in its docstring, one root, opaque where it must be."""

from __future__ import annotations

import inspect
import pickle

import pytest

from iomt_crypt import errors

ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


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


@pytest.mark.parametrize("error", ALL)
def test_one_root_and_a_hint(error):
    assert issubclass(error, errors.IomtCryptError)
    made = (
        error()
        if error in (errors.AuthenticationError, errors.NoMatchingIdentityError)
        else error("what", hint="do this")
    )
    assert str(made)
    assert made.hint
    assert "\n" not in made.hint + str(made)


def test_opaque():
    assert str(errors.AuthenticationError()) == "authentication failed"
    assert str(errors.NoMatchingIdentityError()) == "no matching identity"
    with pytest.raises(TypeError):
        errors.AuthenticationError("frame 3")


@pytest.mark.parametrize("error", ALL)
def test_between_processes(error):
    """Workers hand errors to their supervisor."""
    made = (
        error()
        if error in (errors.AuthenticationError, errors.NoMatchingIdentityError)
        else error("what", hint="do this")
    )
    copy = pickle.loads(pickle.dumps(made))
    assert type(copy) is error
    assert (str(copy), copy.hint) == (str(made), made.hint)
