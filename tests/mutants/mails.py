"""Defects of notification-service."""

from tests.mutants.mutant import Edit, Mutant

_SERVICE = "notification-service/app/services/notification_service.py"
_TEST = "tests/unit/test_notification_service.py"

MAILS = [
    Mutant(
        "every-delivery-is-a-mail",
        (24,),
        "notification-service",
        f"{_TEST}::test_an_event_that_comes_again_is_skipped_and_counted",
        (
            Edit(
                _SERVICE,
                "if self._sent.knows(mail.event_id):",
                'if self._sent.knows(mail.event_id) and mail.event_type == "":',
            ),
        ),
    ),
    Mutant(
        "recorded-before-it-is-mailed",
        (23, 27),
        "notification-service",
        f"{_TEST}::test_what_was_not_mailed_is_not_recorded",
        (
            Edit(
                _SERVICE,
                "            await self._mailer.send(mail)\n",
                """\
            self._sent.remember(mail.event_id, mail.event_type)
            await self._sent.settle()
            await self._mailer.send(mail)
""",
            ),
        ),
    ),
]
