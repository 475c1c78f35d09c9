"""What the steps do: `run(job)` or `run_<what>(job)` for the step `<module>` or `<module>-<what>`."""
