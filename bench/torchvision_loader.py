"""Images a second of torchvision's loader, for bench/input-pipeline.ts: FOLDER WORKERS BATCH SECONDS. For each line of its input it
prints images/s and processor milliseconds an image."""
import os
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
    next(source)
    workers_of = [worker.pid for worker in loader._iterator._workers]

    def cpu():
        """Seconds of this process and the workers."""
        total = time.process_time()
        for pid in workers_of:
            with open(f"/proc/{pid}/stat") as stat:
                user, system = stat.read().rsplit(") ", 1)[1].split()[11:13]
            total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return total

    for _ in sys.stdin:
        for _ in range(2 * workers + 2):  # what was made ahead
            next(source)
        before, start, images = cpu(), time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            images += len(next(source)[1])
        rate = images / (time.perf_counter() - start)
        print(rate, 1000 * (cpu() - before) / images, flush=True)


if __name__ == "__main__":
    main()
