"""The settings of notification-service. Each field is an environment variable."""

from email.utils import parseaddr
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from chassis.settings import KafkaSettings, ServiceSettings


def _mailbox(value: str) -> str:
    """Accept an address on one line, with or without a name before it."""
    if not value.isprintable() or "@" not in parseaddr(value)[1]:
        raise ValueError("must be an e-mail address, with or without a name before it")
    return value


Mailbox = Annotated[str, AfterValidator(_mailbox)]


class Settings(ServiceSettings, KafkaSettings):
    service_name: str = "notification-service"
    kafka_session_seconds: float = Field(
        default=30.0,
        ge=6.0,
        description="a member without heartbeats for this long loses its partitions; on the "
        "embedded broker each join also takes half of it",
    )

    smtp_host: str = Field(default="", description="empty: mails are logged, not sent")
    smtp_port: int = Field(default=587, gt=0, lt=65536, description="465 speaks TLS from the start")
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_starttls: bool = Field(
        default=True, description="false only for a mailbox on this machine"
    )
    smtp_timeout: float = Field(default=10.0, gt=0, description="seconds for each reply")
    smtp_data_timeout: float = Field(
        default=60.0,
        gt=0,
        description="seconds for the reply to a mail's content; a server may scan it for long, "
        "and a mail whose reply is not awaited is sent again",
    )
    mail_from: Mailbox = "The Shop <shop@example.com>"
    alert_email: Mailbox = "stock@example.com"

    mail_rate_per_second: float = Field(
        default=0.0, ge=0, description="most mails per second of this replica; 0: no limit"
    )
    mail_retry_seconds: float = Field(
        default=5.0,
        gt=0,
        description="delay before the first retry of a deferred mail; each of the three further "
        "delays is five times as long, and the last one repeats",
    )
    mail_retry_hours: float = Field(
        default=48.0,
        gt=0,
        le=144,
        description="a mail that is deferred for longer becomes a dead letter; less than SENT_DAYS",
    )

    sent_memory: int = Field(
        default=100_000, gt=0, description="most event ids of sent mails kept in memory"
    )
    sent_days: float = Field(
        default=7.0, gt=0, description="days that they are kept; the retention of mail-sent"
    )
