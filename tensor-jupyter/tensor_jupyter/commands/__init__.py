"""The commands of `lab`, one module for each group; `cli` mounts them."""
