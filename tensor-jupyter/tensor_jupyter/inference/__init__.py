"""Classify images with a served model or one loaded here, and measure how well it does.

`remote` calls the gateway, `local` loads a version into this process; both have the same interface. `stream` gives
them files in order, `evaluation` measures the served model with labelled images, `report` shows the results.
"""
