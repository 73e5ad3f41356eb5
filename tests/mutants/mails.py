"""Mutants of notification-service, and of the follow-up mails of ai-service."""

from tests.mutants.mutant import Edit, Mutant

_SERVICE = "notification-service/app/services/email_service.py"
_TEST = "tests/unit/test_email_service.py"
_REPLIES = "notification-service/app/smtp_replies.py"
_STATE = "notification-service/app/clients/server_state.py"
_FOLLOW_UP = "ai-service/app/services/follow_up.py"

MAILS = [
    Mutant(
        "every-delivery-is-a-mail",
        (24,),
        "notification-service",
        f"{_TEST}::test_send_of_a_repeated_event_is_skipped_and_counted",
        (
            Edit(
                _SERVICE,
                "if self._delivery_log.contains(mail.event_id):",
                'if self._delivery_log.contains(mail.event_id) and mail.event_type == "":',
            ),
        ),
    ),
    Mutant(
        "recorded-before-it-is-mailed",
        (23, 27),
        "notification-service",
        f"{_TEST}::test_failed_mail_is_not_recorded_and_can_be_sent_again",
        (
            Edit(
                _SERVICE,
                "            await self._mailer.send(mail)\n",
                """\
            self._delivery_log.add(mail.event_id, mail.event_type)
            await self._delivery_log.flush()
            await self._mailer.send(mail)
""",
            ),
        ),
    ),
    Mutant(
        "repeated-follow-up-is-another-event",
        (24,),
        "ai-service",
        "tests/unit/test_follow_up.py"
        "::test_redelivered_order_gets_same_event_id_derived_from_order",
        (
            Edit(_FOLLOW_UP, "from uuid import uuid5\n", "from uuid import uuid4\n"),
            Edit(_FOLLOW_UP, "uuid5(event.event_id, AI_NOTIFICATION_READY)", "uuid4()"),
        ),
    ),
    Mutant(
        "account-wide-refusal-is-a-dead-letter",
        (64,),
        "notification-service",
        "tests/unit/test_smtp_replies.py::test_reply_has_the_outcome_of_its_cause",
        (Edit(_REPLIES, "return detail in (2, 5)", "return detail == 2"),),
    ),
    Mutant(
        "one-recipient-lengthens-the-wait-of-all",
        (64,),
        "notification-service",
        "tests/unit/test_server_state.py"
        "::test_refusals_of_one_recipient_never_hold_other_mails_for_longer_than_a_second",
        (
            Edit(
                _STATE, "        if not same:\n            self._failures", "        self._failures"
            ),
        ),
    ),
]
