"""The work of one prediction as our backend does it, without its service."""

from PIL import Image

from imgserve.models.compiled_model import Transform
from imgserve.models.transform import least_side
from imgserve.pictures.decode import decode

LIMIT_PIXELS = 50_000_000


def decoded(data: bytes, transform: Transform) -> Image.Image:
    """Return a picture as the backend decodes it for a model with this transform."""
    return decode(data, limit_pixels=LIMIT_PIXELS, least_side=least_side(transform))
