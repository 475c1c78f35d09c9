"""The commands of `lab`, one module for each room; `cli` mounts them."""
