"""The middleware in front of the application: API keys, limits, rate; and what is measured of a request."""
