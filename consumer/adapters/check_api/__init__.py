"""The check API over HTTP: `client` asks, `answer` reads what the vendor says."""

from consumer.adapters.check_api.answer import read_answer
from consumer.adapters.check_api.client import CheckApi, signature

__all__ = ["CheckApi", "read_answer", "signature"]
