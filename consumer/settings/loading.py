"""Reads file and environment, and says of each mistake where it is and what is allowed."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import SettingsError

from consumer.errors import ConfigurationError
from consumer.settings.groups import ENVIRONMENT_PREFIX, AppSettings, Settings


def load_settings(path: Path | None) -> Settings:
    """Read the configuration from a file, if there is one, and the environment, which wins.

    Raises:
        ConfigurationError: one line for each mistake: the key, what is wrong, what is allowed.
    """
    document = _read_file(path) if path is not None else {}
    mistakes = list(_unknown_variables())
    try:
        settings = Settings(**document)
    except ValidationError as error:
        mistakes += [_describe(dict(mistake)) for mistake in error.errors(include_url=False)]
    except SettingsError as error:
        mistakes.append(f"{_variable_in(error)} (or one of its group): must be JSON")
    else:
        if not mistakes:
            return settings
    raise ConfigurationError("\n".join(mistakes))


def _read_file(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ConfigurationError(f"{path}{where}: not readable as YAML") from error
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ConfigurationError(f"{path}: the file must hold keys and values, as in README")
    return document


def _unknown_variables() -> Iterator[str]:
    """Variables that are meant for us (they name a group) but name none that there is."""
    groups = {name.upper() for name in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.startswith(ENVIRONMENT_PREFIX) and "__" in variable:
            group = variable.removeprefix(ENVIRONMENT_PREFIX).split("__")[0]
            if group not in groups:
                yield f"{variable}: no such key{_suggestion(group, groups)}"


def _variable_in(error: SettingsError) -> str:
    """The variable that was not readable; pydantic-settings names its top-level key alone."""
    named = re.search(r'field "(\w+)"', str(error))
    return ENVIRONMENT_PREFIX + (named[1].upper() if named else "*")


def _describe(mistake: Mapping[str, Any]) -> str:
    """One line: the key's name, what is wrong with what was given, what is allowed."""
    location = mistake["loc"]
    key = _key(location)
    given = mistake["input"]
    match mistake["type"]:
        case "extra_forbidden":
            return f"{key}: no such key{_suggestion(str(location[-1]), _siblings(location))}"
        case "missing":
            return f"{key}: is required"
        case "model_type" | "dict_type":
            problem = "must hold keys and values"
        case "tuple_type":
            problem = "must be a list"
        case _:
            problem = mistake["msg"].removeprefix("Value error, ")
            problem = re.sub(r"^(Input|String) should", "must", problem)
    if _is_secret(location) or not isinstance(given, str | int | float):
        return f"{key}: {problem}"
    return f"{key}: {given!r}: {problem}"


def _key(location: tuple[Any, ...]) -> str:
    """The key's name as people write it: `apps[0].app_id`; without pydantic's own additions."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part}"
        for part in location
        if part != "[key]" and not str(part).startswith("function-")
    )
    return "".join(parts).removeprefix(".")


def _is_secret(location: tuple[Any, ...]) -> bool:
    """Whether what was given there, by mistake or not, may be a secret."""
    return not {"properties", "property_files"}.isdisjoint(location) or (
        location[0] == "apps" and location[-1] != "app_id"
    )


def _siblings(location: tuple[Any, ...]) -> set[str]:
    """The keys there are where an unknown one was found."""
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            model = AppSettings
        elif part in model.model_fields and part != "apps":
            model = model.model_fields[part].annotation
    return set(model.model_fields)


def _suggestion(name: str, known: set[str]) -> str:
    matches = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else f"; there are {', '.join(sorted(known))}"
