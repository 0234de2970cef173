"""PyTorch twins of networks that exist as Keras models, for weight files made with Keras.

segmentation_models: Unet with pre-activation ResNet-34, EfficientNet or VGG16; its other encoders
are in networks_keras_*.py. image-segmentation-keras: unet and vgg_unet. Layers have their Keras
names, after "encoder.", "decoder." or "head.". An encoder some of whose layers the library leaves
unnamed says which it names, KERAS_NAMES; it makes its layers in the library's order. The outputs are
logits; Keras applies a softmax to them.
"""

import math
import string

import torch
import torch.nn.functional as F
from torch import nn


class SameConv2d(nn.Conv2d):
    """TensorFlow's "same": out = ceil(in / stride), the odd line of padding at the far side."""

    def forward(self, x):
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return self._conv_forward(F.pad(x, pads), self.weight, self.bias)


class UnscaledBatchNorm2d(nn.BatchNorm2d):
    """Keras' scale=False: gamma stays 1 and is no parameter."""

    def __init__(self, channels, eps):
        super().__init__(channels, eps=eps)
        self.register_parameter("weight", None)


def keras_batch_norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


class NamedLayers(nn.Module):
    """A network of layers whose names start with that of their block."""

    def layer(self, block, suffix):
        return getattr(self, f"{block}_{suffix}")


