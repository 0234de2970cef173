"""PyTorch twins of the networks that are no U-Nets, with their authors' parameter names.

DDRNet: Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation
of Road Scenes" (arXiv 2101.06085), names of ydhongHIT/DDRNet. A branch is brought to the size of
the other, which is an eighth rounded up; the authors' own code rounds down, and therefore takes
sizes alone that are multiples of 8, where both are the same.

PIDNet, SwiftNet and Fast-SCNN: below.

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


class PAPPM(Pyramid):
    """The scales stand beside each other."""

    def __init__(self, channels_in, channels, channels_out):
        super().__init__(channels_in, channels, channels_out)
        self.scale_process = nn.Sequential(*norm_relu_conv(4 * channels, 4 * channels, 3, groups=4))

    def forward(self, x):
        first = self.scale0(x)
        scales = self.scale_process(torch.cat([y + first for y in self.scales(x)], dim=1))
        return self.compression(torch.cat([first, scales], dim=1)) + self.shortcut(x)


class PagFM(nn.Module):
    """Takes of each pixel of y as much as x and y agree there."""

    def __init__(self, channels_in, channels):
        super().__init__()
        self.f_x = nn.Sequential(*conv_norm(channels_in, channels, 1))
        self.f_y = nn.Sequential(*conv_norm(channels_in, channels, 1))

    def forward(self, x, y):
        agreement = (self.f_x(x) * resize(self.f_y(y), x)).sum(dim=1, keepdim=True)
        part = torch.sigmoid(agreement)
        return (1 - part) * x + part * resize(y, x)


class LightBag(nn.Module):
    """Detail at edges, context elsewhere."""

    def __init__(self, channels):
        super().__init__()
        self.conv_p = nn.Sequential(*conv_norm(channels, channels, 1))
        self.conv_i = nn.Sequential(*conv_norm(channels, channels, 1))

    def forward(self, detail, context, edges):
        edge = torch.sigmoid(edges)
        return self.conv_p((1 - edge) * context + detail) + self.conv_i(context + edge * detail)


class PIDNet(nn.Module):
    """PIDNet-S and -M: Xu et al., "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID
    Controllers" (arXiv 2206.02066), names of XuJiacong/PIDNet. Its auxiliary heads see what an
    in-place ReLU has left there, which is as trained."""

    def __init__(self, classes, auxiliary, channels):
        super().__init__()
        c, high = channels, 2 * channels
        self.conv1 = stem(c)
        self.layer1 = layer(c, c, 2)
        self.layer2 = layer(c, high, 2, stride=2)
        self.layer3 = layer(high, 4 * c, 3, stride=2)
        self.layer4 = layer(4 * c, 8 * c, 3, stride=2)
        self.layer5 = bottlenecks(8 * c, 8 * c, 2, stride=2)
        self.compression3 = nn.Sequential(*conv_norm(4 * c, high, 1))
        self.compression4 = nn.Sequential(*conv_norm(8 * c, high, 1))
        self.pag3 = PagFM(high, c)
        self.pag4 = PagFM(high, c)
        self.layer3_ = layer(high, high, 2)
        self.layer4_ = layer(high, high, 2)
        self.layer5_ = bottlenecks(high, high, 1)
        self.layer3_d = Block(high, c, relu=False)
        self.layer4_d = bottlenecks(c, c, 1)
        self.diff3 = nn.Sequential(*conv_norm(4 * c, c, 3))
        self.diff4 = nn.Sequential(*conv_norm(8 * c, high, 3))
        self.spp = PAPPM(16 * c, 96, 4 * c)
        self.dfm = LightBag(4 * c)
        self.layer5_d = bottlenecks(high, high, 1)
        if auxiliary:
            self.seghead_p = Head(high, 128, classes)
            self.seghead_d = Head(high, c, 1)
        self.auxiliary = auxiliary
        self.final_layer = Head(4 * c, 128, classes)

    def forward(self, image):
        x = torch.relu(self.layer2(torch.relu(self.layer1(self.conv1(image)))))
        detail, edges = self.layer3_(x), self.layer3_d(x)
        x = torch.relu(self.layer3(x))
        detail = torch.relu(self.pag3(detail, self.compression3(x)))
        edges = torch.relu(edges + resize(self.diff3(x), edges))
        extra = detail
        x = torch.relu(self.layer4(x))
        detail, edges = self.layer4_(detail), self.layer4_d(edges)
        detail = torch.relu(self.pag4(detail, self.compression4(x)))
        edges = torch.relu(edges + resize(self.diff4(x), edges))
        detail, edges = self.layer5_(detail), self.layer5_d(edges)
        context = resize(self.spp(self.layer5(x)), detail)
        scores = resize(self.final_layer(self.dfm(detail, context, edges)), image)
        if self.training and self.auxiliary:
            return scores, resize(self.seghead_p(extra), image)
        return scores


def pidnet_s(classes, auxiliary=False):
    return PIDNet(classes, auxiliary, 32)


def pidnet_m(classes, auxiliary=False):
    return PIDNet(classes, auxiliary, 64)


class NormReluConv(nn.Sequential):
    def __init__(self, channels_in, channels_out, kernel, momentum=0.1, bias=False):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels_in, momentum=momentum)
        self.relu = nn.ReLU()
        self.conv = conv(channels_in, channels_out, kernel, bias=bias)


class Upsample(nn.Module):
    def __init__(self, skip):
        super().__init__()
        self.bottleneck = NormReluConv(skip, 128, 1)
        self.blend_conv = NormReluConv(128, 128, 3)

    def forward(self, x, skip):
        return self.blend_conv(resize(x, skip) + self.bottleneck(skip))


class SwiftNetPyramid(nn.Module):
    """Means over grids of 8, 4 and 2 rows, and columns to keep the ratio of the sides."""

    ROWS = (8, 4, 2)

    def __init__(self):
        super().__init__()
        self.spp = nn.Sequential()
        self.spp.add_module("spp_bn", NormReluConv(512, 128, 1, 0.005))
        for i in range(3):
            self.spp.add_module(f"spp{i}", NormReluConv(128, 42, 1, 0.005))
        self.spp.add_module("spp_fuse", NormReluConv(128 + 3 * 42, 128, 1, 0.005))

    def forward(self, x):
        height, width = x.shape[2:]
        x = self.spp.spp_bn(x)
        levels = [x]
        for i, rows in enumerate(self.ROWS):
            grid = rows, max(1, round(width / height * rows))
            y = getattr(self.spp, f"spp{i}")(F.adaptive_avg_pool2d(x, grid))
            levels.append(resize(y, x))
        return self.spp.spp_fuse(torch.cat(levels, dim=1))


class SwiftNetBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        c = 64
        for i, k in enumerate((64, 128, 256, 512), 1):
            self.add_module(f"layer{i}", nn.Sequential(Block(c, k, 1 if i == 1 else 2), Block(k, k)))
            c = k
        self.spp = SwiftNetPyramid()
        self.upsample = nn.ModuleList([Upsample(skip) for skip in (256, 128, 64)])

    def forward(self, image):
        x = F.max_pool2d(torch.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        skips = []
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
            skips.append(x)
        x = self.spp(skips.pop())
        for upsample in self.upsample:
            x = upsample(x, skips.pop())
        return x


class SwiftNet(nn.Module):
    """Single scale, upon ResNet-18: Oršić et al., "In Defense of Pre-trained ImageNet Architectures
    for Real-time Semantic Segmentation of Road-driving Images" (CVPR 2019), names of orsic/swiftnet.
    The paper takes skips before a ReLU, which that code's in-place ReLU overwrites."""

    def __init__(self, classes):
        super().__init__()
        self.backbone = SwiftNetBackbone()
        self.logits = NormReluConv(128, classes, 1, bias=True)

    def forward(self, image):
        return resize(self.logits(self.backbone(image)), image)


