"""PyTorch twins of Macadam's networks: the same layers under the same parameter names, so that one
file of weights serves both. They need nothing but PyTorch.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "golden"))
from networks_unet import UNet  # pylint: disable=wrong-import-position


class MiniBlock(nn.Module):
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        return F.relu(self.conv2(self.dropout(F.relu(self.conv1(x)))))


class UNetMini(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.down1, self.down2 = MiniBlock(3, 32), MiniBlock(32, 64)
        self.bottom = MiniBlock(64, 128)
        self.up2, self.up1 = MiniBlock(192, 64), MiniBlock(96, 32)
        self.head = nn.Conv2d(32, classes, 1)

    def forward(self, x):
        c1 = self.down1(x)
        c2 = self.down2(F.max_pool2d(c1, 2))
        c3 = self.bottom(F.max_pool2d(c2, 2))
        u2 = self.up2(torch.cat([F.interpolate(c3, scale_factor=2.0), c2], 1))
        u1 = self.up1(torch.cat([F.interpolate(u2, scale_factor=2.0), c1], 1))
        return self.head(u1)


def conv_norm_relu(channels_in, channels_out):
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
                         nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


class DecoderBlock(nn.Module):
    def __init__(self, channels_in, channels_skip, channels_out):
        super().__init__()
        self.conv1 = conv_norm_relu(channels_in + channels_skip, channels_out)
        self.conv2 = conv_norm_relu(channels_out, channels_out)

    def forward(self, x, skip):
        x = F.interpolate(x, scale_factor=2.0)
        return self.conv2(self.conv1(x if skip is None else torch.cat([x, skip], 1)))


class Decoder(nn.Module):
    """That of segmentation_models.pytorch's Unet. `channels`: of the skips, deepest first, and
    before them of what is up-sampled."""

    def __init__(self, channels, center):
        super().__init__()
        out = (256, 128, 64, 32, 16)
        self.center = (nn.Sequential(conv_norm_relu(channels[0], channels[0]),
                                     conv_norm_relu(channels[0], channels[0]))
                       if center else nn.Identity())
        self.blocks = nn.ModuleList(
            DecoderBlock(*sizes) for sizes in zip((channels[0], *out), (*channels[1:], 0), out))

    def forward(self, x, skips):
        x = self.center(x)
        for block, skip in zip(self.blocks, (*skips, None)):
            x = block(x, skip)
        return x


class VGG16(nn.Module):
    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, x):
        """Features before each pooling, and what the last one gives."""
        features = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                features.append(x)
            x = layer(x)
        return [*features, x]


class BasicBlock(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False),
                                            nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNet34(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, count in enumerate((3, 4, 6, 3)):
            width = 64 << stage
            blocks = [BasicBlock(channels, width, 2 if stage else 1)]
            blocks += [BasicBlock(width, width, 1) for _ in range(count - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            channels = width

    def forward(self, x):
        features = [F.relu(self.bn1(self.conv1(x)), inplace=True)]
        x = F.max_pool2d(features[0], 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


class EncoderUnet(nn.Module):
    """segmentation_models.pytorch's Unet; `channels` of the encoder's features, deepest first."""

    def __init__(self, encoder, channels, center, classes):
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(channels, center)
        self.segmentation_head = nn.Sequential(nn.Conv2d(16, classes, 3, padding=1))

    def forward(self, x):
        *skips, deepest = self.encoder(x)[-5:]
        return self.segmentation_head(self.decoder(deepest, skips[::-1]))


NETWORKS = {
    "unet_mini": UNetMini,
    "unet": UNet,
    "vgg16_unet": lambda classes: EncoderUnet(VGG16(), (512, 512, 512, 256, 128), True, classes),
    "resnet34_unet": lambda classes: EncoderUnet(ResNet34(), (512, 256, 128, 64, 64), False,
                                                 classes),
}


def make(name, classes, seed=1):
    """The network with random weights that let every layer count: activations neither vanish nor
    grow, and the statistics of the norms are not those of a fresh network."""
    torch.manual_seed(seed)
    model = NETWORKS[name](classes)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.uniform_(module.bias, -0.1, 0.1)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.8, 1.2)
                nn.init.uniform_(module.bias, -0.1, 0.1)
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.running_var, 0.8, 1.2)
    return model
