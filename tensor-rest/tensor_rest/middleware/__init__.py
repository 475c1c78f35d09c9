"""What stands between a request and the gateway: who may ask, how much, how often; and what is measured of it."""
