"""The configuration: file and environment, units, and one clear line for each mistake."""

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from consumer.core.model import CheckRules
from consumer.errors import ConfigurationError
from consumer.settings import Settings, load_settings, parse_duration_ms

SECRET = "topsecret"
MINIMAL: dict[str, object] = {
    "kafka": {"bootstrap_servers": "localhost:9092"},
    "apps": [{"app_id": 5, "server_secret": SECRET}],
}
DURATION_HINT = "write a duration with its unit, as in 50ms, 5s, 2m, 1h or 7d"


@pytest.fixture(autouse=True)
def _no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not decide a test."""
    for group in Settings.model_fields:
        monkeypatch.delenv(f"GIFTCHECK_{group.upper()}", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its configuration."""
    return tmp_path / "giftcheck.yaml"


def loaded(file: Path, **groups: object) -> Settings:
    """The minimal configuration with these groups, read from a file."""
    file.write_text(yaml.safe_dump(MINIMAL | groups))
    return load_settings(file)


def mistakes(file: Path, **groups: object) -> list[str]:
    """The lines with which a configuration is refused."""
    with pytest.raises(ConfigurationError) as refused:
        loaded(file, **groups)
    return str(refused.value).splitlines()


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("50ms", 50),
        ("5s", 5_000),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("7d", 604_800_000),
        ("1.5s", 1_500),
        (" 5s ", 5_000),
        ("0", 0),
        (0, 0),
        ("0s", 0),
    ],
)
def test_a_duration_is_written_with_its_unit(text: object, milliseconds: int) -> None:
    """Integer milliseconds inside; a bare 0 needs no unit."""
    assert milliseconds == parse_duration_ms(text)


@pytest.mark.parametrize("text", ["5", 5, "", "s", "-5s", "5 s", "5S", "5sec", "1e3s", None, [1]])
def test_what_is_no_duration_is_refused_with_how_to_write_it(text: object) -> None:
    """Nobody has to guess whether 5 are seconds."""
    with pytest.raises(ValueError, match=DURATION_HINT):
        parse_duration_ms(text)


def test_defaults_are_those_of_the_design(file: Path) -> None:
    """Whoever configures only brokers and apps gets the documented numbers."""
    settings = loaded(file)
    rules, check = CheckRules(), settings.check
    assert (rules.timeout_ms, rules.settle_ms, rules.give_up_after_ms, rules.lease_ms) == (
        check.timeout, check.settle, check.give_up_after, check.lease,
    )  # fmt: skip
    assert rules.request_price_ms == check.request_price * 1_000
    assert rules.pending_gifts_max == settings.limits.pending_gifts_max
    assert ("gift-sent", "gift-result", "gift-sent.dlq") == (
        settings.topics.gift_sent, settings.topics.gift_result, settings.topics.dead_letters,
    )  # fmt: skip
    assert settings.commit.interval == 50


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key: what the environment does not name keeps the file's value."""
    monkeypatch.setenv("GIFTCHECK_CHECK__TIMEOUT", "7s")
    check = loaded(file, check={"timeout": "5s", "settle": "2s"}).check
    assert (check.timeout, check.settle) == (7_000, 2_000)


