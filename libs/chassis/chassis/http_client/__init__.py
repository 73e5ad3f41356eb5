"""HTTP client for calls between services: deadline, retries, circuit breaker."""
