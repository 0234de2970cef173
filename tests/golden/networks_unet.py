"""U-Net (Ronneberger et al., 2015) with convolutions that keep the size of the image."""

import torch
from torch import nn


class DoubleConv(nn.Module):
    """Twice a 3x3 convolution, batch normalisation if wanted, and ReLU."""

    def __init__(self, channels_in, channels_out, batch_norm):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=not batch_norm)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=not batch_norm)
        self.bn1 = nn.BatchNorm2d(channels_out) if batch_norm else nn.Identity()
        self.bn2 = nn.BatchNorm2d(channels_out) if batch_norm else nn.Identity()

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)))


class UpBlock(DoubleConv):
    """Doubles the size by a transposed convolution, then joins the skip connection."""

    def __init__(self, channels, batch_norm):
        super().__init__(2 * channels, channels, batch_norm)
        self.transpose = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)

    def forward(self, x, skip):
        return super().forward(torch.cat([skip, self.transpose(x)], dim=1))


class UNet(nn.Module):
    def __init__(self, classes, batch_norm=True):
        super().__init__()
        self.down1 = DoubleConv(3, 64, batch_norm)
        self.down2 = DoubleConv(64, 128, batch_norm)
        self.down3 = DoubleConv(128, 256, batch_norm)
        self.down4 = DoubleConv(256, 512, batch_norm)
        self.bottom = DoubleConv(512, 1024, batch_norm)
        self.up4 = UpBlock(512, batch_norm)
        self.up3 = UpBlock(256, batch_norm)
        self.up2 = UpBlock(128, batch_norm)
        self.up1 = UpBlock(64, batch_norm)
        self.head = nn.Conv2d(64, classes, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        skip1 = self.down1(x)
        skip2 = self.down2(self.pool(skip1))
        skip3 = self.down3(self.pool(skip2))
        skip4 = self.down4(self.pool(skip3))
        x = self.up4(self.bottom(self.pool(skip4)), skip4)
        x = self.up2(self.up3(x, skip3), skip2)
        return self.head(self.up1(x, skip1))
