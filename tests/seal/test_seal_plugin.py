"""Key holders of other packages: a small real distribution, found through its metadata."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from iomt_crypt.errors import KeyMaterialError, NoMatchingIdentityError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring, Stanza, load_identities, load_recipients
from iomt_crypt.seal.kind.registry import parse_identity, parse_recipient

EPOCH_KEY, EPOCH_ID = bytes(range(32)), b"sixteen bytes id"
SECRET = "S3CR3T-9917"

VAULT = '''
"""A key holder that keeps its keys under the names it is asked for."""
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from iomt_crypt.seal import Stanza

class Key:
    def __init__(self, name, ask):
        if name == "ask":
            name = ask("the vault's word").decode()
        self.fingerprint = name.encode()[:8].ljust(8, b"-")
        self._aead = AESGCM(name.encode().ljust(32, b"."))

    def wrap(self, epoch_key, epoch_id):
        return Stanza("plugin:vault/v1", self.fingerprint, self._aead.encrypt(epoch_id[:12], epoch_key, epoch_id))

    def unwrap(self, stanza, epoch_id):
        assert stanza.kind == "plugin:vault/v1"
        try:
            return self._aead.decrypt(epoch_id[:12], stanza.body, epoch_id)
        except InvalidTag:
            return None

parse_recipient = parse_identity = Key
'''


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution: a module, and the metadata that pip would write."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(distribution: str, source: str, names: dict[str, str]) -> Path:
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        points = "".join(f"{name} = {target}\n" for name, target in names.items())
        (info / "entry_points.txt").write_text(f"[iomt_crypt.key_holders]\n{points}")
        monkeypatch.delitem(sys.modules, module, raising=False)
        return site

    return install


@pytest.fixture
def vault(install):
    return install("acme-vault", VAULT, {"vault": "acme_vault"})


@pytest.fixture
def make(install):
    """``make(body)``: a plug-in ``odd`` whose recipient and identity have the body of a class."""

    def make(body: str) -> None:
        start = "from iomt_crypt.seal import Stanza\nfrom iomt_crypt.errors import KeyMaterialError, NetworkError\n"
        text = "class Key:\n    fingerprint = b'finger-p'\n" + textwrap.indent(textwrap.dedent(body), "    ")
        functions = "\ndef parse_recipient(argument, ask):\n    return Key()\nparse_identity = parse_recipient\n"
        install("odd-keys", start + text + functions, {"odd": "odd_keys"})

    return make


def test_there_and_back(vault):
    recipient, identity = parse_recipient("plugin:vault:radiology"), parse_identity("plugin:vault:radiology")
    other = HpkeIdentity.generate()
    epoch = Epoch.create([other.recipient, recipient])
    for keys in ([identity], [other], [identity, other]):
        assert Keyring(keys).unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas) == bytes(32)
    assert recipient.fingerprint == identity.fingerprint == b"radiolog"
    with pytest.raises(NoMatchingIdentityError):
        Keyring([parse_identity("plugin:vault:cardiology")]).unwrap(epoch.wrap(bytes(32)), epoch.id, epoch.stanzas)


def test_by_file_by_name_and_with_a_passphrase(vault, tmp_path):
    (tmp_path / "team").write_text("plugin:vault:radiology\n")
    (tmp_path / "team").chmod(0o644)
    (recipient,) = load_recipients([tmp_path / "team"])
    asked = []
    (identity,) = load_identities(["plugin:vault:ask"], ask=lambda what: asked.append(what) or b"radiology")
    assert identity.unwrap(recipient.wrap(EPOCH_KEY, EPOCH_ID), EPOCH_ID) == EPOCH_KEY
    assert asked == ["the vault's word"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
@pytest.mark.parametrize("line", ["plugin:vault:radiology", "pkcs11:token=t;object=o?module-path=/p11.so"])
def test_a_file_that_others_may_write_has_no_code_loaded(vault, tmp_path, mode, line):
    (tmp_path / "team").write_text(f"# people\n{line}\n")
    (tmp_path / "team").chmod(mode)
    with pytest.raises(KeyMaterialError, match=r"team, line 2: .* others may write") as caught:
        load_recipients([tmp_path / "team"])
    assert "chmod go-w" in caught.value.hint
    assert "acme_vault" not in sys.modules


def test_it_is_not_imported_because_it_is_installed(vault):
    """All else that has to do with keys, in a fresh interpreter."""
    code = f"""
        import sys
        sys.path.insert(0, {str(vault)!r})
        from iomt_crypt.errors import KeyMaterialError
        from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring, load_recipients, Stanza
        from iomt_crypt.seal.kind.registry import parse_identity
        import iomt_crypt.cli
        mine = HpkeIdentity.generate()
        epoch = Epoch.create(load_recipients([str(mine.recipient)]))
        stanza = Stanza("plugin:vault/v1", bytes(8), b"x")
        Keyring([mine]).unwrap(epoch.wrap(bytes(32)), epoch.id, (stanza, *epoch.stanzas))
        for name in ("plugin:other:x", "plugin:", "plugin:va/ult:x"):
            try:
                parse_identity(name)
            except KeyMaterialError as error:
                print(error, error.hint)
        print("acme_vault" in sys.modules)
        parse_identity("plugin:vault:x")
        print("acme_vault" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert lines[-2:] == ["False", "True"]
    assert "no plug-in other" in lines[0]
    assert all("installed: " in line and "vault" in line for line in lines[:3])


def test_stanzas_of_others_are_not_shown_to_it(vault):
    """The plug-in would fail on them; one whose name begins alike is another."""
    identity = parse_identity("plugin:vault:radiology")
    for kind in ("hpke-x25519", "plugin:vaults", "plugin:vault2/v1", "plugin:VAULT/v1", "vault/v1"):
        assert identity.unwrap(Stanza(kind, identity.fingerprint, b"x" * 48), EPOCH_ID) is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("fingerprint = 'finger-p'", "fingerprint is not 8 bytes"),
        ("fingerprint = b'short'", "fingerprint is not 8 bytes"),
        ("fingerprint = property(lambda self: 1 / 0)", r"give its fingerprint \(ZeroDivisionError\)"),
        ("del fingerprint", r"give its fingerprint \(AttributeError\)"),
    ],
)
def test_odd_objects(make, body, message):
    make(body)
    for parse in (parse_recipient, parse_identity):
        with pytest.raises(KeyMaterialError, match=f"plug-in odd: .*{message}"):
            parse("plugin:odd:x")


