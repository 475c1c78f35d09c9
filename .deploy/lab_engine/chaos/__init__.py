"""Faults injected into a running lab by `bin/compose.sh chaos`, and the load that shows their effect."""
