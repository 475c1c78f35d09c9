"""The middleware in front of the application: API keys, limits, admission, and the metrics of each request."""
