#!/usr/bin/env python3
"""Writes tests/golden/images/: small photos and masks as Pillow writes them, and beside each
NAME.EXT its pixels as Pillow reads them, NAME.EXT.png (upright, 8-bit RGB).

tests/loader/image_goldens.cpp reads them all. Run with Pillow on libjpeg-turbo installed; the
project does not need it:
    python3 tests/golden/make_image_files.py
"""

import pathlib

from PIL import Image, ImageOps

FOLDER = pathlib.Path(__file__).parent / "images"
WIDTH, HEIGHT = 29, 19  # no multiple of any block


def photo():
    """Smooth colours and a dark corner, so that no turn or mirror image looks the same."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            corner = 0 if x + 2 * y < 9 else 60
            image.putpixel((x, y), (corner + 6 * x, 40 + 10 * y, corner + 3 * x + 5 * y))
    return image


def expected(name, image):
    image.convert("RGB").save(FOLDER / (name + ".png"), optimize=True)


def save(name, image, **options):
    image.save(FOLDER / name, **options)
    with Image.open(FOLDER / name) as stored:
        expected(name, ImageOps.exif_transpose(stored))


def jpegs():
    save("gray.jpg", photo().convert("L"), quality=90)
    save("444.jpg", photo(), quality=90, subsampling=0)
    save("422.jpg", photo(), quality=85, subsampling=1)
    save("420.jpg", photo(), quality=75, subsampling=2)
    save("progressive.jpg", photo(), quality=80, progressive=True)
    save("cmyk.jpg", photo().convert("CMYK"), quality=90)
    # Reduced by libjpeg itself: Pillow's draft mode.
    for denominator in (2, 4, 8):
        with Image.open(FOLDER / "420.jpg") as stored:
            size = (-(-WIDTH // denominator), -(-HEIGHT // denominator))
            stored.draft("RGB", (WIDTH // denominator, HEIGHT // denominator))
            assert stored.size == size, (stored.size, size)
            expected("420.jpg.reduced%d" % denominator, stored)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save("orientation%d.jpg" % orientation, photo(), quality=60, exif=exif.tobytes())


def pngs():
    gray = photo().convert("L")
    save("gray.png", gray)
    save("gray_1.png", gray.point(lambda v: 255 * (v > 90), mode="1"))
    save("gray_alpha.png", Image.merge("LA", (gray, gray.transpose(Image.FLIP_TOP_BOTTOM))))
    save("rgb.png", photo(), optimize=True)
    save("rgba.png", Image.merge("RGBA", (*photo().split(), gray)))
    save("rgb_transparent.png", photo(), transparency=photo().getpixel((5, 5)))
    save("gray_transparent.png", gray, transparency=gray.getpixel((5, 5)))
    for bits in (1, 2, 4, 8):
        colors = photo().quantize(2 ** bits if bits < 8 else 40)
        save("palette_%d.png" % bits, colors, bits=bits)
    colors = photo().quantize(16)
    save("palette_transparent.png", colors, transparency=bytes(range(0, 160, 10)))
    # Of 16 bits the high byte is taken; Pillow would clip.
    deep = Image.new("I;16", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            deep.putpixel((x, y), 256 * gray.getpixel((x, y)) + (37 * x + 91 * y) % 256)
    deep.save(FOLDER / "gray_16.png")
    expected("gray_16.png", gray)


def bmps():
    save("rgb.bmp", photo())
    save("palette.bmp", photo().quantize(20))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    jpegs()
    pngs()
    bmps()
