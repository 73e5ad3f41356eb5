"""The gateway's own problem responses. An upstream's response is forwarded unchanged."""

from collections.abc import Collection

from chassis.problems import Problem, ServiceUnavailable, with_head


class InvalidAddress(Problem):
    status = 400
    example = "The path contains a dot segment."


class InvalidConnectionHeader(Problem):
    status = 400
    example = "The Connection header names a header that the service needs."


class ResourceNotFound(Problem):
    status = 404
    example = "There is nothing at this address."


class MethodNotAllowed(Problem):
    status = 405
    example = "This address does not know that method."

    def __init__(self, allowed: Collection[str]) -> None:
        super().__init__(self.example, headers={"Allow": ", ".join(sorted(with_head(allowed)))})


class Unauthenticated(Problem):
    status = 401
    example = "This operation needs an access token: Authorization: Bearer <token>."

    def __init__(self, detail: str = example, *, invalid: bool = False) -> None:
        challenge = 'Bearer error="invalid_token"' if invalid else "Bearer"
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class Forbidden(Problem):
    status = 403
    example = "This operation is for the role admin."


class RequestBodyTimeout(Problem):
    status = 408
    example = "The request body did not arrive in time."

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


class IdentityProviderUnavailable(ServiceUnavailable):
    example = "Tokens cannot be verified: the identity provider's keys are not available yet."


class UpstreamUnreachable(ServiceUnavailable):
    type = "/problems/upstream-away"
    example = "order-service cannot be reached."


class UpstreamBusy(ServiceUnavailable):
    type = "/problems/upstream-busy"
    example = "order-service has reached its limit of concurrent calls; try again shortly."


class UpstreamTimeout(Problem):
    status = 504
    example = "order-service did not answer in time. Whether it acted is not known."


class InvalidUpstreamResponse(Problem):
    status = 502
    example = "order-service sent no valid response. Whether it acted is not known."
