"""The loading of settings: read once at the edge, and passed down as one frozen object.

A setting comes from, in order of precedence: a ``PYRITE_*`` environment variable, the file
``config.toml`` in Pyrite's home, its default. Nothing else reads the environment.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pyrite.config.settings import FILE_NAME, FILE_SETTINGS, Settings, expanded
from pyrite.errors import ConfigError

PREFIX = "PYRITE_"

#: What a setting of each kind may be given as; in the environment, everything is a text.
_GIVEN_AS: Mapping[type, tuple[type, ...]] = {
    str: (str,),
    int: (str, int),
    float: (str, int, float),
    bool: (str, bool),
}
_IN_WORDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}

#: How true and false are written where everything is a text.
_TRUTH: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}

#: What a setting can be.
Value = str | int | float | bool

#: The field of each setting, by its name.
_SPECS: Mapping[str, Any] = {each.name: each for each in fields(Settings)}

#: What is shown in place of a secret.
HIDDEN = "********"


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting's value and where it came from; of a secret, only whether there is one."""

    name: str
    value: Value
    source: str
    help: str


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in force.

    Raises:
        ConfigError: a value cannot be used, or a name is unknown; the message says where.
    """
    home = find_home(environ)
    values: dict[str, Any] = {}
    for name, (value, source) in _given(home, environ).items():
        values[name] = checked(name, value, source)
    return Settings(home=home, **values)


def origins(settings: Settings, environ: Mapping[str, str]) -> list[Origin]:
    """Every setting with its value and source, in order of the reference."""
    given = _given(settings.home, environ)
    home_source = f"{PREFIX}HOME" if environ.get(f"{PREFIX}HOME") else "default"
    rows = [Origin("home", str(settings.home), home_source, _SPECS["home"].metadata["help"])]
    for each in FILE_SETTINGS:
        source = given[each.name][1] if each.name in given else "default"
        value = shown(each.name, getattr(settings, each.name))
        rows.append(Origin(each.name, value, source, each.metadata["help"]))
    return rows


def shown(name: str, value: Value) -> Value:
    """The value as it may be shown."""
    return HIDDEN if value and _SPECS[name].metadata["secret"] else value


def find_home(environ: Mapping[str, str]) -> Path:
    """Pyrite's home: ``PYRITE_HOME``, or the platform's folder for a user's data."""
    given = environ.get(f"{PREFIX}HOME")
    if given:
        return expanded(given, f"{PREFIX}HOME").absolute()
    # Imported only here: most tests and all deployments name a home.
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_data_path("pyrite", appauthor=False)


def _given(home: Path, environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Values that are not defaults, with their sources."""
    path = home / FILE_NAME
    given = {name: (value, str(path)) for name, value in _read_file(path).items()}
    for name in given:
        require_no_secret(name, str(path))
    for variable, text in environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name != "home":
            given[name] = (text, variable)
    for name in sorted(given):
        require_known(name, given[name][1])
    return given


def require_known(name: str, source: str) -> None:
    """Refuse the name of what is no setting, or cannot stand in a file.

    Raises:
        ConfigError: it is unknown; the message begins with the source.
    """
    if name == "home" or name not in _SPECS:
        raise ConfigError(
            f"{source}: there is no setting named {name!r}; "
            "the handbook's reference/settings lists them all"
        )


def require_no_secret(name: str, source: str) -> None:
    """Refuse to keep a secret in a file, which is copied, shared and backed up.

    Raises:
        ConfigError: the setting is a secret; the message begins with the source.
    """
    if name in _SPECS and _SPECS[name].metadata.get("secret"):
        raise ConfigError(
            f"{source}: {name} is a secret and is taken from the environment alone; "
            f"set {PREFIX}{name.upper()} instead"
        )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return parsed(path, path.read_bytes())
    except FileNotFoundError:
        return {}
    except NotADirectoryError as error:
        raise no_folder(path.parent) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error


def parsed(path: Path, raw: bytes) -> dict[str, Any]:
    """What the configuration file says.

    Raises:
        ConfigError: it is not TOML in UTF-8; the message says where.
    """
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"line {line} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, f"it is not TOML: {error}") from error


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read: {reason}; mend it with an editor, or delete it")


def no_folder(home: Path) -> ConfigError:
    """What to say of a home that cannot be one."""
    return ConfigError(f"{home} is no folder; {PREFIX}HOME names another home")


def checked(name: str, value: Any, source: str) -> Value:
    """The value as the setting's type, within its bounds.

    Raises:
        ConfigError: it cannot be used; the message begins with the source.
    """
    spec = _SPECS[name]
    kind = type(spec.default)
    found = _as_kind(kind, value)
    if found is None:
        raise ConfigError(f"{source}: {name} must be {_IN_WORDS[kind]}, not {shown(name, value)!r}")
    wrong = _wrong(spec, found, value)
    if wrong is not None:
        raise ConfigError(f"{source}: {name} {wrong}")
    return found


def _wrong(spec: Any, found: Value, given: Any) -> str | None:
    """What a value of the right kind has to be instead of what was given, or None."""
    rules = spec.metadata
    if isinstance(found, str):
        if rules["choices"] and found not in rules["choices"]:
            return f"must be one of {', '.join(rules['choices'])}, not {found!r}"
        try:
            if rules["form"] is not None:
                rules["form"](found)
        except ValueError as error:
            return f"cannot be read: {error}"
        return None
    if rules["minimum"] is not None and found < rules["minimum"]:
        return f"must be at least {rules['minimum']}, not {given!r}"
    if found > rules["maximum"]:
        return f"must be at most {rules['maximum']}, not {given!r}"
    return None


def _as_kind(kind: Any, value: Any) -> Value | None:
    """The value as one of this kind, or None."""
    # A file may hold true, or 1.5 where a whole number is meant; neither is taken for 1.
    if isinstance(value, bool):
        return value if kind is bool else None
    if not isinstance(value, _GIVEN_AS[kind]):
        return None
    if kind is bool:
        return _TRUTH.get(str(value))
    try:
        found: Value = kind(value)
    except (ValueError, OverflowError):
        return None
    return None if isinstance(found, float) and not math.isfinite(found) else found
