"""PyTorch twins of segmentation_models' own InceptionV3 and InceptionResNetV2, as networks_keras.py
has others. Padding is "same" everywhere, batch norms have no factor."""

import torch
import torch.nn.functional as F
from torch import nn

from networks_keras import NamedLayers, SameConv2d, UnscaledBatchNorm2d


class SameMaxPool2d(nn.Module):
    """3x3, every second pixel of an image of even size."""

    def forward(self, x):
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, stride=2)


class SameAveragePool2d(nn.Module):
    """3x3, over the pixels within the image."""

    def forward(self, x):
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class Inception(NamedLayers):
    """What both have. A branch is a list of convolutions (channels, rows, columns, stride) behind
    each other, with "max" or "average" before them, and ("fork", channels) behind."""

    def __init__(self):
        super().__init__()
        self.max_pool = SameMaxPool2d()
        self.average_pool = SameAveragePool2d()
        self.branches = {}
        channels_in = 3
        for number, (channels, kernel, stride) in enumerate(
            ((32, 3, 2), (32, 3, 1), (64, 3, 1), (80, 1, 1), (192, 3, 1)), 1
        ):
            self.add_convolution(f"stem{number}", channels_in, channels, kernel, kernel, stride)
            channels_in = channels

    def add_convolution(self, name, channels_in, channels, rows=1, columns=1, stride=1):
        self.add_module(
            name, SameConv2d(channels_in, channels, (rows, columns), stride=stride, bias=False))
        self.add_module(f"{name}_bn", UnscaledBatchNorm2d(channels, 1e-3))

    def add_mixed(self, name, channels_in, branches):
        """Returns the channels of all branches."""
        channels_out = 0
        for b, branch in enumerate(branches):
            channels, number = channels_in, 0
            for step in branch:
                if isinstance(step, str):
                    continue
                if step[0] == "fork":
                    self.add_convolution(f"{name}_branch{b}_wide", channels, step[1], 1, 3)
                    self.add_convolution(f"{name}_branch{b}_tall", channels, step[1], 3, 1)
                    channels = 2 * step[1]
                else:
                    number += 1
                    self.add_convolution(f"{name}_branch{b}_{number}", channels, *step)
                    channels = step[0]
            channels_out += channels
        self.branches[name] = branches
        return channels_out

    def convolve(self, name, x):
        return torch.relu(self.layer(name, "bn")(getattr(self, name)(x)))

    def stem(self, x):
        """The features at /2 and /4, and what follows them."""
        x = self.convolve("stem1", x)
        x = self.convolve("stem2", x)
        first = self.convolve("stem3", x)
        x = self.convolve("stem4", self.max_pool(first))
        second = self.convolve("stem5", x)
        return first, second, self.max_pool(second)

    def mixed(self, name, x):
        ends = []
        for b, branch in enumerate(self.branches[name]):
            y, number = x, 0
            for step in branch:
                if isinstance(step, str):
                    y = getattr(self, f"{step}_pool")(y)
                elif step[0] == "fork":
                    wide = self.convolve(f"{name}_branch{b}_wide", y)
                    tall = self.convolve(f"{name}_branch{b}_tall", y)
                    y = torch.cat([wide, tall], dim=1)
                else:
                    number += 1
                    y = self.convolve(f"{name}_branch{b}_{number}", y)
            ends.append(y)
        return torch.cat(ends, dim=1)


class InceptionV3(Inception):
    channels = (2048, 768, 288, 192, 64)  # of the features that forward returns
    KERAS_NAMES = ""  # none

    def __init__(self):
        super().__init__()
        blocks = []
        for pooled in (32, 64, 64):
            blocks.append([
                [(64,)],
                [(48,), (64, 5, 5)],
                [(64,), (96, 3, 3), (96, 3, 3)],
                ["average", (pooled,)],
            ])
        blocks.append([
            [(384, 3, 3, 2)],
            [(64,), (96, 3, 3), (96, 3, 3, 2)],
            ["max"],
        ])
        for c in (128, 160, 160, 192):
            blocks.append([
                [(192,)],
                [(c,), (c, 1, 7), (192, 7, 1)],
                [(c,), (c, 7, 1), (c, 1, 7), (c, 7, 1), (192, 1, 7)],
                ["average", (192,)],
            ])
        blocks.append([
            [(192,), (320, 3, 3, 2)],
            [(192,), (192, 1, 7), (192, 7, 1), (192, 3, 3, 2)],
            ["max"],
        ])
        for _ in range(2):
            blocks.append([
                [(320,)],
                [(384,), ("fork", 384)],
                [(448,), (384, 3, 3), ("fork", 384)],
                ["average", (192,)],
            ])
        channels = 192
        for number, branches in enumerate(blocks):
            channels = self.add_mixed(f"mixed{number}", channels, branches)

    def forward(self, x):
        """Features from /32 to /2."""
        *features, x = self.stem(x)
        for name in self.branches:
            x = self.mixed(name, x)
            if name in ("mixed2", "mixed7"):
                features.append(x)
        return [x, *features[::-1]]


class InceptionResNetV2(Inception):
    channels = (1536, 1088, 320, 192, 64)
    KERAS_NAMES = r"block\d+_\d+_conv|conv_7b(_bn)?"
    BLOCK35 = [[(32,)], [(32,), (32, 3, 3)], [(32,), (48, 3, 3), (64, 3, 3)]]
    BLOCK17 = [[(192,)], [(128,), (160, 1, 7), (192, 7, 1)]]
    BLOCK8 = [[(192,)], [(192,), (224, 1, 3), (256, 3, 1)]]

    def __init__(self):
        super().__init__()
        channels = self.add_mixed("mixed_5b", 192, [
            [(96,)],
            [(48,), (64, 5, 5)],
            [(64,), (96, 3, 3), (96, 3, 3)],
            ["average", (64,)],
        ])
        self.add_residuals("block35", channels, self.BLOCK35, 10)
        channels = self.add_mixed("mixed_6a", channels, [
            [(384, 3, 3, 2)],
            [(256,), (256, 3, 3), (384, 3, 3, 2)],
            ["max"],
        ])
        self.add_residuals("block17", channels, self.BLOCK17, 20)
        channels = self.add_mixed("mixed_7a", channels, [
            [(256,), (384, 3, 3, 2)],
            [(256,), (288, 3, 3, 2)],
            [(256,), (288, 3, 3), (320, 3, 3, 2)],
            ["max"],
        ])
        self.add_residuals("block8", channels, self.BLOCK8, 10)
        self.add_convolution("conv_7b", channels, 1536)

    def add_residuals(self, name, channels, branches, count):
        for number in range(1, count + 1):
            joined = self.add_mixed(f"{name}_{number}", channels, branches)
            self.add_module(f"{name}_{number}_conv", SameConv2d(joined, channels, 1))

    def residual(self, name, x, scale):
        return torch.add(x, self.layer(name, "conv")(self.mixed(name, x)), alpha=scale)

    def forward(self, x):
        """Features from /32 to /2."""
        *features, x = self.stem(x)
        x = self.mixed("mixed_5b", x)
        for number in range(1, 11):
            x = torch.relu(self.residual(f"block35_{number}", x, 0.17))
        features.append(x)
        x = self.mixed("mixed_6a", x)
        for number in range(1, 21):
            x = torch.relu(self.residual(f"block17_{number}", x, 0.1))
        features.append(x)
        x = self.mixed("mixed_7a", x)
        for number in range(1, 10):
            x = torch.relu(self.residual(f"block8_{number}", x, 0.2))
        x = self.residual("block8_10", x, 1)
        return [self.convolve("conv_7b", x), *features[::-1]]