class ResNet34(NamedLayers):
    """classification_models' resnet34: a ResNet v2 on images that a batch normalisation scales."""

    channels = (512, 256, 128, 64, 64)  # of the features that forward returns
    EPS = 2e-5

    def __init__(self):
        super().__init__()
        self.bn_data = UnscaledBatchNorm2d(3, self.EPS)
        self.conv0 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn0 = nn.BatchNorm2d(64, self.EPS)
        channels_in = 64
        self.units = []
        for stage, (units, channels) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512)), 1):
            for unit in range(1, units + 1):
                name = f"stage{stage}_unit{unit}"
                stride = 2 if stage > 1 and unit == 1 else 1
                self.add_unit(name, channels_in, channels, stride, project=unit == 1)
                channels_in = channels
        self.bn1 = nn.BatchNorm2d(512, self.EPS)

    def add_unit(self, name, channels_in, channels, stride, project):
        def conv(c, kernel, stride=1):
            return nn.Conv2d(c, channels, kernel, stride, padding=kernel // 2, bias=False)

        self.add_module(f"{name}_bn1", nn.BatchNorm2d(channels_in, self.EPS))
        if project:
            self.add_module(f"{name}_sc", conv(channels_in, 1, stride))
        self.add_module(f"{name}_conv1", conv(channels_in, 3, stride))
        self.add_module(f"{name}_bn2", nn.BatchNorm2d(channels, self.EPS))
        self.add_module(f"{name}_conv2", conv(channels, 3))
        self.units.append((name, project))

    def forward(self, x):
        """Features from /32 to /2. The taps are the first activations of stages 2 to 4."""
        x = torch.relu(self.bn0(self.conv0(self.bn_data(x))))
        features = [x]
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for name, project in self.units:
            y = torch.relu(self.layer(name, "bn1")(x))
            if name in ("stage2_unit1", "stage3_unit1", "stage4_unit1"):
                features.append(y)
            shortcut = self.layer(name, "sc")(y) if project else x
            y = torch.relu(self.layer(name, "bn2")(self.layer(name, "conv1")(y)))
            x = self.layer(name, "conv2")(y) + shortcut
        features.append(torch.relu(self.bn1(x)))
        return features[::-1]


class EfficientNet(NamedLayers):
    """qubvel/efficientnet: b0 to b7 with TensorFlow's padding."""

    # repeats, kernel, stride, expansion, channels in, channels out
    STAGES = (
        (1, 3, 1, 1, 32, 16),
        (2, 3, 2, 6, 16, 24),
        (2, 5, 2, 6, 24, 40),
        (3, 3, 2, 6, 40, 80),
        (3, 5, 1, 6, 80, 112),
        (4, 5, 2, 6, 112, 192),
        (1, 3, 1, 6, 192, 320),
    )
    SCALES = (  # width, depth
        (1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4),
        (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1),
    )
    TAPS = ("block6a", "block4a", "block3a", "block2a")

    def __init__(self, number):
        super().__init__()
        width, depth = self.SCALES[number]

        def scaled(channels):
            rounded = max(8, int(channels * width + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * channels * width else rounded

        self.stem_conv = SameConv2d(3, scaled(32), 3, stride=2, bias=False)
        self.stem_bn = keras_batch_norm(scaled(32))
        self.blocks = []
        taps = {}
        for stage, (repeats, kernel, stride, expansion, first, channels_out) in enumerate(
            self.STAGES, 1
        ):
            for repeat in range(math.ceil(depth * repeats)):
                name = f"block{stage}{string.ascii_lowercase[repeat]}"
                channels = scaled(first) if repeat == 0 else scaled(channels_out)
                self.add_block(
                    name, kernel, stride if repeat == 0 else 1, expansion, channels,
                    scaled(channels_out)
                )
                taps[name] = expansion * channels
        self.top_conv = SameConv2d(scaled(320), scaled(1280), 1, bias=False)
        self.top_bn = keras_batch_norm(scaled(1280))
        self.channels = (scaled(1280), *(taps[tap] for tap in self.TAPS))

    def add_block(self, name, kernel, stride, expansion, channels, channels_out):
        expanded, squeezed = expansion * channels, max(1, int(channels * 0.25))
        layers = {}
        if expansion != 1:
            layers["expand_conv"] = SameConv2d(channels, expanded, 1, bias=False)
            layers["expand_bn"] = keras_batch_norm(expanded)
        layers["dwconv"] = SameConv2d(
            expanded, expanded, kernel, stride=stride, groups=expanded, bias=False)
        layers["bn"] = keras_batch_norm(expanded)
        layers["se_reduce"] = SameConv2d(expanded, squeezed, 1)
        layers["se_expand"] = SameConv2d(squeezed, expanded, 1)
        layers["project_conv"] = SameConv2d(expanded, channels_out, 1, bias=False)
        layers["project_bn"] = keras_batch_norm(channels_out)
        for suffix, layer in layers.items():
            self.add_module(f"{name}_{suffix}", layer)
        self.blocks.append((name, expansion != 1, stride == 1 and channels == channels_out))

    def forward(self, x):
        """Features from /32 to /2. The taps are the expanded activations inside four blocks."""
        x = F.silu(self.stem_bn(self.stem_conv(x)))
        features = []
        for name, expands, residual in self.blocks:
            y = x
            if expands:
                y = F.silu(self.layer(name, "expand_bn")(self.layer(name, "expand_conv")(y)))
            if name in self.TAPS:
                features.append(y)
            y = F.silu(self.layer(name, "bn")(self.layer(name, "dwconv")(y)))
            gate = F.silu(self.layer(name, "se_reduce")(y.mean((2, 3), keepdim=True)))
            y = y * torch.sigmoid(self.layer(name, "se_expand")(gate))
            y = self.layer(name, "project_bn")(self.layer(name, "project_conv")(y))
            x = y + x if residual else y
        features.append(F.silu(self.top_bn(self.top_conv(x))))
        return features[::-1]


class Vgg16(nn.Module):
    """keras-applications' VGG16, whose last layer is a pooling."""

    channels = (512, 512, 512, 256, 128)
    ends_in_pooling = True
    BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions

    def __init__(self):
        super().__init__()
        channels_in = 3
        for block, (channels, convs) in enumerate(self.BLOCKS, 1):
            for conv in range(1, convs + 1):
                self.add_module(
                    f"block{block}_conv{conv}", nn.Conv2d(channels_in, channels, 3, padding=1))
                channels_in = channels

    def forward(self, x):
        """Features from /32 to /2. The taps are the last activations of blocks 2 to 5."""
        features = []
        for block, (_, convs) in enumerate(self.BLOCKS, 1):
            for conv in range(1, convs + 1):
                x = torch.relu(getattr(self, f"block{block}_conv{conv}")(x))
            if block > 1:
                features.append(x)
            x = F.max_pool2d(x, 2)
        return [x, *features[::-1]]


class UnetDecoder(NamedLayers):
    """segmentation_models' Unet decoder: five times up, concat [up, skip], two convolutions."""

    def __init__(self, encoder_channels, center):
        super().__init__()
        channels_in, *skips = encoder_channels
        self.centers = ("center_block1", "center_block2") if center else ()
        for name in self.centers:
            self.add_convolution(name, channels_in, channels_in)
        for stage, (skip, channels) in enumerate(zip([*skips, 0], (256, 128, 64, 32, 16))):
            self.add_convolution(f"decoder_stage{stage}a", channels_in + skip, channels)
            self.add_convolution(f"decoder_stage{stage}b", channels, channels)
            channels_in = channels

    def add_convolution(self, name, channels_in, channels):
        conv = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.add_module(f"{name}_conv", conv)
        self.add_module(f"{name}_bn", keras_batch_norm(channels))

    def convolve(self, name, x):
        return torch.relu(self.layer(name, "bn")(self.layer(name, "conv")(x)))

    def forward(self, x, skips):
        for name in self.centers:
            x = self.convolve(name, x)
        for stage in range(5):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            if stage < len(skips):
                x = torch.cat([x, skips[stage]], dim=1)
            for part in "ab":
                x = self.convolve(f"decoder_stage{stage}{part}", x)
        return x


class SegmentationModelsUnet(nn.Module):
    """segmentation_models' Unet."""

    def __init__(self, encoder, classes):
        super().__init__()
        self.encoder = encoder
        center = getattr(encoder, "ends_in_pooling", False)
        self.decoder = UnetDecoder(encoder.channels, center)
        self.head = nn.ModuleDict({"final_conv": nn.Conv2d(16, classes, 3, padding=1)})

    def forward(self, x):
        x, *skips = self.encoder(x)
        return self.head["final_conv"](self.decoder(x, skips))


class PlainEncoder(nn.Module):
    """image-segmentation-keras' vanilla encoder. Features are taken after the pools."""

    channels = (64, 128, 256, 256)

    def __init__(self):
        super().__init__()
        for level, (c, k) in enumerate(zip((3, *self.channels), self.channels), 1):
            self.add_module(f"conv{level}", nn.Conv2d(c, k, 3, padding=1))
            self.add_module(f"bn{level}", keras_batch_norm(k))

    def forward(self, x):
        features = []
        for level in range(1, 5):
            x = getattr(self, f"bn{level}")(getattr(self, f"conv{level}")(x))
            x = F.max_pool2d(torch.relu(x), 2)
            features.append(x)
        return features


class VggEncoder(nn.Module):
    """The first four blocks of VGG16. Features are taken after the pools."""

    channels = (64, 128, 256, 512)
    CONVS = (2, 2, 3, 3)

    def __init__(self):
        super().__init__()
        for block, (c, k) in enumerate(zip((3, *self.channels), self.channels), 1):
            for conv in range(1, self.CONVS[block - 1] + 1):
                self.add_module(f"block{block}_conv{conv}", nn.Conv2d(c, k, 3, padding=1))
                c = k

    def forward(self, x):
        features = []
        for block, convs in enumerate(self.CONVS, 1):
            for conv in range(1, convs + 1):
                x = torch.relu(getattr(self, f"block{block}_conv{conv}")(x))
            x = F.max_pool2d(x, 2)
            features.append(x)
        return features


class ImageSegmentationKerasUnet(nn.Module):
    """image-segmentation-keras' _unet: logits of half the image's size, here brought to all of it.

    Each decoder step is convolution, ReLU, batch normalisation, in this order.
    """

    def __init__(self, encoder, classes):
        super().__init__()
        self.encoder = encoder
        c1, c2, c3, c4 = encoder.channels
        self.decoder = nn.Module()
        for step, (c, k) in enumerate(
            ((c4, 512), (512 + c3, 256), (256 + c2, 128), (128 + c1, 64)), 1
        ):
            self.decoder.add_module(f"conv{step}", nn.Conv2d(c, k, 3, padding=1))
            self.decoder.add_module(f"bn{step}", keras_batch_norm(k))
        self.head = nn.ModuleDict({"conv": nn.Conv2d(64, classes, 3, padding=1)})

    def forward(self, x):
        size = x.shape[2:]
        *skips, x = self.encoder(x)
        for step in range(1, 5):
            if step > 1:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                x = torch.cat([x, skips[4 - step]], dim=1)
            x = torch.relu(getattr(self.decoder, f"conv{step}")(x))
            x = getattr(self.decoder, f"bn{step}")(x)
        return F.interpolate(self.head["conv"](x), size=size, mode="bilinear", align_corners=False)
