"""The description of the REST API: Swagger 2.0 and OpenAPI 3.1 of the same operations."""
