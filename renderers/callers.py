"""Who called these packages: whoever warns of what a caller gave names the caller's line, not one of ours."""

import sys

OURS = ("renderers", "pipeline")


def outside() -> int:
    """The `stacklevel` at which `warnings.warn`, from where this is asked, names the first line that is not ours."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in OURS:
        frame, level = frame.f_back, level + 1
    return level