@pytest.mark.parametrize(
    ("wrapped", "message"),
    [
        ("None", "no Stanza"),
        ("('plugin:odd', self.fingerprint, b'x')", "no Stanza"),
        ("Stanza('hpke-x25519', self.fingerprint, b'x')", "kind"),
        ("Stanza('plugin:oddity', self.fingerprint, b'x')", "kind"),
        ("Stanza('plugin:odd/' + 'x' * 60, self.fingerprint, b'x')", "kind"),
        ("Stanza(None, self.fingerprint, b'x')", "kind"),
        ("Stanza('plugin:odd', b'another!', b'x')", "another fingerprint"),
        ("Stanza('plugin:odd', bytearray(self.fingerprint), b'x')", "another fingerprint"),
        ("Stanza('plugin:odd', self.fingerprint, b'')", "body"),
        ("Stanza('plugin:odd', self.fingerprint, bytearray(9))", "body"),
        ("Stanza('plugin:odd', self.fingerprint, bytes(65537))", "body"),
        ("Stanza('plugin:odd', self.fingerprint, b'head' + epoch_key)", "did not encrypt"),
        ("1 / 0", "ZeroDivisionError"),
        ("exit(3)", "SystemExit"),
    ],
)
def test_odd_stanzas(make, wrapped, message):
    make(f"def wrap(self, epoch_key, epoch_id):\n    return {wrapped}")
    with pytest.raises(KeyMaterialError, match=f"plug-in odd: .*{message}"):
        Epoch.create([parse_recipient("plugin:odd")])


@pytest.mark.parametrize("unwrapped", ["b'x' * 31", "bytearray(32)", "'x' * 32", "True", "1 / 0"])
def test_odd_keys(make, unwrapped):
    make(f"def unwrap(self, stanza, epoch_id):\n    return {unwrapped}")
    identity = parse_identity("plugin:odd")
    with pytest.raises(KeyMaterialError, match="plug-in odd"):
        identity.unwrap(Stanza("plugin:odd", b"finger-p", b"x"), EPOCH_ID)


@pytest.mark.parametrize("raised", ["ValueError", "OSError", "RuntimeError"])
def test_what_it_raises_is_not_repeated(make, raised):
    make(f"def wrap(self, epoch_key, epoch_id):\n    raise {raised}('{SECRET}' + epoch_key.hex())")
    with pytest.raises(KeyMaterialError, match=raised) as caught:
        parse_recipient("plugin:odd").wrap(EPOCH_KEY, EPOCH_ID)
    error: BaseException | None = caught.value
    while error is not None:
        for secret in (SECRET, EPOCH_KEY.hex()):
            assert secret not in repr(error)
        error = error.__cause__ or error.__context__


def test_what_it_says_to_the_user_is_shown(make):
    """Our own errors are made for users, and so is their hint."""
    make("def wrap(self, k, i):\n    raise NetworkError('the vault is closed', hint='from nine to five')")
    with pytest.raises(KeyMaterialError, match="plug-in odd: the vault is closed") as caught:
        parse_recipient("plugin:odd").wrap(EPOCH_KEY, EPOCH_ID)
    assert caught.value.hint == "from nine to five"


@pytest.mark.parametrize(
    ("target", "source", "message"),
    [
        ("broken_keys", "1 / 0", r"be loaded \(ZeroDivisionError\)"),
        ("broken_keys", "raise SystemExit(4)", r"be loaded \(SystemExit\)"),
        ("absent_keys", "", r"be loaded \(ModuleNotFoundError\)"),
        ("broken_keys:absent", "", r"be loaded \(AttributeError\)"),
        ("broken_keys", "", "it has no recipient"),
        ("broken_keys", "parse_recipient = 5", "it has no recipient"),
        ("broken_keys", "parse_recipient = lambda argument, ask: None", "it made nothing"),
        ("broken_keys", "parse_recipient = lambda: None", r"make a recipient \(TypeError\)"),
    ],
)
def test_plug_ins_that_do_not_work(install, target, source, message):
    install("broken-keys", source, {"broken": target})
    with pytest.raises(KeyMaterialError, match=f"plug-in broken: .*{message}"):
        parse_recipient("plugin:broken:x")


def test_two_of_one_name(vault, install):
    install("other-vault", VAULT, {"vault": "other_vault"})
    with pytest.raises(KeyMaterialError, match="several packages") as caught:
        parse_recipient("plugin:vault:x")
    assert "acme-vault, other-vault" in caught.value.hint


def test_nothing_secret_is_shown(vault):
    key = parse_identity(f"plugin:vault:{SECRET}")
    assert SECRET not in repr(key)
    assert repr(key).startswith("<PluginIdentity vault ")
