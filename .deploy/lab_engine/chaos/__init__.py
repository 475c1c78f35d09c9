"""Faults staged on a running lab by `bin/compose.sh chaos`, and the load that shows what they cost."""
