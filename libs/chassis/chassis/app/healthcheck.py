"""`python -m chassis.app.healthcheck 8001 /health`: the health check of a container.

http.client uses no proxy. urllib would send the request to the one that `http_proxy` names, which
Docker sets in every container where its user has configured one.
"""

import http.client
import sys

_TIMEOUT_SECONDS = 4.0


def is_healthy(port: int, path: str) -> bool:
    """Return whether GET on this machine is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_healthy(int(sys.argv[1]), sys.argv[2]) else 1)
