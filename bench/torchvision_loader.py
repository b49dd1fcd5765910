"""Images a second of torchvision's loader, for bench/input-pipeline.ts: FOLDER WORKERS BATCH SECONDS; prints images/s and processor milliseconds an image."""
import resource
import sys
import time

import torch
from torchvision import datasets, transforms


def main():
    folder, workers, batch, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    torch.set_num_threads(1)
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(folder, transform), batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=True
    )

    def batches():
        while True:
            yield from loader

    source = batches()
    for _ in range(2 * workers):  # what the loader makes ahead
        next(source)
    cpu = time.process_time()
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        images += len(next(source)[1])
    rate = images / (time.perf_counter() - start)
    ended = time.process_time() - cpu
    ahead = 4 * workers * batch  # made before the timing or after it
    source.close()
    del loader
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(rate, 1000 * (ended / images + (children.ru_utime + children.ru_stime) / (images + ahead)))


if __name__ == "__main__":
    main()
