"""PyTorch twins of keras-applications' DenseNet121 and classification_models' SE-ResNet50, as
networks_keras.py has others."""

import torch
import torch.nn.functional as F
from torch import nn

from networks_keras import NamedLayers


class DenseNet121(NamedLayers):
    channels = (1024, 512, 256, 128, 64)  # of the features that forward returns
    BLOCKS = (6, 12, 24, 16)
    GROWTH = 32

    def __init__(self):
        super().__init__()
        self.conv1_conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.conv1_bn = self.norm(64)
        channels = 64
        for stage, layers in enumerate(self.BLOCKS, 2):
            for layer in range(1, layers + 1):
                name = f"conv{stage}_block{layer}"
                self.add_module(f"{name}_0_bn", self.norm(channels))
                wide = 4 * self.GROWTH
                self.add_module(f"{name}_1_conv", nn.Conv2d(channels, wide, 1, bias=False))
                self.add_module(f"{name}_1_bn", self.norm(wide))
                self.add_module(
                    f"{name}_2_conv", nn.Conv2d(wide, self.GROWTH, 3, padding=1, bias=False))
                channels += self.GROWTH
            if stage < 5:
                self.add_module(f"pool{stage}_bn", self.norm(channels))
                self.add_module(
                    f"pool{stage}_conv", nn.Conv2d(channels, channels // 2, 1, bias=False))
                channels //= 2
        self.bn = self.norm(channels)

    @staticmethod
    def norm(channels):
        return nn.BatchNorm2d(channels, eps=1.001e-5)

    def forward(self, x):
        """Features from /32 to /2. The taps are the transitions' convolutions."""
        x = torch.relu(self.conv1_bn(self.conv1_conv(x)))
        features = [x]
        x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, stride=2)
        for stage, layers in enumerate(self.BLOCKS, 2):
            for layer in range(1, layers + 1):
                name = f"conv{stage}_block{layer}"
                y = self.layer(name, "1_conv")(torch.relu(self.layer(name, "0_bn")(x)))
                y = self.layer(name, "2_conv")(torch.relu(self.layer(name, "1_bn")(y)))
                x = torch.cat([x, y], dim=1)
            if stage < 5:
                x = self.layer(f"pool{stage}", "conv")(
                    torch.relu(self.layer(f"pool{stage}", "bn")(x)))
                features.append(x)
                x = F.avg_pool2d(x, 2)
        return [torch.relu(self.bn(x)), *features[::-1]]


class SEResNet50(NamedLayers):
    channels = (2048, 1024, 512, 256, 64)
    KERAS_NAMES = ""  # none

    def __init__(self):
        super().__init__()
        self.pad = nn.ZeroPad2d(1)  # a layer in Keras
        self.stem_pad = nn.ZeroPad2d(3)
        self.add_convolution("", "0", 3, 64, 7, stride=2)
        channels_in = 64
        self.units = []
        for stage, (units, channels) in enumerate(
            zip((3, 4, 6, 3), (256, 512, 1024, 2048)), 1
        ):
            for unit in range(1, units + 1):
                stride = 2 if stage > 1 and unit == 1 else 1
                self.add_unit(f"stage{stage}_unit{unit}_", channels_in, channels, stride)
                channels_in = channels
            self.units[-1][2] = True

    def add_convolution(self, name, number, channels_in, channels, kernel, stride=1):
        self.add_module(
            f"{name}conv{number}", nn.Conv2d(channels_in, channels, kernel, stride, bias=False))
        self.add_module(f"{name}bn{number}", nn.BatchNorm2d(channels, eps=9.999999747378752e-06))

    def add_unit(self, name, channels_in, channels, stride):
        self.add_convolution(name, 1, channels_in, channels // 4, 1, stride)
        self.add_convolution(name, 2, channels // 4, channels // 4, 3)
        self.add_convolution(name, 3, channels // 4, channels, 1)
        project = stride != 1 or channels_in != channels
        if project:
            self.add_convolution(f"{name}sc_", "", channels_in, channels, 1, stride)
        self.add_module(f"{name}se_reduce", nn.Conv2d(channels, channels // 16, 1))
        self.add_module(f"{name}se_expand", nn.Conv2d(channels // 16, channels, 1))
        self.units.append([name, project, False])

    def convolve(self, name, number, x):
        return getattr(self, f"{name}bn{number}")(getattr(self, f"{name}conv{number}")(x))

    def forward(self, x):
        """Features from /32 to /2. The taps are the outputs of the stages."""
        x = torch.relu(self.convolve("", 0, self.stem_pad(x)))
        features = [x]
        x = F.max_pool2d(self.pad(x), 3, stride=2)
        for name, project, last in self.units:
            y = torch.relu(self.convolve(name, 1, x))
            y = torch.relu(self.convolve(name, 2, self.pad(y)))
            y = self.convolve(name, 3, y)
            gate = torch.relu(getattr(self, f"{name}se_reduce")(y.mean((2, 3), keepdim=True)))
            y = y * torch.sigmoid(getattr(self, f"{name}se_expand")(gate))
            x = torch.relu(y + (self.convolve(f"{name}sc_", "", x) if project else x))
            if last:
                features.append(x)
        return features[::-1]
