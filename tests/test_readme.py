"""README and code say the same: the table of settings, the smallest configuration, the words."""

import re
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml
from pydantic.fields import FieldInfo

from consumer.core.model import Status
from consumer.settings import Settings, load_settings, parse_duration_ms
from tests.settings_keys import Key, keys

README: Final = Path(__file__).parent.parent / "README.md"
BEGIN: Final = re.compile(r"<!-- settings: begin[^>]*-->\n")
END: Final = "<!-- settings: end -->"
UNITS_MS: Final = (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))


def duration(ms: int) -> str:
    """A duration as a configuration writes it, in the largest unit that is exact."""
    unit, unit_ms = next(each for each in UNITS_MS if ms % each[1] == 0)
    return f"{ms // unit_ms}{unit}" if ms else "0"


def shown_default(field: FieldInfo) -> str:
    """What holds where nothing is configured, as it would be configured."""
    if field.is_required():
        return "*required*"
    default = field.default
    if default is None:
        return "none"
    if any(getattr(each, "func", None) is parse_duration_ms for each in field.metadata):
        return f"`{duration(default)}`"
    text = '""' if default == "" else str(default)
    return f"`{text}`"


def row(key: Key) -> str:
    """The line for a key."""
    meaning = (key.meaning or "UNDOCUMENTED").replace("|", "\\|")
    return f"| `{key.name}` | {shown_default(key.field)} | {meaning}{allowed(key)} |"


def allowed(key: Key) -> str:
    """The words a key may have, where the meaning does not say them."""
    words = [word for word in get_args(key.field.annotation) if isinstance(word, str)]
    named = all(f"`{word}`" in key.meaning for word in words)
    return "" if named else f" One of {', '.join(f'`{word}`' for word in words)}."


def settings_table() -> str:
    """The table as README must hold it."""
    head = ["| key | default | meaning |", "|---|---|---|"]
    return "\n".join([*head, *map(row, keys())]) + "\n"


def section(text: str, title: str) -> str:
    """What README says under a heading."""
    return text.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


@pytest.fixture(scope="module")
def readme() -> str:
    """README's text."""
    return README.read_text("utf-8")


def test_the_table_of_settings_is_that_of_the_code(readme: str) -> None:
    """Every key with its default and meaning; on a difference the table to put there is printed."""
    begin, end = BEGIN.search(readme), readme.index(END)
    assert begin is not None
    expected = settings_table()
    if expected != readme[begin.end() : end]:
        print(f"README.md must hold between its two marks:\n\n{expected}")
    assert expected.splitlines() == readme[begin.end() : end].splitlines()


def test_every_setting_is_documented() -> None:
    """A key without a text under it cannot be understood from README."""
    assert [] == [key.name for key in keys() if not key.meaning]


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0"), (50, "50ms"), (1_500, "1500ms"), (30_000, "30s"), (120_000, "2m")]
)
def test_a_default_is_shown_as_it_would_be_written(ms: int, text: str) -> None:
    """A duration with its unit, which reads back as the same number."""
    assert text == duration(ms)
    assert ms == parse_duration_ms(text)


def test_the_smallest_configuration_works(readme: str, tmp_path: Path) -> None:
    """A newcomer copies it, and only the secret's file has to be there."""
    block = section(readme, "Run it").split("```yaml\n")[1].split("```")[0]
    document: dict[str, Any] = yaml.safe_load(block)
    secret = tmp_path / "server-secret"
    secret.write_text("any")
    document["apps"][0]["server_secret_file"] = str(secret)
    file = tmp_path / "giftcheck.yaml"
    file.write_text(yaml.safe_dump(document))
    settings = load_settings(file)
    assert [1234567890] == [app.app_id for app in settings.apps]
    assert settings.kafka.instance_id == "giftcheck-0"


def test_every_status_is_explained(readme: str) -> None:
    """Whoever reads results finds each of their words."""
    assert [] == [status.value for status in Status if f"`{status.value}`" not in readme]


def test_every_key_that_readme_names_exists(readme: str) -> None:
    """Prose and table speak of the same keys: a renamed one is found here."""
    names = {key.name for key in keys()}
    groups = "|".join(Settings.model_fields)
    named = set(re.findall(rf"`((?:{groups})\.\w+)`", readme))
    assert named - names == set()
    assert "check.request_price" in named
