"""PyTorch twins of the networks that are no U-Nets, with their authors' parameter names.

DDRNet: Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation
of Road Scenes" (arXiv 2101.06085), names of ydhongHIT/DDRNet. A branch is brought to the size of
the other, which is an eighth rounded up; the authors' own code rounds down, and therefore takes
sizes alone that are multiples of 8, where both are the same.

Made with auxiliary=True a module has its authors' auxiliary head, and returns the scores of the
output and of that head in training mode.
"""

import torch
import torch.nn.functional as F
from torch import nn


def resize(x, like):
    """Bilinearly to the height and width of another map."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def conv(channels_in, channels_out, kernel, stride=1, groups=1, bias=False):
    return nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=bias)


def conv_norm(channels_in, channels_out, kernel, stride=1):
    return [conv(channels_in, channels_out, kernel, stride), nn.BatchNorm2d(channels_out)]


def norm_relu_conv(channels_in, channels_out, kernel, groups=1):
    return [nn.BatchNorm2d(channels_in), nn.ReLU(),
            conv(channels_in, channels_out, kernel, groups=groups)]


class Block(nn.Module):
    """A basic residual block, or a bottleneck that doubles its channels. `relu`: behind the sum."""

    def __init__(self, channels_in, channels, stride=1, bottleneck=False, relu=True):
        super().__init__()
        channels_out = 2 * channels if bottleneck else channels
        shapes = [(channels, 3, stride), (channels, 3, 1)]
        if bottleneck:
            shapes = [(channels, 1, 1), (channels, 3, stride), (channels_out, 1, 1)]
        c = channels_in
        for i, (k, kernel, s) in enumerate(shapes, 1):
            self.add_module(f"conv{i}", conv(c, k, kernel, s))
            self.add_module(f"bn{i}", nn.BatchNorm2d(k))
            c = k
        self.layers = len(shapes)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(*conv_norm(channels_in, channels_out, 1, stride))
        self.relu = relu

    def forward(self, x):
        y = x
        for i in range(1, self.layers + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.layers else y
        y = y + (x if self.downsample is None else self.downsample(x))
        return torch.relu(y) if self.relu else y


def layer(channels_in, channels, blocks, stride=1):
    """Basic blocks, the last without a ReLU."""
    made = [Block(channels_in, channels, stride)]
    made += [Block(channels, channels, relu=i < blocks - 1) for i in range(1, blocks)]
    return nn.Sequential(*made)


def bottlenecks(channels_in, channels, blocks, stride=1):
    """Bottlenecks without a ReLU behind them (one or two)."""
    made = [Block(channels_in, channels, stride, bottleneck=True, relu=False)]
    made += [Block(2 * channels, channels, bottleneck=True, relu=False) for _ in range(1, blocks)]
    return nn.Sequential(*made)


def stem(channels):
    """Twice half the size."""
    return nn.Sequential(
        conv(3, channels, 3, 2, bias=True), nn.BatchNorm2d(channels), nn.ReLU(),
        conv(channels, channels, 3, 2, bias=True), nn.BatchNorm2d(channels), nn.ReLU())


class Head(nn.Module):
    def __init__(self, channels_in, channels, classes):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = conv(channels_in, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, classes, 1, bias=True)

    def forward(self, x):
        return self.conv2(torch.relu(self.bn2(self.conv1(torch.relu(self.bn1(x))))))


class Pyramid(nn.Module):
    """Means over windows of 5, 9 and 17 pixels and over all; the padding counts as zeros."""

    def __init__(self, channels_in, channels, channels_out):
        super().__init__()
        self.scale0 = nn.Sequential(*norm_relu_conv(channels_in, channels, 1))
        pools = [nn.AvgPool2d(4 * s + 1, 2 * s, 2 * s) for s in (1, 2, 4)]
        for i, pool in enumerate([*pools, nn.AdaptiveAvgPool2d(1)], 1):
            self.add_module(
                f"scale{i}", nn.Sequential(pool, *norm_relu_conv(channels_in, channels, 1)))
        self.compression = nn.Sequential(*norm_relu_conv(5 * channels, channels_out, 1))
        self.shortcut = nn.Sequential(*norm_relu_conv(channels_in, channels_out, 1))

    def scales(self, x):
        return [resize(getattr(self, f"scale{i}")(x), x) for i in range(1, 5)]


class DAPPM(Pyramid):
    """Each scale takes in the one before."""

    def __init__(self, channels_in, channels, channels_out):
        super().__init__(channels_in, channels, channels_out)
        for i in range(1, 5):
            self.add_module(f"process{i}", nn.Sequential(*norm_relu_conv(channels, channels, 3)))

    def forward(self, x):
        maps = [self.scale0(x)]
        for i, y in enumerate(self.scales(x), 1):
            maps.append(getattr(self, f"process{i}")(y + maps[-1]))
        return self.compression(torch.cat(maps, dim=1)) + self.shortcut(x)


class DDRNet(nn.Module):
    """`parts` of the stage at /16 end in an exchange between the branches each."""

    def __init__(self, classes, auxiliary, channels, head, blocks=(2, 2, 2, 2), parts=("3",)):
        super().__init__()
        c, high = channels, 2 * channels
        self.conv1 = stem(c)
        self.layer1 = layer(c, c, blocks[0])
        self.layer2 = layer(c, high, blocks[1], stride=2)
        self.parts = (*parts, "4")
        low = high
        for part in self.parts:
            wide, count = (8 * c, blocks[3]) if part == "4" else (4 * c, blocks[2] // len(parts))
            self.add_module(f"layer{part}", layer(low, wide, count, 1 if low == wide else 2))
            self.add_module(f"layer{part}_", layer(high, high, count))
            self.add_module(f"compression{part}", nn.Sequential(*conv_norm(wide, high, 1)))
            down = conv_norm(high, 4 * c, 3, 2)
            if part == "4":
                down += [nn.ReLU(), *conv_norm(4 * c, wide, 3, 2)]
            self.add_module(f"down{part}", nn.Sequential(*down))
            low = wide
        self.layer5_ = bottlenecks(high, high, 1)
        self.layer5 = bottlenecks(8 * c, 8 * c, 1, stride=2)
        self.spp = DAPPM(16 * c, 128, 4 * c)
        self.seghead_extra = Head(high, head, classes) if auxiliary else None
        self.final_layer = Head(4 * c, head, classes)

    def forward(self, image):
        high = low = torch.relu(self.layer2(torch.relu(self.layer1(self.conv1(image)))))
        for part in self.parts:
            low = getattr(self, f"layer{part}")(low)
            high = getattr(self, f"layer{part}_")(high)
            compressed = getattr(self, f"compression{part}")(torch.relu(low))
            low = low + getattr(self, f"down{part}")(torch.relu(high))
            high = high + resize(compressed, high)
            if part != "4":
                extra = high
            low, high = torch.relu(low), torch.relu(high)
        high = self.layer5_(high)
        scores = self.final_layer(resize(self.spp(self.layer5(low)), high) + high)
        scores = resize(scores, image)
        if self.training and self.seghead_extra is not None:
            return scores, resize(self.seghead_extra(extra), image)
        return scores


def ddrnet23_slim(classes, auxiliary=False):
    return DDRNet(classes, auxiliary, 32, 64)


def ddrnet23(classes, auxiliary=False):
    return DDRNet(classes, auxiliary, 64, 128)


def ddrnet39(classes, auxiliary=False):
    return DDRNet(classes, auxiliary, 64, 256, (3, 4, 6, 3), ("3_1", "3_2"))
