"""The vendor's return codes. Source: zego-api.md (*Global return codes*)."""

from typing import Final

MESSAGES: Final = {
    0: "succeed",
    1: "failed, server busy",
    2: "wrong input parameter",
    3: "authentication failed",
    7: "too many requests per second",
    7200004: "parameter missing or invalid",
    7202000: "error while calling, try again",
    7202001: "game does not exist or no permission for it",
    7202002: "MiniGameId has a wrong format",
    7202003: "AppId invalid or mini-game service not activated",
    7203001: "identity authentication failed",
    7210000: "system error, try again",
    7210001: "service abnormal",
    100000000: "wrong Host header",
    100000001: "AppId malformed",
    100000002: "Timestamp missing",
    100000003: "Timestamp malformed",
    100000004: "signature expired",
    100000005: "signature wrong",
    100000006: "Action missing",
    100000007: "Action unsupported",
    100000008: "SignatureNonce missing",
    100000009: "Signature missing",
    100000010: "ServerSecret not found",
    100000011: "app configuration not found",
    100000012: "HTTP body unreadable",
    100000013: "SignatureVersion missing",
    100000014: "SignatureVersion unsupported",
    100000015: "gateway internal error",
    100000016: "no production environment for the app",
    100000017: "service not enabled for the app",
}
"""What the codes mean; those that no wrong request can provoke are there to be forced."""
