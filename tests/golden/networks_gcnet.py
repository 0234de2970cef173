"""PyTorch twins of GCNet: Yang et al., "Golden Cudgel Network for Real-Time Semantic Segmentation"
(CVPR 2025), names of gyyang23/GCNet; as it is trained.
"""

import torch
from torch import nn

from networks_realtime import conv, resize


class Unit(nn.Module):
    """A convolution and the batch norm behind it, or before it with a ReLU between them."""

    def __init__(self, channels_in, channels_out, kernel, stride=1, norm_first=False):
        super().__init__()
        self.conv = conv(channels_in, channels_out, kernel, stride)
        self.bn = nn.BatchNorm2d(channels_in if norm_first else channels_out)
        self.norm_first = norm_first

    def forward(self, x):
        return self.conv(torch.relu(self.bn(x))) if self.norm_first else self.bn(self.conv(x))


def unit_relu(*shape):
    return nn.Sequential(Unit(*shape), nn.ReLU())


class Path(nn.Module):
    """A convolution and one of 1x1, without anything that is not linear between them."""

    def __init__(self, channels_in, channels_out, kernel, stride):
        super().__init__()
        self.conv1 = Unit(channels_in, channels_out, kernel, stride)
        self.conv2 = Unit(channels_out, channels_out, 1)

    def forward(self, x):
        return self.conv2(self.conv1(x))


class GCBlock(nn.Module):
    """Paths that add up to one convolution."""

    def __init__(self, channels_in, channels_out, stride=1, relu=True):
        super().__init__()
        self.relu = relu
        same = channels_in == channels_out and stride == 1
        self.path_residual = nn.BatchNorm2d(channels_in) if same else None
        self.path_3x3_1 = Path(channels_in, channels_out, 3, stride)
        self.path_3x3_2 = Path(channels_in, channels_out, 3, stride)
        self.path_1x1 = Path(channels_in, channels_out, 1, stride)

    def forward(self, x):
        y = self.path_3x3_1(x) + self.path_3x3_2(x) + self.path_1x1(x)
        if self.path_residual is not None:
            y = y + self.path_residual(x)
        return torch.relu(y) if self.relu else y


class UnitPyramid(nn.Module):
    """DAPPM with OpenMMLab's names."""

    def __init__(self, channels_in, channels, channels_out):
        super().__init__()
        self.scales = nn.ModuleList([Unit(channels_in, channels, 1, norm_first=True)])
        pools = [nn.AvgPool2d(4 * s + 1, 2 * s, 2 * s) for s in (1, 2, 4)]
        for pool in [*pools, nn.AdaptiveAvgPool2d(1)]:
            self.scales.append(
                nn.Sequential(pool, Unit(channels_in, channels, 1, norm_first=True)))
        self.processes = nn.ModuleList(
            [Unit(channels, channels, 3, norm_first=True) for _ in range(4)])
        self.compression = Unit(5 * channels, channels_out, 1, norm_first=True)
        self.shortcut = Unit(channels_in, channels_out, 1, norm_first=True)

    def forward(self, x):
        maps = [self.scales[0](x)]
        for scale, process in zip(self.scales[1:], self.processes, strict=True):
            maps.append(process(resize(scale(x), x) + maps[-1]))
        return self.compression(torch.cat(maps, dim=1)) + self.shortcut(x)


class GCNetBackbone(nn.Module):
    def __init__(self, channels, deep):
        super().__init__()
        c, more = channels, 1 if deep else 0

        def stage(channels_in, channels_out, blocks, stride, last_relu):
            made = [GCBlock(channels_in, channels_out, stride)]
            made += [GCBlock(channels_out, channels_out, relu=last_relu or i < blocks - 1)
                     for i in range(1, blocks)]
            return made

        self.stem = nn.Sequential(
            Unit(3, c, 3, 2), Unit(c, c, 3, 2),
            *stage(c, c, 4 + more, 1, True), *stage(c, 2 * c, 4 + more, 2, True))
        self.semantic_branch_layers = nn.ModuleList([
            nn.Sequential(*stage(2 * c, 4 * c, 5, 2, False)),
            nn.Sequential(*stage(4 * c, 8 * c, 5, 2, False)),
            nn.Sequential(*stage(8 * c, 16 * c, 2 + more, 2, False))])
        self.compression_1 = Unit(4 * c, 2 * c, 1)
        self.down_1 = Unit(2 * c, 4 * c, 3, 2)
        self.compression_2 = Unit(8 * c, 2 * c, 1)
        self.down_2 = nn.Sequential(Unit(2 * c, 4 * c, 3, 2), Unit(4 * c, 8 * c, 3, 2))
        self.detail_branch_layers = nn.ModuleList([
            nn.Sequential(*stage(2 * c, 2 * c, 4 + more, 1, False)),
            nn.Sequential(*stage(2 * c, 2 * c, 4 + more, 1, False)),
            nn.Sequential(*stage(2 * c, 4 * c, 2 + more, 1, False))])
        self.spp = UnitPyramid(16 * c, 128, 4 * c)

    def forward(self, image):
        x = image
        for i, module in enumerate(self.stem):
            x = torch.relu(module(x)) if i < 2 else module(x)
        low = high = x
        for i, compression in enumerate((self.compression_1, self.compression_2)):
            low = torch.relu(self.semantic_branch_layers[i](low))
            high = torch.relu(self.detail_branch_layers[i](high))
            if i == 0:
                down = self.down_1(high)
            else:
                down = self.down_2[1](torch.relu(self.down_2[0](high)))
            high = high + resize(compression(low), high)
            low = torch.relu(low + down)
            extra = high if i == 0 else extra
            high = torch.relu(high)
        high = self.detail_branch_layers[2](high)
        low = self.spp(self.semantic_branch_layers[2](low))
        return high + resize(low, high), extra


class GCNetHead(nn.Module):
    def __init__(self, classes, auxiliary, channels_in, channels):
        super().__init__()

        def head(c):
            return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), Unit(c, channels, 3))

        self.conv_seg = conv(channels, classes, 1, bias=True)
        self.head = head(channels_in)
        if auxiliary:
            self.aux_head_c4 = head(channels_in // 2)
            self.aux_cls_seg_c4 = conv(channels, classes, 1, bias=True)


class GCNet(nn.Module):
    """Yang et al., "Golden Cudgel Network for Real-Time Semantic Segmentation" (CVPR 2025), names of
    gyyang23/GCNet. Its in-place ReLU is before the exchange between the branches, unlike DDRNet's.
    """

    def __init__(self, classes, auxiliary, channels, head, deep=False):
        super().__init__()
        self.backbone = GCNetBackbone(channels, deep)
        self.decode_head = GCNetHead(classes, auxiliary, 4 * channels, head)
        self.auxiliary = auxiliary

    def forward(self, image):
        x, extra = self.backbone(image)
        head = self.decode_head
        scores = resize(head.conv_seg(torch.relu(head.head(x))), image)
        if self.training and self.auxiliary:
            extra = head.aux_cls_seg_c4(torch.relu(head.aux_head_c4(extra)))
            return scores, resize(extra, image)
        return scores


def gcnet_s(classes, auxiliary=False):
    return GCNet(classes, auxiliary, 32, 64)


def gcnet_m(classes, auxiliary=False):
    return GCNet(classes, auxiliary, 64, 128)


def gcnet_l(classes, auxiliary=False):
    return GCNet(classes, auxiliary, 64, 256, deep=True)
