"""By which names the server answers, and whose web pages it listens to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrite.auth.allowed_hosts import AllowedHosts, only_here
from pyrite.config.addresses import Host, host, is_loopback, web_origin
from pyrite.config.settings import Settings


def names(**settings: str) -> AllowedHosts:
    return AllowedHosts.of(Settings(home=Path("/nowhere"), **settings))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("localhost", Host("localhost")),
        ("LocalHost:8707", Host("localhost", 8707)),
        (" notes.example. ", Host("notes.example")),
        ("127.0.0.1:80", Host("127.0.0.1", 80)),
        ("[::1]:8707", Host("::1", 8707)),
        ("[0:0:0:0:0:0:0:1]", Host("::1")),
        ("a_b-c.d", Host("a_b-c.d")),
    ],
)
def test_a_host_is_read(text: str, meant: Host) -> None:
    assert host(text) == meant


@pytest.mark.parametrize(
    "text",
    ["", ".", "a b", "a/b", "user@a", "a:", "a:99999", "a:-1", "::1", "[::1", "[zz::]", "[::1]x",
     "http://a", "a,b", "a\r\nb", "ä", "a:1:2"],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no name or address"):
        host(text)


@given(st.text())
def test_any_text_is_a_host_or_none(text: str) -> None:
    try:
        found = host(text)
    except ValueError:
        return
    shown = f"[{found.name}]" if ":" in found.name else found.name
    assert host(shown).name == found.name


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("http://localhost", "http://localhost"),
        ("HTTPS://Notes.Example:443/", "https://notes.example"),
        ("http://a:8707", "http://a:8707"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_an_origin_is_read(text: str, meant: str) -> None:
    assert str(web_origin(text)) == meant


@pytest.mark.parametrize(
    "text", ["null", "", "localhost", "http://", "http://a/b", "http://u@a", "//a", "http://a b"]
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no origin|no name or address"):
        web_origin(text)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.1.5", False),
        ("::ffff:192.168.1.5", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_told_apart(name: str, is_one: bool) -> None:
    assert is_loopback(name) is is_one


@pytest.mark.parametrize("called", ["localhost", "localhost:1", "127.0.0.1:8707", "[::1]:8707"])
def test_the_server_answers_to_names_of_this_computer(called: str) -> None:
    assert names().answers_to(host(called), "127.0.0.1")


@pytest.mark.parametrize("called", ["evil.example", "127.0.0.2", "localhost.evil", "[::2]"])
def test_it_answers_to_no_other_name(called: str) -> None:
    assert not names().answers_to(host(called), "127.0.0.1")
    assert not names().answers_to(host(called), None)


def test_it_answers_to_the_address_that_was_connected_to() -> None:
    assert names().answers_to(host("192.168.1.5:8707"), "192.168.1.5")
    assert names().answers_to(host("[fe80::1]:8707"), "fe80::1%eth0")
    assert not names().answers_to(host("192.168.1.6:8707"), "192.168.1.5")


def test_it_answers_to_what_it_listens_on_unless_that_is_everything() -> None:
    assert names(host="nas.example").answers_to(host("nas.example:8707"), "10.0.0.1")
    assert not names(host="0.0.0.0").answers_to(host("0.0.0.0:8707"), "10.0.0.1")


def test_names_can_be_added_with_a_port_or_for_any() -> None:
    some = names(allowed_hosts="notes.example, other.example:8443,")
    assert some.answers_to(host("notes.example"), None)
    assert some.answers_to(host("notes.example:1"), None)
    assert some.answers_to(host("other.example:8443"), None)
    assert not some.answers_to(host("other.example"), None)


def trusts(
    origin: str | None, site: str | None = None, *, called: str = "localhost:8707", **more: str
) -> bool:
    scheme = more.pop("scheme", "http")
    return names(**more).trusts(origin, site, scheme=scheme, called=host(called))


def test_who_is_no_browser_says_nothing_of_pages() -> None:
    assert trusts(None)
    assert trusts(None, "none")
    assert trusts(None, "same-origin")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_a_browser_that_says_another_sites_page_is_believed(site: str) -> None:
    assert not trusts(None, site)
    assert not trusts("http://localhost:8707", site)


def test_the_servers_own_pages_are_trusted() -> None:
    assert trusts("http://localhost:8707", "same-origin")
    assert trusts("http://localhost:8707", scheme="ws")
    assert trusts("https://localhost:8707", scheme="wss")
    assert trusts("http://localhost", called="localhost")
    assert trusts("http://localhost", called="localhost:80")


def test_behind_a_proxy_with_tls_its_own_pages_come_by_https() -> None:
    assert trusts("https://notes.example", called="notes.example")
    # But a page that came in the clear may be anybody's.
    assert not trusts("http://notes.example", called="notes.example", scheme="https")


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.example", "http://localhost", "http://localhost:3000",
     "http://127.0.0.1:8707", "http://localhost:8707.evil.example", "file://", "localhost:8707"],
)  # fmt: skip
def test_other_pages_are_not(origin: str) -> None:
    assert not trusts(origin)


def test_pages_can_be_added() -> None:
    listed = "https://app.example, http://localhost:3000"
    assert trusts("https://app.example", "cross-site", allowed_origins=listed)
    assert trusts("http://localhost:3000", "same-site", allowed_origins=listed)
    assert not trusts("http://app.example", allowed_origins=listed)


def test_only_here_takes_both_ends() -> None:
    here, there = host("localhost"), host("notes.example")
    assert only_here(here, "127.0.0.1")
    assert only_here(here, "::1")
    assert only_here(there, None)
    assert not only_here(there, "127.0.0.1")
    assert not only_here(here, "192.168.1.5")