def test_everything_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file; apps are JSON there."""
    monkeypatch.setenv("GIFTCHECK_KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("GIFTCHECK_APPS", '[{"app_id": 7, "server_secret": "topsecret"}]')
    settings = load_settings(None)
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert [(7, SECRET)] == [(app.app_id, app.secret()) for app in settings.apps]


def test_a_server_secret_is_read_from_its_file(file: Path, tmp_path: Path) -> None:
    """Stripped, for editors end files with a newline."""
    secret_file = tmp_path / "secret"
    secret_file.write_text(f"{SECRET}\n")
    apps = loaded(file, apps=[{"app_id": 5, "server_secret_file": str(secret_file)}]).apps
    assert [SECRET] == [app.secret() for app in apps]


@pytest.mark.parametrize(
    ("app", "line"),
    [
        ({"app_id": 5}, "apps[0]: give exactly one of server_secret and server_secret_file"),
        (
            {"app_id": 5, "server_secret": SECRET, "server_secret_file": "x"},
            "apps[0]: give exactly one of server_secret and server_secret_file",
        ),
        ({"app_id": 5, "server_secret": ""}, "apps[0]: the server secret is empty"),
        ({"app_id": 0, "server_secret": SECRET}, "apps[0].app_id: 0: must be greater"),
        ({"app_id": 2**32, "server_secret": SECRET}, "apps[0].app_id: 4294967296: must"),
        ({"app_id": 5, "server_secret": 12345678}, "apps[0].server_secret: must be a"),
        ({"app_id": 5, "server_secret_file": "/none"}, "apps[0]: cannot read server_secret_file"),
    ],
)
def test_an_app_needs_an_id_and_one_secret(file: Path, app: object, line: str) -> None:
    """Each mistake names the app by its position."""
    (mistake,) = mistakes(file, apps=[app])
    assert mistake.startswith(line)


def test_an_empty_secret_file_is_refused(file: Path, tmp_path: Path) -> None:
    """A file that was never filled would be found out only by the API."""
    (tmp_path / "secret").write_text(" \n")
    app = {"app_id": 5, "server_secret_file": str(tmp_path / "secret")}
    assert mistakes(file, apps=[app]) == ["apps[0]: the server secret is empty"]


def test_an_app_configured_twice_is_refused(file: Path) -> None:
    """Nobody could tell which secret counts."""
    app = {"app_id": 5, "server_secret": SECRET}
    assert mistakes(file, apps=[app, app]) == ["apps: app_id 5 is configured twice"]


def test_every_mistake_has_a_line_of_its_own(file: Path) -> None:
    """One start shows all there is to mend: key, what was given, what is allowed."""
    lines = mistakes(
        file,
        kafka={"bootstrap_servers": "x", "outage_max": 5, "instance_id": "a b"},
        check={"timeout": "5", "request_price": 3},
        http={"port": 70000},
        log={"level": "loud"},
    )
    keys = ["kafka.instance_id", "kafka.outage_max", "check.timeout", "check.request_price"]
    assert [*keys, "http.port", "log.level"] == [line.partition(":")[0] for line in lines]
    assert f"check.timeout: '5': {DURATION_HINT}" in lines


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ({"chek": {}}, "chek: no such key; did you mean check?"),
        ({"check": {"time_out": "5s"}}, "check.time_out: no such key; did you mean timeout?"),
        ({"kafka": {"bootstrap_servers": "x", "groupid": "y"}}, "kafka.groupid: no such key; did"),
        ({"registry": {"url": ""}}, "registry: no such key; there are apps, check, commit"),
        ({"apps": [{"app_id": 5, "server_secret": "s", "foo": 1}]}, "apps[0].foo: no such key; th"),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(
    file: Path, group: dict[str, object], line: str
) -> None:
    """A typing mistake must not silently leave a default in force."""
    (mistake,) = mistakes(file, **group)
    assert mistake.startswith(line)


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("GIFTCHECK_CHEK__TIMEOUT", "GIFTCHECK_CHEK__TIMEOUT: no such key; did you mean CHECK?"),
        ("GIFTCHECK_CHECK__TIMEOT", "check.timeot: no such key; did you mean timeout?"),
    ],
)
def test_an_unknown_variable_is_refused_with_a_suggestion(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, line: str
) -> None:
    """The same for the environment."""
    monkeypatch.setenv(variable, "5s")
    assert mistakes(file) == [line]


@pytest.mark.parametrize(
    "variable", ["GIFTCHECK_APPS", "GIFTCHECK_KAFKA__PROPERTIES", "GIFTCHECK_KAFKA"]
)
def test_a_variable_that_should_be_json_says_so(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """One line, and not with what it holds: that may be a secret."""
    monkeypatch.setenv(variable, f"{{{SECRET}")
    (mistake,) = mistakes(file)
    assert mistake == f"{variable.partition('__')[0]} (or one of its group): must be JSON"


@pytest.mark.parametrize(
    ("group", "line"),
    [
        (
            {"check": {"timeout": "5s", "settle": "1s", "give_up_after": "6s"}},
            "check: give_up_after must be 0 or longer than timeout + settle",
        ),
        (
            {"check": {"unknown_hold_min": "61s"}},
            "check: unknown_hold_min must not be longer than unknown_hold_max",
        ),
        ({"check": {"lease": "7s"}}, "check: lease + request_timeout must stay under"),
        ({"check": {"timeout": "0s"}}, "check.timeout: '0s': must be greater than 0"),
        ({"check": {"room_permits": 21}}, "check.room_permits: 21: must be less than"),
        ({"check": {"room_permits": 0}}, "check.room_permits: 0: must be greater than"),
        ({"check": {"batch_size_max": 0}}, "check.batch_size_max: 0: must be greater"),
        ({"check": {"request_price": 0}}, "check.request_price: 0: must be greater"),
        (
            {"limits": {"overdue_gifts_max": 500_000}},
            "limits: overdue_gifts_max must be smaller than pending_gifts_max",
        ),
        (
            {"limits": {"replay_records_max": 499_999}},
            "limits: replay_records_max must not be smaller than pending_gifts_max",
        ),
        ({"format": {"output": "confluent"}}, "format: output confluent needs result_schema_id"),
        ({"apps": []}, "apps: "),
    ],
)
def test_an_impossible_combination_is_refused(
    file: Path, group: dict[str, object], line: str
) -> None:
    """With the key and what is allowed."""
    (mistake,) = mistakes(file, **group)
    assert mistake.startswith(line)


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ({"topics": {"dead_letters": "gift-sent"}}, "topics: gift_sent, gift_result and dead_let"),
        ({"topics": {"gift_sent": "gift-result"}}, "topics: gift_sent, gift_result and dead_let"),
        ({"topics": {"gift_sent": ""}}, "topics.gift_sent: '': must match pattern"),
        ({"topics": {"gift_sent": "a b"}}, "topics.gift_sent: 'a b': must match pattern"),
        ({"kafka": {"bootstrap_servers": ""}}, "kafka.bootstrap_servers: '': must have at least 1"),
        ({"check": {"base_url": "example.org"}}, "check.base_url: 'example.org': must match"),
        ({"check": {"base_url": "https://"}}, "check.base_url: 'https://': must match pattern"),
        ({"format": {"schema_ids": {-1: "x"}}}, "format.schema_ids[-1]: -1: must be greater"),
        ({"format": {"schema_ids": {"x": "x"}}}, "format.schema_ids.x: 'x': must be a valid int"),
    ],
)
def test_a_name_or_number_that_cannot_work_is_refused(
    file: Path, group: dict[str, object], line: str
) -> None:
    """A dead letter written to gift-sent would come back for ever, to name the worst."""
    (mistake,) = mistakes(file, **group)
    assert mistake.startswith(line)


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ({"kafka": "x"}, "kafka: 'x': must hold keys and values"),
        ({"check": [1]}, "check: must hold keys and values"),
        ({"check": None}, "check: must hold keys and values"),
        ({"format": {"schema_ids": [1]}}, "format.schema_ids: must hold keys and values"),
        ({"apps": {"app_id": 5}}, "apps: must be a list"),
    ],
)
def test_a_group_of_the_wrong_shape_is_refused_in_words_of_the_file(
    file: Path, group: dict[str, object], line: str
) -> None:
    """Nobody has to know what a tuple or a model is."""
    assert mistakes(file, **group) == [line]


KEYS: dict[str, tuple[str, object]] = {
    "kafka.bootstrap_servers": ("kafka:1", "kafka:1"),
    "kafka.group_id": ("g", "g"),
    "kafka.instance_id": ("pod-1", "pod-1"),
    "kafka.start_from": ("latest", "latest"),
    "kafka.on_data_loss": ("continue", "continue"),
    "kafka.outage_max": ("61s", 61_000),
    "kafka.properties": ('{"a": "b"}', {"a": "b"}),
    "kafka.property_files": (f'{{"a": "{__file__}"}}', {"a": Path(__file__)}),
    "topics.gift_sent": ("s", "s"),
    "topics.gift_result": ("r", "r"),
    "topics.dead_letters": ("d", "d"),
    "check.base_url": ("http://127.0.0.1:1", "http://127.0.0.1:1"),
    "check.timeout": ("5s", 5_000),
    "check.settle": ("2s", 2_000),
    "check.give_up_after": ("2h", 7_200_000),
    "check.request_price": ("0.5", 0.5),
    "check.request_timeout": ("1s", 1_000),
    "check.requests_in_flight_max": ("7", 7),
    "check.batch_size_max": ("8", 8),
    "check.room_permits": ("9", 9),
    "check.lease": ("4s", 4_000),
    "check.unknown_hold_min": ("3s", 3_000),
    "check.unknown_hold_max": ("30s", 30_000),
    "commit.interval": ("10ms", 10),
    "limits.pending_gifts_max": ("500001", 500_001),
    "limits.overdue_gifts_max": ("11", 11),
    "limits.replay_records_max": ("500000", 500_000),
    "format.output": ("single-object", "single-object"),
    "format.writer_schemas": ("folder", Path("folder")),
    "format.schema_ids": ('{"1": "gift-sent"}', {1: "gift-sent"}),
    "format.result_schema_id": ("12", 12),
    "http.host": ("127.0.0.1", "127.0.0.1"),
    "http.port": ("0", 0),
    "log.level": ("debug", "debug"),
    "log.format": ("console", "console"),
}
"""Every key but those of an app, as a variable gives it and as the code sees it."""


@pytest.mark.parametrize("key", KEYS)
def test_every_key_can_be_given_by_file_and_by_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Both ways lead to the same setting."""
    group, name = key.split(".")
    text, value = KEYS[key]
    required = {"bootstrap_servers": "localhost:9092"} if group == "kafka" else {}
    from_file = loaded(file, **{group: required | {name: yaml.safe_load(text)}})
    monkeypatch.setenv(f"GIFTCHECK_{group.upper()}__{name.upper()}", text)
    from_environment = loaded(file)
    assert [value, value] == [
        getattr(getattr(settings, group), name) for settings in (from_file, from_environment)
    ]


