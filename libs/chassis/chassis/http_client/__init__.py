"""HTTP client for calls between services: timeout, retry, circuit breaker, deadline."""
