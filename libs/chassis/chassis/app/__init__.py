"""The FastAPI app of a service: factory, middleware, docs page, health checks, request headers."""