def test_no_key_is_left_out_above() -> None:
    """A new setting is tried by file and by environment as well."""
    keys = {
        f"{group}.{name}"
        for group, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for name in field.annotation.model_fields
    }
    assert keys == set(KEYS)


def test_bounds_are_inclusive_where_they_say_so(file: Path) -> None:
    """The most that the vendor allows, a price of 1, and giving up never."""
    check = loaded(
        file, check={"room_permits": 20, "request_price": 1, "give_up_after": 0, "lease": "6999ms"}
    ).check
    assert (check.room_permits, check.request_price, check.give_up_after) == (20, 1, 0)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("earliest", "earliest"),
        ("latest", "latest"),
        ("2026-01-31T12:00:00+00:00", 1_769_860_800_000),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800_000),
        ("2026-01-31T12:00:00", 1_769_860_800_000),
        ("2026-01-31", 1_769_817_600_000),
    ],
)
@pytest.mark.parametrize("quoted", [True, False], ids=["quoted", "bare"])
def test_a_group_starts_at_an_end_or_at_a_time(
    file: Path, text: str, start: object, *, quoted: bool
) -> None:
    """Times are ISO, UTC where no zone is said; YAML reads a bare one as a date itself."""
    written = f'"{text}"' if quoted else text
    file.write_text(
        f"kafka: {{bootstrap_servers: x, start_from: {written}}}\n"
        "apps: [{app_id: 5, server_secret: s}]"
    )
    assert start == load_settings(file).kafka.start_from


