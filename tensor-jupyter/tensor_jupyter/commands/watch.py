"""`lab watch`: the served models' live metrics as curves in TensorBoard, beside those of their training."""

import time
from typing import Annotated

import typer

from tensor_jupyter.commands.console import err, errors_in_one_line, out
from tensor_jupyter.errors import LabError
from tensor_jupyter.settings import Settings


def watch(
    model: Annotated[str | None, typer.Option(help="Only this model; else every model with requests.")] = None,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two points of a curve.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Write one point, and exit.")] = False,
) -> None:
    """Write the served models' latency and answers into TensorBoard, as the runs serving/MODEL, until Ctrl-C."""
    with errors_in_one_line():
        from tensor_jupyter import metrics_import
        from tensor_jupyter.gateway import Gateway

        settings = Settings.read()
        events: dict[str, metrics_import.Events] = {}
        with Gateway(settings) as gateway:
            before, then = metrics_import.read(gateway), time.monotonic()
            err.print(f"Written to {settings.logs / 'serving'}: {settings.board_url}")
            while True:
                time.sleep(every)
                try:
                    now, later = metrics_import.read(gateway), time.monotonic()
                except LabError as error:  # unavailable, or restarted: it may answer for the next point
                    if once:
                        raise
                    err.print(str(error))
                    continue
                for name, figures in metrics_import.since(before, now, later - then).items():
                    if model in (None, name):
                        if name not in events:
                            events[name] = metrics_import.Events(settings.logs / "serving" / name)
                        events[name].write(figures)
                        out.print(f"{time.strftime('%H:%M:%S')}  {name}  {_format_figures(figures)}")
                if once:
                    return
                before, then = now, later


def _format_figures(figures: dict[str, float]) -> str:
    latency = "  ".join(
        f"{name} {figures[f'latency_ms/{name}']:.1f} ms" for name in ("p50", "p99") if f"latency_ms/{name}" in figures
    )
    return f"{figures['answers_per_second']:.1f}/s  {latency}".rstrip()
