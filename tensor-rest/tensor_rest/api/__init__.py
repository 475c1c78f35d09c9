"""The REST routes, their specification (Swagger 2.0 and OpenAPI 3.1), and the fast path without Flask."""
