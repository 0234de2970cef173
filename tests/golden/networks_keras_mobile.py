"""PyTorch twins of keras-applications' MobileNet and MobileNetV2, as networks_keras.py has others.

Where the library pads by layers of their own it pads as TensorFlow's "same" does even sizes.
"""

import torch.nn.functional as F

from networks_keras import NamedLayers, SameConv2d, keras_batch_norm


class MobileNet(NamedLayers):
    channels = (1024, 512, 256, 128, 64)  # of the features that forward returns
    # channels, stride
    BLOCKS = (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
        (512, 1), (512, 1), (1024, 2), (1024, 1),
    )

    def __init__(self):
        super().__init__()
        self.conv1 = SameConv2d(3, 32, 3, stride=2, bias=False)
        self.conv1_bn = keras_batch_norm(32)
        channels_in = 32
        for block, (channels, stride) in enumerate(self.BLOCKS, 1):
            depthwise = SameConv2d(
                channels_in, channels_in, 3, stride=stride, groups=channels_in, bias=False)
            self.add_module(f"conv_dw_{block}", depthwise)
            self.add_module(f"conv_dw_{block}_bn", keras_batch_norm(channels_in))
            self.add_module(f"conv_pw_{block}", SameConv2d(channels_in, channels, 1, bias=False))
            self.add_module(f"conv_pw_{block}_bn", keras_batch_norm(channels))
            channels_in = channels

    def convolve(self, name, x):
        return F.relu6(self.layer(name, "bn")(getattr(self, name)(x)))

    def forward(self, x):
        """Features from /32 to /2. The taps are the activations before each halving."""
        features = []
        x = self.convolve("conv1", x)
        for block, (_, stride) in enumerate(self.BLOCKS, 1):
            if stride == 2:
                features.append(x)
            x = self.convolve(f"conv_dw_{block}", x)
            x = self.convolve(f"conv_pw_{block}", x)
        return [x, *features[::-1]]


class MobileNetV2(NamedLayers):
    channels = (1280, 576, 192, 144, 96)
    # expansion, channels, repeats, stride
    STAGES = (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self):
        super().__init__()
        self.Conv1 = SameConv2d(3, 32, 3, stride=2, bias=False)
        self.bn_Conv1 = keras_batch_norm(32)
        self.blocks = []
        channels_in = 32
        for expansion, channels, repeats, stage_stride in self.STAGES:
            for repeat in range(repeats):
                name = f"block_{len(self.blocks)}" if self.blocks else "expanded_conv"
                stride = stage_stride if repeat == 0 else 1
                self.add_block(name, expansion, channels_in, channels, stride)
                channels_in = channels
        self.Conv_1 = SameConv2d(channels_in, 1280, 1, bias=False)
        self.Conv_1_bn = keras_batch_norm(1280)

    def add_block(self, name, expansion, channels_in, channels, stride):
        expanded = expansion * channels_in
        layers = {}
        if expansion != 1:
            layers["expand"] = SameConv2d(channels_in, expanded, 1, bias=False)
            layers["expand_BN"] = keras_batch_norm(expanded)
        layers["depthwise"] = SameConv2d(
            expanded, expanded, 3, stride=stride, groups=expanded, bias=False)
        layers["depthwise_BN"] = keras_batch_norm(expanded)
        layers["project"] = SameConv2d(expanded, channels, 1, bias=False)
        layers["project_BN"] = keras_batch_norm(channels)
        for suffix, layer in layers.items():
            self.add_module(f"{name}_{suffix}", layer)
        self.blocks.append((name, expansion != 1, stride, stride == 1 and channels == channels_in))

    def convolve(self, name, suffix, x):
        return self.layer(name, f"{suffix}_BN")(self.layer(name, suffix)(x))

    def forward(self, x):
        """Features from /32 to /2. The taps are the expansions in the blocks that halve."""
        features = []
        x = F.relu6(self.bn_Conv1(self.Conv1(x)))
        for name, expands, stride, residual in self.blocks:
            y = F.relu6(self.convolve(name, "expand", x)) if expands else x
            if stride == 2:
                features.append(y)
            y = F.relu6(self.convolve(name, "depthwise", y))
            y = self.convolve(name, "project", y)
            x = x + y if residual else y
        return [F.relu6(self.Conv_1_bn(self.Conv_1(x))), *features[::-1]]
