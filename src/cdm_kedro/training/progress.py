"""What the progress bar of a training shows. It changes no result, so an edit of this file retrains nothing."""

from cdm_kedro.tracking.durations import readable
from cdm_kedro.tracking.live import live


def progress(metrics: dict[str, float]) -> dict[str, str]:
    """Choose what the progress bar shows beside the images per second."""
    shown = {"loss": f"{metrics.get('loss', float('nan')):.4f}", "TFLOP/s": f"{metrics['tflops']:.3g}"}
    if "peak_share" in metrics:
        shown["of peak"] = f"{metrics['peak_share']:.0%}"
    shown |= {"wait": f"{metrics['loader_wait_share']:.0%}", "GiB": f"{metrics['memory_gib']:.1f}"}
    shown["left"] = readable(metrics["eta_seconds"])
    if live().after:
        shown["all stages"] = readable(metrics["eta_seconds"] + live().after)
    return shown
