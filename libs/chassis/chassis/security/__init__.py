"""JWT verification and the identity provider's key set (JWKS)."""
