"""The configuration: one YAML file, every key of it also by environment (design §9).

Unknown keys, wrong types and impossible combinations are refused at start, one line for each
mistake, with the key's name and what is allowed. Durations are written with a unit and are
milliseconds in the code. `groups` holds the keys, `values` how single ones are written, `loading`
reads and complains.
"""

from consumer.settings.groups import AppSettings, LogSettings, Settings
from consumer.settings.loading import load_settings
from consumer.settings.values import parse_duration_ms

__all__ = ["AppSettings", "LogSettings", "Settings", "load_settings", "parse_duration_ms"]
