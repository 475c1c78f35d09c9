"""The two programs in front of the application: their command lines and configuration, made from the settings."""
