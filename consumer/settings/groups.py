"""The groups of keys: types, defaults, bounds, and what is impossible together.

The text under a field is its documentation: README prints it.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from consumer.core.metadata import INSTANCE_CHARACTERS_MAX
from consumer.settings.values import (
    DurationMs,
    SchemaId,
    TopicName,
    parse_start,
    property_text,
    read_stripped,
)

ENVIRONMENT_PREFIX: Final = "GIFTCHECK_"

SESSION_TIMEOUT_MS: Final = 10_000
"""The group's session time-out; a lease must end well before a successor can begin (design §5)."""


class _Group(BaseModel):
    # Not `use_attribute_docstrings`: it parses this file's source at each start.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class KafkaSettings(_Group):
    """How Kafka is reached, and where a group begins."""

    bootstrap_servers: Annotated[str, Field(min_length=1)]
    """Brokers to ask first, as `host:port`, comma-separated."""
    group_id: Annotated[str, Field(min_length=1)] = "giftcheck"
    """Consumer group; with the instance's name it makes the transactional id."""
    instance_id: Annotated[
        str, Field(pattern=rf"^([A-Za-z0-9._-]{{1,{INSTANCE_CHARACTERS_MAX}}})?$")
    ] = ""
    """Stable name of this process (its pod's); empty: a dynamic member with a random name."""
    start_from: Annotated[Literal["earliest", "latest"] | int, BeforeValidator(parse_start)] = (
        "earliest"
    )
    """Where the group begins at its very first start: `earliest`, `latest` or an ISO time."""
    on_data_loss: Literal["stop", "continue"] = "stop"
    """What to do if committed offsets are gone, foreign or below the log's beginning."""
    outage_max: Annotated[DurationMs, Field(gt=0)] = 120_000
    """How long brokers may be away before the process ends with exit code 70."""
    properties: Annotated[dict[str, str], Field(repr=False)] = {}  # may hold passwords
    """Anything else librdkafka knows (`security.protocol`, `sasl.*`, `ssl.*`)."""
    property_files: dict[str, Path] = {}
    """The same, as files that hold the values (`sasl.password`, `ssl.key.password`); read at start."""

    @field_validator("properties", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: property_text(given) for name, given in value.items()}

    @field_validator("property_files")
    @classmethod
    def _can_be_read(cls, files: dict[str, Path]) -> dict[str, Path]:
        mistakes = []
        for name, file in files.items():
            try:
                _property_in(name, file)
            except ValueError as mistake:
                mistakes.append(str(mistake))
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return files

    @model_validator(mode="after")
    def _says_each_property_once(self) -> Self:
        twice = sorted(self.properties.keys() & self.property_files.keys())
        if twice:
            raise ValueError(f"{', '.join(twice)}: give it in properties or in property_files")
        return self

    def properties_of_files(self) -> dict[str, str]:
        """What the `property_files` hold now, stripped; secrets, not to be shown.

        A client keeps the values that it was made with: what is rotated counts from the next start
        on. Until then connections go on, for Kafka authenticates each of them once; one that has
        to be made anew is refused if the brokers no longer take the old value. So restart soon
        after a rotation.

        Raises:
            ValueError: a file cannot be read or is empty; names property and path.
        """
        return {name: _property_in(name, file) for name, file in self.property_files.items()}


def _property_in(name: str, file: Path) -> str:
    try:
        value = read_stripped(file)
    except ValueError as reason:
        raise ValueError(f"{name}: cannot read {file}: {reason}") from None
    if not value:
        raise ValueError(f"{name}: {file} is empty")
    return value


class TopicsSettings(_Group):
    """The topics' names."""

    gift_sent: TopicName = "gift-sent"
    """Input: gifts sent, keyed by room."""
    gift_result: TopicName = "gift-result"
    """Output: one result for each gift, keyed by room."""
    dead_letters: TopicName = "gift-sent.dlq"
    """Output: records that are no valid gift, byte for byte."""

    @model_validator(mode="after")
    def _are_three(self) -> Self:
        # What is written to gift-sent would be read again, and refused again, for ever.
        if len({self.gift_sent, self.gift_result, self.dead_letters}) < 3:  # noqa: PLR2004  as said
            raise ValueError("gift_sent, gift_result and dead_letters must be three topics")
        return self


class AppSettings(_Group):
    """One ZEGOCLOUD app and its server secret."""

    app_id: Annotated[int, Field(ge=1, lt=2**32)]
    """The vendor's AppId."""
    server_secret: SecretStr | None = None
    """Its ServerSecret; better given by file or environment."""
    server_secret_file: Path | None = None
    """A file that holds the ServerSecret; read again when the vendor refuses it."""

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if (self.server_secret is None) == (self.server_secret_file is None):
            raise ValueError("give exactly one of server_secret and server_secret_file")
        self.secret()
        return self

    def secret(self) -> str:
        """The ServerSecret, read from its file where there is one.

        Raises:
            ValueError: the file cannot be read or is empty.
        """
        if self.server_secret is not None:
            secret = self.server_secret.get_secret_value()
        else:
            assert self.server_secret_file is not None  # noqa: S101  the validator saw to it
            try:
                secret = read_stripped(self.server_secret_file)
            except ValueError as reason:
                raise ValueError(
                    f"cannot read server_secret_file {self.server_secret_file}: {reason}"
                ) from None
        if not secret:
            raise ValueError("the server secret is empty")
        return secret