def swiftnet_rn18(classes):
    return SwiftNet(classes)


class ConvBNReLU(nn.Module):
    """Convolutions with batch norms and ReLUs, called "conv"."""

    def __init__(self, *layers):
        super().__init__()
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return self.conv(x)


def depthwise(channels, stride=1):
    return [conv(channels, channels, 3, stride, groups=channels), nn.BatchNorm2d(channels),
            nn.ReLU()]


def separable(channels_in, channels_out, stride=1):
    """Depthwise, then pointwise."""
    return ConvBNReLU(*depthwise(channels_in, stride), *conv_norm(channels_in, channels_out, 1),
                      nn.ReLU())


class LinearBottleneck(nn.Module):
    """MobileNetV2's inverted residual."""

    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        wide = 6 * channels_in
        self.block = nn.Sequential(
            ConvBNReLU(*conv_norm(channels_in, wide, 1), nn.ReLU()),
            ConvBNReLU(*depthwise(wide, stride)), *conv_norm(wide, channels_out, 1))
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x):
        return x + self.block(x) if self.shortcut else self.block(x)


def resize_corners(x, like):
    """As resize, but the corner pixels' centres stay where they are."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


class GridPyramid(nn.Module):
    def __init__(self, channels):
        super().__init__()
        for i in range(1, 5):
            self.add_module(
                f"conv{i}", ConvBNReLU(*conv_norm(channels, channels // 4, 1), nn.ReLU()))
        self.out = ConvBNReLU(*conv_norm(2 * channels, channels, 1), nn.ReLU())

    def forward(self, x):
        maps = [x]
        for i, grid in enumerate((1, 2, 3, 6), 1):
            y = getattr(self, f"conv{i}")(F.adaptive_avg_pool2d(x, grid))
            maps.append(resize_corners(y, x))
        return self.out(torch.cat(maps, dim=1))


class FastSCNN(nn.Module):
    """Poudel et al., "Fast-SCNN: Fast Semantic Segmentation Network" (arXiv 1902.04502), as
    Tramac/Fast-SCNN-pytorch has it: the first convolution without padding. The classifier's dropout
    is left out."""

    def __init__(self, classes, auxiliary=False):
        super().__init__()
        self.learning_to_downsample = nn.ModuleDict({
            "conv": ConvBNReLU(nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
            "dsconv1": separable(32, 48, 2),
            "dsconv2": separable(48, 64, 2)})
        extractor = {}
        c = 64
        for i, (k, stride) in enumerate(((64, 2), (96, 2), (128, 1)), 1):
            extractor[f"bottleneck{i}"] = nn.Sequential(
                LinearBottleneck(c, k, stride), LinearBottleneck(k, k, 1), LinearBottleneck(k, k, 1))
            c = k
        self.global_feature_extractor = nn.ModuleDict({**extractor, "ppm": GridPyramid(128)})
        fusion = {"dwconv": ConvBNReLU(*depthwise(128))}
        for name, channels in (("lower", 128), ("higher", 64)):
            fusion[f"conv_{name}_res"] = nn.Sequential(
                conv(channels, 128, 1, bias=True), nn.BatchNorm2d(128))
        self.feature_fusion = nn.ModuleDict(fusion)
        self.classifier = nn.ModuleDict({
            "dsconv1": separable(128, 128), "dsconv2": separable(128, 128),
            "conv": nn.Sequential(nn.Identity(), conv(128, classes, 1, bias=True))})
        self.auxlayer = None
        if auxiliary:
            self.auxlayer = nn.Sequential(
                *conv_norm(64, 32, 3), nn.ReLU(), nn.Identity(), conv(32, classes, 1, bias=True))

    def forward(self, image):
        x = image
        for module in self.learning_to_downsample.values():
            x = module(x)
        high = x
        for module in self.global_feature_extractor.values():
            x = module(x)
        fusion = self.feature_fusion
        x = fusion["conv_lower_res"](fusion["dwconv"](resize_corners(x, high)))
        x = torch.relu(x + fusion["conv_higher_res"](high))
        for module in self.classifier.values():
            x = module(x)
        scores = resize_corners(x, image)
        if self.training and self.auxlayer is not None:
            return scores, resize_corners(self.auxlayer(high), image)
        return scores


def fast_scnn(classes, auxiliary=False):
    return FastSCNN(classes, auxiliary)
