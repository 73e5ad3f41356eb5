"""What the gateway itself may answer; what an upstream answers is passed on as it is."""

from collections.abc import Collection

from chassis.problems import Problem, ServiceUnavailable, with_head


class AddressRefused(Problem):
    status = 400
    example = "The path holds a dot segment."


class RequestRefused(Problem):
    status = 400
    example = "The Connection header names a header that is meant for the service."


class NothingHere(Problem):
    status = 404
    example = "There is nothing at this address."


class MethodUnknown(Problem):
    status = 405
    example = "This address does not know that method."

    def __init__(self, known: Collection[str]) -> None:
        super().__init__(self.example, headers={"Allow": ", ".join(sorted(with_head(known)))})


class Unauthenticated(Problem):
    status = 401
    example = "This needs an access token: Authorization: Bearer <token>."

    def __init__(self, detail: str = example, *, invalid: bool = False) -> None:
        challenge = 'Bearer error="invalid_token"' if invalid else "Bearer"
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class Forbidden(Problem):
    status = 403
    example = "This is for the role admin."


class SlowRequest(Problem):
    status = 408
    example = "The request's body did not arrive in time."

    def __init__(self) -> None:
        super().__init__(self.example, headers={"Connection": "close"})


class BodyTooLarge(Problem):
    status = 413
    example = "The body is larger than 1000000 bytes."


class QuotaExceeded(Problem):
    status = 429
    type = "/problems/quota-exceeded"
    title = "Quota exceeded"
    example = "No more than 60 per 1 minute for each caller; try again in 12 seconds."


class IdentityProviderAway(ServiceUnavailable):
    example = "Tokens cannot be verified: the identity provider has not given its keys yet."


class UpstreamAway(ServiceUnavailable):
    type = "/problems/upstream-away"
    example = "order-service cannot be reached."


class UpstreamBusy(ServiceUnavailable):
    type = "/problems/upstream-busy"
    example = "order-service has as many calls in hand as it may; try again shortly."


class UpstreamTimeout(Problem):
    status = 504
    example = "order-service did not answer in time. Whether it acted is not known."


class UpstreamBroken(Problem):
    status = 502
    example = "order-service broke off its answer. Whether it acted is not known."
