"""What is looked at, page by page."""

from pages.gallery import Gallery
from pages.image import Image
from pages.looks import Looks, Speed
from pages.own_photos import OwnPhotos
from pages.runs import Runs
from pages.trouble import Trouble

__all__ = ["Gallery", "Image", "Looks", "OwnPhotos", "Runs", "Speed", "Trouble"]
