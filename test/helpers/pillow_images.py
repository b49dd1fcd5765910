"""What torchvision makes of image files: FOLDER SIZE FILE...; prints {file: {"evaluation": digest, "crop": digest}}.

evaluation: Resize(SIZE * 8 / 7) and CenterCrop(SIZE); crop: the region from (16, 8) of 60 x 40 pixels, resized to SIZE x SIZE.
Both are Pillow's, with the sizes and places that torchvision 0.29 gives it: its import would take ten seconds.
"""
import hashlib
import json
import sys

from PIL import Image, ImageOps

folder, size, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


def evaluation(image):
    shorter, side = min(image.size), round(size * 8 / 7)
    image = image.resize([int(side * length / shorter) for length in image.size], Image.BILINEAR)
    left, top = [int(round((length - size) / 2.0)) for length in image.size]
    return image.crop((left, top, left + size, top + size))


def digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def pixels(file):
    image = ImageOps.exif_transpose(Image.open(f"{folder}/{file}")).convert("RGB")
    crop = image.crop((16, 8, 76, 48)).resize((size, size), Image.BILINEAR)
    return {"evaluation": digest(evaluation(image)), "crop": digest(crop)}


print(json.dumps({file: pixels(file) for file in files}))