@pytest.mark.parametrize("start", ["soon", 5, True])
def test_any_other_start_is_refused(file: Path, start: object) -> None:
    """A number could be seconds or milliseconds, so it is none of them."""
    (mistake,) = mistakes(file, kafka={"bootstrap_servers": "x", "start_from": start})
    assert mistake.startswith("kafka.start_from: ")
    assert mistake.endswith("write earliest, latest or a time, as in 2026-01-31T12:00:00+00:00")


def test_properties_are_written_as_yaml_likes_and_reach_librdkafka_as_text(file: Path) -> None:
    """`true` and 5 are what librdkafka calls "true" and "5"."""
    kafka = {"bootstrap_servers": "x", "properties": {"a": True, "b": 5, "c": "d"}}
    assert loaded(file, kafka=kafka).kafka.properties == {"a": "true", "b": "5", "c": "d"}


def test_a_property_can_come_out_of_a_file(file: Path, tmp_path: Path) -> None:
    """Stripped, and read when it is asked for."""
    password = tmp_path / "password"
    password.write_text(f" {SECRET}\n")
    kafka = {"bootstrap_servers": "x", "property_files": {"sasl.password": str(password)}}
    assert {"sasl.password": SECRET} == loaded(file, kafka=kafka).kafka.properties_of_files()