class CheckSettings(_Group):
    """When and how the API is asked."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]")] = "https://mini-game-api.zego.im"
    """The API's address; prefer your region's host."""
    timeout: Annotated[DurationMs, Field(gt=0)] = 30_000
    """From sending a gift to its deadline: what is not consumed by then is `UNCONSUMED`."""
    settle: DurationMs = 1_000
    """How long after the deadline a check must be sent to prove absence."""
    give_up_after: DurationMs = 3_600_000
    """When a gift that cannot be asked about becomes `UNVERIFIED`; 0: never."""
    request_price: Annotated[float, Field(gt=0, le=1)] = 0.03
    """Gift-seconds of waiting that are worth one request: small is prompt, large is thrifty."""
    request_timeout: Annotated[DurationMs, Field(gt=0)] = 3_000
    """How long one request may take."""
    requests_in_flight_max: Annotated[int, Field(ge=1)] = 256
    """Requests under way at once, over all rooms."""
    batch_size_max: Annotated[int, Field(ge=1)] = 100
    """Ids in one request."""
    room_permits: Annotated[int, Field(ge=1, le=20)] = 20
    """Requests a room may get in any second; the vendor allows 20."""
    lease: Annotated[DurationMs, Field(gt=0)] = 3_000
    """How long after its last commit a process may still ask about a partition."""
    unknown_hold_min: DurationMs = 2_000
    """The least time a request without answer is taken to be under way."""
    unknown_hold_max: DurationMs = 60_000
    """The most time a request without answer is taken to be under way."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if 0 < self.give_up_after <= self.timeout + self.settle:
            raise ValueError("give_up_after must be 0 or longer than timeout + settle")
        if self.unknown_hold_min > self.unknown_hold_max:
            raise ValueError("unknown_hold_min must not be longer than unknown_hold_max")
        if self.lease + self.request_timeout >= SESSION_TIMEOUT_MS:
            raise ValueError(
                "lease + request_timeout must stay under the group's session time-out of 10s,"
                " or a successor begins while this process still asks"
            )
        return self


class CommitSettings(_Group):
    """How often is committed."""

    interval: DurationMs = 50
    """The least time between two transactions; the first after a quiet time comes at once."""


class LimitsSettings(_Group):
    """What is bounded; at a limit overdue gifts are given up early or intake pauses, visibly."""

    pending_gifts_max: Annotated[int, Field(ge=1)] = 500_000
    """Gifts without a result, in memory."""
    overdue_gifts_max: Annotated[int, Field(ge=1)] = 100_000
    """Of these, gifts past their deadline that the API could not be asked about."""
    replay_records_max: Annotated[int, Field(ge=1)] = 1_000_000
    """Records of a partition that a successor would read again: from its oldest pending gift on."""

    @model_validator(mode="after")
    def _can_each_be_reached(self) -> Self:
        # Else intake pauses for all before those that hold it up are given up.
        if self.overdue_gifts_max >= self.pending_gifts_max:
            raise ValueError("overdue_gifts_max must be smaller than pending_gifts_max")
        # Pending gifts of one partition are all among its records to replay.
        if self.replay_records_max < self.pending_gifts_max:
            raise ValueError("replay_records_max must not be smaller than pending_gifts_max")
        return self


class FormatSettings(_Group):
    """How events are encoded; formats in are told apart by their first byte."""

    output: Literal["single-object", "confluent"] = "single-object"
    """Encoding of gift-result: Avro single-object, or Confluent framing."""
    writer_schemas: Path | None = None
    """A folder with more writer schemas (`*.avsc`) for single-object gift-sent."""
    schema_ids: dict[SchemaId, str] = {}
    """Confluent ids of gift-sent's writer schemas: a file, or `gift-sent` for the shipped one."""
    result_schema_id: SchemaId | None = None
    """The id to frame gift-result with; needed where `output` is `confluent`."""

    @model_validator(mode="after")
    def _has_an_id_to_write(self) -> Self:
        if self.output == "confluent" and self.result_schema_id is None:
            raise ValueError("output confluent needs result_schema_id")
        return self


class HttpSettings(_Group):
    """Where /livez, /readyz, /metrics and /status are served."""

    host: str = "0.0.0.0"  # noqa: S104  a pod's probes and scrapes come from outside it
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, lt=2**16)] = 8080
    """Port to listen on; 0: any free one."""


class LogSettings(_Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are written."""
    format: Literal["json", "console"] = "json"
    """`json` for machines, `console` for people."""


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
    )

    kafka: KafkaSettings
    topics: TopicsSettings = TopicsSettings()
    apps: tuple[AppSettings, ...]
    check: CheckSettings = CheckSettings()
    commit: CommitSettings = CommitSettings()
    limits: LimitsSettings = LimitsSettings()
    format: FormatSettings = FormatSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @field_validator("apps")
    @classmethod
    def _names_each_app_once(cls, apps: tuple[AppSettings, ...]) -> tuple[AppSettings, ...]:
        ids = [app.app_id for app in apps]
        if not apps:
            raise ValueError("configure at least one app")
        twice = sorted({app_id for app_id in ids if ids.count(app_id) > 1})
        if twice:
            raise ValueError(f"app_id {twice[0]} is configured twice")
        return apps

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; nothing else."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings
