"""Training speed of UNet-mini in PyTorch on one GPU: the peer of `macadam train network=unet_mini`.

Prints one JSON object: images a second, the median of several timings on random data in device
memory (no data loading), for eager and torch.compile, bf16 autocast and fp32 without TF32.
"""

import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


def block(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.ReLU(inplace=True), nn.Dropout(0.2),
        nn.Conv2d(channels_out, channels_out, 3, padding=1), nn.ReLU(inplace=True))


class UNetMini(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.down1, self.down2, self.bottom = block(3, 32), block(32, 64), block(64, 128)
        self.up2, self.up1 = block(192, 64), block(96, 32)
        self.head = nn.Conv2d(32, classes, 1)

    def forward(self, x):
        c1 = self.down1(x)
        c2 = self.down2(F.max_pool2d(c1, 2))
        c3 = self.bottom(F.max_pool2d(c2, 2))
        u2 = self.up2(torch.cat([F.interpolate(c3, scale_factor=2.0), c2], 1))
        u1 = self.up1(torch.cat([F.interpolate(u2, scale_factor=2.0), c1], 1))
        return self.head(u1)


def images_per_second(options, bf16, compiled):
    torch.manual_seed(1)
    model = UNetMini(options.classes).cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    shape = (options.batch, 3, options.height, options.width)
    image = torch.randn(shape, device="cuda").to(memory_format=torch.channels_last)
    label = torch.randint(options.classes, (shape[0], *shape[2:]), device="cuda")
    forward = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(forward(image), label)
        loss.backward()
        optimizer.step()

    def seconds(steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds(10)
    steps = max(5, int(1.0 / (seconds(5) / 5)))
    return options.batch / statistics.median(seconds(steps) / steps for _ in range(5))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--classes", type=int, default=8)
    options = parser.parse_args()

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    speeds = {}
    for compiled in (False, True):
        for bf16 in (True, False):
            name = f"{'compiled' if compiled else 'eager'} {'bf16' if bf16 else 'fp32'}"
            speeds[name] = images_per_second(options, bf16, compiled)
            print(name, round(speeds[name], 1), "images/s", file=sys.stderr)
    json.dump({"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(),
               "gpu": torch.cuda.get_device_name(), "network": "unet_mini",
               "size": [options.height, options.width], "batch": options.batch,
               "images_per_second": speeds}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