def test_a_property_file_that_holds_nothing_readable_is_named(file: Path, tmp_path: Path) -> None:
    """All such files in one line, by property and path; what is in one is not quoted."""
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(f"\xff{SECRET}".encode("latin-1"))
    files = {"a": "/none", "b": str(tmp_path), "c": f"{tmp_path}/empty", "d": f"{tmp_path}/binary"}
    (mistake,) = mistakes(file, kafka={"bootstrap_servers": "x", "property_files": files})
    assert mistake == (
        "kafka.property_files: a: cannot read /none: No such file or directory;"
        f" b: cannot read {tmp_path}: Is a directory; c: {tmp_path}/empty is empty;"
        f" d: cannot read {tmp_path}/binary: not UTF-8"
    )


def test_a_property_given_twice_is_refused(file: Path) -> None:
    """Nobody could tell which value counts."""
    kafka = {
        "bootstrap_servers": "x",
        "properties": {"a": SECRET, "b": "1"},
        "property_files": {"a": __file__},
    }
    assert mistakes(file, kafka=kafka) == ["kafka: a: give it in properties or in property_files"]


def test_no_secret_is_ever_shown(file: Path) -> None:
    """Neither of an app nor in a property, neither in what is right nor in what is wrong."""
    kafka = {"bootstrap_servers": "x", "properties": {"sasl.password": SECRET}}
    settings = loaded(file, kafka=kafka)
    wrong = [
        *mistakes(file, apps=SECRET),
        *mistakes(file, apps=[SECRET]),
        *mistakes(file, apps=[{"app_id": 5, "server_secret": {"x": SECRET}}]),
        *mistakes(file, apps=[{"app_id": 5, "server_secret": SECRET, "foo": SECRET}]),
        *mistakes(file, kafka={"bootstrap_servers": "x", "properties": SECRET}),
        *mistakes(file, kafka={"bootstrap_servers": "x", "properties": {"a": {"b": SECRET}}}),
        *mistakes(file, kafka={"bootstrap_servers": "x", "property_files": SECRET}),
        *mistakes(file, kafka={"bootstrap_servers": "x", "property_files": {"a": {"b": SECRET}}}),
    ]
    assert SECRET not in f"{settings} {settings!r} {settings.apps[0].model_dump()} {wrong}"


@pytest.mark.parametrize("text", ["- 1", "kafka: {{", "just text", "1: 2", "\x00"])
def test_a_file_that_is_no_configuration_is_named(file: Path, text: str) -> None:
    """One line with the file, and where in it."""
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings(file)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(str(file))


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    """With what the system says of it."""
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_settings(file)


def test_an_empty_file_lacks_what_is_required(file: Path) -> None:
    """The two things nobody can guess."""
    file.write_text("")
    with pytest.raises(ConfigurationError) as refused:
        load_settings(file)
    assert str(refused.value).splitlines() == ["kafka: is required", "apps: is required"]
