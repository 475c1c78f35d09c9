"""What an operator sees of the gateway: numbers over all workers."""
