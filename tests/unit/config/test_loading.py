"""Settings come from the environment, a file or a default, and each says so when it is wrong."""

from __future__ import annotations

import math
import tomllib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import platformdirs
import pytest

from pyrite.config.addresses import Host
from pyrite.config.loading import find_home, load, origins
from pyrite.config.settings import FILE_SETTINGS, Settings
from pyrite.errors import ConfigError

NUMBERS = [f for f in FILE_SETTINGS if type(f.default) in {int, float}]
SECRETS = [f for f in FILE_SETTINGS if f.metadata["secret"]]
FORMS = [f for f in FILE_SETTINGS if f.metadata["form"]]
TEXTS = [
    f
    for f in FILE_SETTINGS
    if isinstance(f.default, str) and not f.metadata["choices"] and f not in [*SECRETS, *FORMS]
]
CHOICES = [f for f in FILE_SETTINGS if f.metadata["choices"]]
SWITCHES = [f for f in FILE_SETTINGS if isinstance(f.default, bool)]
MOST = 2**53

#: A text that a setting with a form takes, and one that it does not.
WELL_FORMED = {
    "allowed_hosts": ("notes.example, [::1]:8707", "http://notes.example"),
    "allowed_origins": ("https://notes.example,", "notes.example"),
    "remote_url": ("http://127.0.0.1:11434/v1", "127.0.0.1"),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def given(home: Path, text: str = "", **variables: str) -> Settings:
    """The settings with a file of that text and those variables."""
    (home / "config.toml").write_text(text, encoding="utf-8")
    return load({"PYRITE_HOME": str(home), **variables})


def test_without_a_file_everything_is_its_default(home: Path) -> None:
    settings = load({"PYRITE_HOME": str(home)})
    assert settings == Settings(home=home)
    assert settings.model == "all-MiniLM-L6-v2"
    assert settings.database_path == home / "pyrite.db"
    assert settings.config_path == home / "config.toml"


def test_the_file_overrides_the_default_and_the_environment_the_file(home: Path) -> None:
    text = "threads = 2\nlease_s = 5\n"
    assert given(home, text).threads == 2
    settings = given(home, text, PYRITE_THREADS="3")
    assert (settings.threads, settings.lease_s) == (3, 5.0)
    assert isinstance(settings.lease_s, float)


def test_a_setting_in_the_environment_hides_a_bad_one_in_the_file(home: Path) -> None:
    assert given(home, "threads = []", PYRITE_THREADS="3").threads == 3


@pytest.mark.parametrize("spec", NUMBERS, ids=lambda f: f.name)
def test_a_number_has_its_type_and_its_bounds(home: Path, spec: object) -> None:
    name, kind, minimum = spec.name, type(spec.default), spec.metadata["minimum"]
    most = spec.metadata["maximum"]
    source = str(home / "config.toml")
    for variables, text in (({f"PYRITE_{name.upper()}": f"{minimum}"}, ""), ({}, minimum)):
        value = getattr(given(home, f"{name} = {text}" if text != "" else "", **variables), name)
        assert value == minimum
        assert type(value) is kind
    assert getattr(given(home, f"{name} = {most}"), name) == most
    too_small = math.nextafter(minimum, -math.inf) if kind is float else minimum - 1
    with pytest.raises(ConfigError, match=rf"{name} must be at least {minimum}, not"):
        given(home, f"{name} = {too_small}")
    with pytest.raises(ConfigError, match=rf"{name} must be at most {most}, not"):
        given(home, f"{name} = {most + 2}")
    for bad in ("true", "false", "inf", "nan", "[]", "{}", '"ten"', '""', "2026-11-22"):
        with pytest.raises(ConfigError, match=f"^{source}: {name} must be a (whole )?number, not"):
            given(home, f"{name} = {bad}")
    variable = f"PYRITE_{name.upper()}"
    for bad in ("", "ten", "nan", "inf", "true", "1,5"):
        with pytest.raises(ConfigError, match=f"^{variable}: {name} must be a (whole )?number"):
            given(home, **{variable: bad})
    with pytest.raises(ConfigError, match=f"{name} must be a (whole )?number"):
        given(home, f"{name} = 1{'0' * 400}" if kind is float else f"{name} = 1e400")


@pytest.mark.parametrize(
    "spec", [f for f in NUMBERS if type(f.default) is int], ids=lambda f: f.name
)
@pytest.mark.parametrize("bad", ["1.5", "2.0", "1e1"])
def test_a_fraction_is_no_whole_number(home: Path, spec: object, bad: str) -> None:
    with pytest.raises(ConfigError, match=f"{spec.name} must be a whole number, not"):
        given(home, f"{spec.name} = {bad}")
    with pytest.raises(ConfigError, match=f"PYRITE_{spec.name.upper()}: .* whole number"):
        given(home, **{f"PYRITE_{spec.name.upper()}": bad})


@pytest.mark.parametrize("spec", TEXTS, ids=lambda f: f.name)
def test_a_text_is_a_text(home: Path, spec: object) -> None:
    assert getattr(given(home, f'{spec.name} = "a b"'), spec.name) == "a b"
    assert getattr(given(home, **{f"PYRITE_{spec.name.upper()}": "7"}), spec.name) == "7"
    for bad in ("7", "true", "[]", "1.5"):
        with pytest.raises(ConfigError, match=rf"{spec.name} must be a text, not "):
            given(home, f"{spec.name} = {bad}")


@pytest.mark.parametrize("spec", FORMS, ids=lambda f: f.name)
def test_a_text_with_a_form_can_be_read(home: Path, spec: object) -> None:
    name = spec.name
    good, bad = WELL_FORMED[name]
    assert getattr(given(home, f'{name} = "{good}"'), name) == good
    assert getattr(given(home, **{f"PYRITE_{name.upper()}": good}), name) == good
    with pytest.raises(ConfigError, match=f"^PYRITE_{name.upper()}: {name} cannot be read: "):
        given(home, **{f"PYRITE_{name.upper()}": bad})


def test_lists_are_read_into_their_parts(home: Path) -> None:
    settings = given(
        home, 'allowed_hosts = "a.example, b:1"\nallowed_origins = "https://a.example"'
    )
    assert settings.extra_hosts == (Host("a.example"), Host("b", 1))
    assert [str(each) for each in settings.extra_origins] == ["https://a.example"]


@pytest.mark.parametrize("spec", SECRETS, ids=lambda f: f.name)
def test_a_secret_comes_from_the_environment_alone_and_is_not_shown(
    home: Path, spec: object
) -> None:
    variable = f"PYRITE_{spec.name.upper()}"
    environ = {"PYRITE_HOME": str(home), variable: "hunter2"}
    settings = load(environ)
    assert getattr(settings, spec.name) == "hunter2"
    assert "hunter2" not in repr(settings)
    (row,) = (row for row in origins(settings, environ) if row.name == spec.name)
    assert (row.value, row.source) == ("********", variable)
    (unset,) = (row for row in origins(Settings(home=home), {}) if row.name == spec.name)
    assert unset.value == ""
    for text in ('"hunter2"', "5"):
        with pytest.raises(ConfigError, match=f"secret .* set {variable} instead") as refused:
            given(home, f"{spec.name} = {text}")
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("spec", CHOICES, ids=lambda f: f.name)
def test_a_choice_is_one_of_those_there_are(home: Path, spec: object) -> None:
    name, choices = spec.name, spec.metadata["choices"]
    assert spec.default in choices
    for each in choices:
        assert getattr(given(home, f'{name} = "{each}"'), name) == each
        assert getattr(given(home, **{f"PYRITE_{name.upper()}": each}), name) == each
    among = f"{name} must be one of {', '.join(choices)}, not "
    for bad in ("", "none of them", choices[0].upper(), f" {choices[0]}"):
        with pytest.raises(ConfigError, match=f"^{home / 'config.toml'}: {among}{bad!r}"):
            given(home, f'{name} = "{bad}"')
        with pytest.raises(ConfigError, match=f"^PYRITE_{name.upper()}: {among}{bad!r}"):
            given(home, **{f"PYRITE_{name.upper()}": bad})
    with pytest.raises(ConfigError, match=f"{name} must be a text, not 1"):
        given(home, f"{name} = 1")


@pytest.mark.parametrize("spec", SWITCHES, ids=lambda f: f.name)
def test_a_switch_is_on_or_off(home: Path, spec: object) -> None:
    name = spec.name
    for word, value in (("true", True), ("false", False)):
        assert getattr(given(home, f"{name} = {word}"), name) is value
    for text, value in (("true", True), ("1", True), ("false", False), ("0", False)):
        assert getattr(given(home, **{f"PYRITE_{name.upper()}": text}), name) is value
    for bad in ("1", "0", "[]", "1.0", '"yes"', '""'):
        with pytest.raises(ConfigError, match=f"{name} must be true or false, not "):
            given(home, f"{name} = {bad}")
    for bad in ("", "yes", "on", "2", "None"):
        with pytest.raises(ConfigError, match=f"PYRITE_{name.upper()}: {name} must be true or"):
            given(home, **{f"PYRITE_{name.upper()}": bad})


def test_every_setting_is_of_a_kind_that_is_tested() -> None:
    tested = [*NUMBERS, *TEXTS, *CHOICES, *SWITCHES, *SECRETS, *FORMS]
    assert sorted(f.name for f in tested) == sorted(f.name for f in FILE_SETTINGS)


@pytest.mark.parametrize("name", ["thread", "home", "THREADS", "tool"])
def test_an_unknown_name_in_the_file_is_named(home: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"config.toml: there is no setting named '{name}'"):
        given(home, f"{name} = 1")


def test_an_unknown_name_in_the_environment_is_named(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"^PYRITE_THREAD: there is no setting named 'thread'"):
        given(home, PYRITE_THREAD="1")


def test_other_variables_are_not_ours(home: Path) -> None:
    assert given(home, THREADS="9", pyrite_threads="9", PYRITE="9") == Settings(home=home)


@pytest.mark.parametrize(
    "raw", [b"threads = ", b"threads = 1\nthreads = 2", b"model = '\xff'", b"\0"]
)
def test_a_file_that_is_no_toml_is_named_with_the_reason(home: Path, raw: bytes) -> None:
    (home / "config.toml").write_bytes(raw)
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read: .") as caught:
        load({"PYRITE_HOME": str(home)})
    assert isinstance(caught.value.__cause__, (tomllib.TOMLDecodeError, UnicodeDecodeError))


def test_a_file_that_cannot_be_read_is_named(home: Path) -> None:
    (home / "config.toml").mkdir()
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read: .*directory"):
        load({"PYRITE_HOME": str(home)})


def test_origins_say_where_each_value_is_from(home: Path) -> None:
    environ = {"PYRITE_HOME": str(home), "PYRITE_LEASE_S": "5"}
    (home / "config.toml").write_text("threads = 2\nlease_s = 9\n")
    rows = origins(load(environ), environ)
    assert [row.name for row in rows] == [f.name for f in fields(Settings)]
    assert all(row.help for row in rows)
    found = {row.name: (row.value, row.source) for row in rows}
    assert found.pop("home") == (str(home), "PYRITE_HOME")
    assert found.pop("threads") == (2, str(home / "config.toml"))
    assert found.pop("lease_s") == (5.0, "PYRITE_LEASE_S")
    assert {source for _, source in found.values()} == {"default"}
    settings = Settings(home=home)
    assert all(value == getattr(settings, name) for name, (value, _) in found.items())


def test_the_home_is_the_platforms_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *a, **k: Path("/data") / a[0])
    assert find_home({}) == find_home({"PYRITE_HOME": ""}) == Path("/data/pyrite")
    row = origins(Settings(home=Path("/data/pyrite")), {})[0]
    assert (row.value, row.source) == ("/data/pyrite", "default")


def test_the_homes_tilde_and_a_relative_path_are_resolved(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    assert find_home({"PYRITE_HOME": "~/x"}) == home / "x"
    assert find_home({"PYRITE_HOME": "x"}) == home / "x"
    assert given(home, PYRITE_DATABASE="~/y.db").database_path == home / "y.db"
    assert given(home, PYRITE_DATABASE="y.db").database_path == home / "y.db"
    assert given(home, PYRITE_DATABASE="/y.db").database_path == Path("/y.db")


def test_a_home_of_nobody_is_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match="PYRITE_HOME: the home folder in '~nobody-has-this-name"):
        find_home({"PYRITE_HOME": "~nobody-has-this-name/x"})
    with pytest.raises(ConfigError, match="database: the home folder in '~nobody-has-this"):
        _ = given(home, PYRITE_DATABASE="~nobody-has-this-name/x").database_path


def test_settings_cannot_be_changed(home: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        Settings(home=home).threads = 3  # type: ignore[misc]
