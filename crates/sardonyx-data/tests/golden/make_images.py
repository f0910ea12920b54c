"""Writes the image golden files of the tests beside this script: PNG and JPEG files and what Pillow
makes of them.

Needs numpy and Pillow. Run: python make_images.py
"""

import pathlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent / "images"


def picture(height, width, channels, phase=0.0):
    """A smooth picture with all values from dark to light."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        127.5 + 127.5 * np.sin(phase + (c + 1) * x / width * 3 + (3 - c) * y / height * 2)
        for c in range(channels)
    ]
    return np.stack(waves, axis=-1).round().astype("u1")


def expect(name, image):
    np.save(HERE / f"{name}.npy", np.asarray(image))


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    gray = Image.fromarray(picture(30, 20, 1)[:, :, 0])
    rgb = Image.fromarray(picture(24, 32, 3))
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(picture(24, 32, 1)[:, :, 0]))
    deep = Image.fromarray((picture(6, 7, 1)[:, :, 0].astype("u2") * 257))
    gray.save(HERE / "gray.png")
    rgb.save(HERE / "rgb.png")
    rgba.save(HERE / "rgba.png")
    deep.save(HERE / "gray16.png")
    rgb.quantize(16).save(HERE / "palette.png")
    rgb.save(HERE / "rgb.jpg", quality=90)
    gray.save(HERE / "gray.jpg", quality=90)
    expect("gray", gray)
    expect("gray_8x8", gray.resize((8, 8), Image.Resampling.BILINEAR))
    expect("gray_45x50", gray.resize((50, 45), Image.Resampling.BILINEAR))
    expect("rgb", rgb)
    expect("rgb_as_gray", rgb.convert("L"))
    expect("rgb_10x12", rgb.resize((12, 10), Image.Resampling.BILINEAR))
    expect("palette", Image.open(HERE / "palette.png").convert("RGB"))
    expect("rgb_jpg", Image.open(HERE / "rgb.jpg"))
    expect("gray_jpg", Image.open(HERE / "gray.jpg"))
    expect("gray16", picture(6, 7, 1)[:, :, 0])
    for part, count in [("train", 3), ("test", 2)]:
        for index, name in enumerate(["cat", "dog"]):
            folder = HERE / "by_class" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = picture(6, 5, 1, phase=index + number / 2)[:, :, 0]
                Image.fromarray(image).save(folder / f"{number}.png")
