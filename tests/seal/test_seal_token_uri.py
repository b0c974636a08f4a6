"""PKCS#11 URIs: strict, and silent about values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.kind.token_uri import parse_uri

END = "?module-path=/usr/lib/p11.so"


def test_all_parts():
    uri = parse_uri(
        "PKCS11:token=The%20archive%3b1;serial=00ff;manufacturer=Maker%2c%20Inc.;model=v2;object=k%c3%a9y;id=%01%ff;"
        "type=secret-key?module-path=/usr/lib/p11.so&pin-source=file:/etc/pin"
    )
    assert (uri.token, uri.serial, uri.manufacturer, uri.model) == ("The archive;1", "00ff", "Maker, Inc.", "v2")
    assert (uri.object, uri.id, uri.type) == ("k\u00e9y", b"\1\xff", "secret-key")
    assert (uri.module_path, uri.pin_source) == (Path("/usr/lib/p11.so"), Path("/etc/pin"))
    assert uri.object_name == "k\u00e9y id 01ff secret-key"


@pytest.mark.parametrize("source", ["/a/b", "file:/a/b", "file:///a/b"])
def test_where_the_pin_is(source):
    assert parse_uri(f"pkcs11:token=t;object=o{END}&pin-source={source}").pin_source == Path("/a/b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pkcs12:token=t;object=o" + END, "not a PKCS#11 URI"),
        ("pkcs11:object=o" + END, "no token"),
        ("pkcs11:token=t" + END, "no key"),
        ("pkcs11:token=t;object=o", "no module"),
        ("pkcs11:token=t;token=t;object=o" + END, "token is given twice"),
        ("pkcs11:token=t;object=o;colour=red" + END, "attribute colour is not known"),
        ("pkcs11:token=t;object=o;S3CR3T" + END, "attribute without a name"),
        ("pkcs11:token=t;object=o;S3CR3T=1" + END, "attribute without a name"),
        ("pkcs11:token=t;object=o" + END + "&module-name=p11", "module-name is not known"),
        ("pkcs11:token=t;object=" + END, "object is empty"),
        ("pkcs11:token=a/b;object=o" + END, "percent sign"),
        ("pkcs11:token=a b;object=o" + END, "percent sign"),
        ("pkcs11:token=%zz;object=o" + END, "percent sign"),
        ("pkcs11:token=%ff;object=o" + END, "not UTF-8"),
        ("pkcs11:token=%00;object=o" + END, "control"),
        ("pkcs11:token=t;object=o;type=data" + END, "type"),
        ("pkcs11:token=t;object=o?module-path=p11.so", "absolute"),
        ("pkcs11:token=t;object=o" + END + "&pin-source=pin", "absolute"),
        ("pkcs11:token=t;object=o" + END + "&pin-source=|/bin/pin", "absolute"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(KeyMaterialError, match=message) as caught:
        parse_uri(text)
    assert "S3CR3T" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("place", ["?module-path=/p11.so&pin-value=9917", ";pin-value=9917" + END])
def test_a_pin_in_the_uri(place):
    with pytest.raises(KeyMaterialError, match="the PIN is in it") as caught:
        parse_uri("pkcs11:token=t;object=o" + place)
    assert "9917" not in str(caught.value) + caught.value.hint
    assert "pin-source" in caught.value.hint


@given(st.text(max_size=60))
def test_any_text_is_a_uri_or_an_error(text):
    for whole in (text, "pkcs11:" + text, "pkcs11:token=t;object=o" + END + "&" + text):
        try:
            uri = parse_uri(whole)
        except KeyMaterialError:
            continue
        assert uri.module_path.is_absolute()
        assert uri.object or uri.id
