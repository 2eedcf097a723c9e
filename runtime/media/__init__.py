"""Pictures, videos and webcams, in and out."""

from __future__ import annotations

from wholebody.runtime.media.pictures import MAX_PIXELS, Image, read_image, write_image
from wholebody.runtime.media.sources import Frame, Source, open_source
from wholebody.runtime.media.writers import Output, open_output

__all__ = [
    "MAX_PIXELS",
    "Frame",
    "Image",
    "Output",
    "Source",
    "open_output",
    "open_source",
    "read_image",
    "write_image",
]
