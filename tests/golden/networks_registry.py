"""The networks that have goldens: name -> builder and the input sizes it is checked at."""

import dataclasses
import re
import typing

import efficientnet_lite_pytorch
import efficientnet_pytorch
import segmentation_models_pytorch as smp
import torch
import torchvision
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import nn

import networks_gcnet as gcnet
import networks_keras as keras
import networks_keras_inception as keras_inception
import networks_keras_mobile as keras_mobile
import networks_keras_residual as keras_residual
import networks_realtime as realtime
from networks_unet import UNet

CLASSES = 8
SIZE = (256, 512)  # height, width
# Encoders that smp calls otherwise: the name here -> there.
SMP_ENCODERS = {
    "inception_v4": "inceptionv4",
    "inception_resnet_v2": "inceptionresnetv2",
}
# Those that it takes from timm.
TIMM_ENCODERS = {
    "mobilenet_v1": "mobilenetv1_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
}


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite with the features that smp takes from timm's."""

    def __init__(self, number):
        super().__init__()
        whole = efficientnet_lite_pytorch.EfficientNet.from_name(f"efficientnet-lite{number}")
        for name in ("_conv_stem", "_bn0", "_blocks", "_conv_head", "_bn1"):
            self.add_module(name, getattr(whole, name))
        self.relu6 = nn.ReLU6()

    def forward(self, x):
        """The image, the stem, what lies before each halving but the first, and the end."""
        features = [x, self.relu6(self._bn0(self._conv_stem(x)))]
        x, halvings = features[-1], 0
        for block in self._blocks:
            y = block(x)
            if y.shape[2] < x.shape[2]:
                halvings += 1
                if halvings > 1:
                    features.append(x)
            x = y
        return [*features, x]


class EfficientNetLiteUnet(nn.Module):
    def __init__(self, number, classes):
        super().__init__()
        self.encoder = EfficientNetLite(number)
        with torch.no_grad():
            widths = [f.shape[1] for f in self.encoder.eval()(torch.zeros(1, 3, 64, 64))]
        self.decoder = UnetDecoder(widths, (256, 128, 64, 32, 16))
        self.segmentation_head = smp.base.SegmentationHead(16, classes)

    def forward(self, x):
        return self.segmentation_head(self.decoder(self.encoder(x)))


@dataclasses.dataclass
class Network:
    build: typing.Callable[[], nn.Module]
    sizes: tuple = (SIZE, (161, 225))
    name: str = ""  # in the registry of networks, where it is not the golden's
    options: dict = dataclasses.field(default_factory=dict)
    classes: int = CLASSES
    weight_gain: float = 1.0  # of networks_rule.tensor
    # A module with the registry's names for the same tensors in the same order, if they differ.
    reference: typing.Callable[[], nn.Module] | None = None
    # For gradients: the same with an auxiliary head, how many images of which height and width, and
    # what is added to the norms' biases.
    with_auxiliary: typing.Callable[[], nn.Module] | None = None
    gradient_batch: tuple = (2, 64, 96)
    norm_shift: float = 0.0


def smp_unet(encoder):
    return lambda: smp.Unet(encoder, encoder_weights=None, classes=CLASSES)


def make_registry():
    # Transposed convolutions and plain doubling need sizes that halve without a rest.
    sixteenths = (SIZE, (144, 240))
    thirty_seconds = (SIZE, (160, 224))
    image = ((224, 224),)

    networks = {
        "unet": Network(lambda: UNet(CLASSES), sixteenths, "unet", {"batch_norm": True}),
        "unet_no_batch_norm": Network(
            lambda: UNet(CLASSES, batch_norm=False), sixteenths, "unet", {"batch_norm": False}),
    }
    encoders = ["vgg16", "vgg16_bn", "resnet18", "resnet34", "resnet50", "mobilenet_v2",
                "xception", "resnet101", "resnext50_32x4d", "se_resnet50", "se_resnext50_32x4d",
                "densenet121"]
    encoders += [f"efficientnet-b{number}" for number in range(8)]
    for encoder in encoders:
        networks[encoder.replace("-", "_") + "_unet"] = Network(smp_unet(encoder))
    for name, encoder in SMP_ENCODERS.items():
        networks[name + "_unet"] = Network(smp_unet(encoder))
    for name, encoder in TIMM_ENCODERS.items():
        networks[name + "_unet"] = Network(smp_unet("tu-" + encoder))
    # timm's tf_ model: TensorFlow's padding, at sizes where that is another on either axis.
    networks["tf_mobilenet_v3_small_unet"] = Network(
        smp_unet("tu-tf_mobilenetv3_small_100"), ((64, 96), (75, 99)), "mobilenet_v3_small_unet",
        {"padding": "same", "norm_eps": "1e-3"})
    # timm's twins: tensors of the same shapes in the same order, another network.
    twins = {
        "seresnet50": ("se_resnet50", {"layout": "torch"}),
        "seresnext50_32x4d": ("se_resnext50_32x4d", {"layout": "torch"}),
        "densenet121": ("densenet121", {"taps": "concat"}),
    }
    for name, (encoder, options) in twins.items():
        networks[f"tu_{name}_unet"] = Network(
            smp_unet(f"tu-{name}"), name=f"{encoder}_unet", options=options,
            reference=smp_unet(encoder))
    for number in range(5):
        networks[f"efficientnet_lite{number}_unet"] = Network(
            lambda number=number: EfficientNetLiteUnet(number, CLASSES))

    def keras_unet(encoder):
        return lambda: keras.SegmentationModelsUnet(encoder(), CLASSES)

    backbones = {  # encoder, weight_gain
        "resnet34": (keras.ResNet34, 0.8),
        "vgg16": (keras.Vgg16, 0.9),
        "mobilenet": (keras_mobile.MobileNet, 0.8),
        "mobilenetv2": (keras_mobile.MobileNetV2, 0.8),
        "densenet121": (keras_residual.DenseNet121, 0.9),
        "seresnet50": (keras_residual.SEResNet50, 0.8),
        "inceptionv3": (keras_inception.InceptionV3, 0.9),
        "inceptionresnetv2": (keras_inception.InceptionResNetV2, 0.8),
    }
    for name, (backbone, gain) in backbones.items():
        networks[f"keras_{name}_unet"] = Network(
            keras_unet(backbone), thirty_seconds, weight_gain=gain)
    for number in range(8):
        networks[f"keras_efficientnet_b{number}_unet"] = Network(
            keras_unet(lambda number=number: keras.EfficientNet(number)), thirty_seconds)
    encoders = {"keras_vgg_unet": keras.VggEncoder, "keras_unet": keras.PlainEncoder}
    for name, encoder in encoders.items():
        networks[name] = Network(
            lambda encoder=encoder: keras.ImageSegmentationKerasUnet(encoder(), CLASSES),
            sixteenths)

    # Multiples of 8 as the authors' code wants them, and what that refuses.
    for name in ("ddrnet23_slim", "ddrnet23", "ddrnet39", "pidnet_s", "pidnet_m", "fast_scnn"):
        build = getattr(realtime, name)
        networks[name] = Network(
            lambda build=build: build(CLASSES),
            with_auxiliary=lambda build=build: build(CLASSES, auxiliary=True),
            # Batch norms see a value an image: of two images they leave no gradient.
            gradient_batch=(4, 128, 192),
            # PIDNet's attention is steep where features are large.
            weight_gain=0.7 if name.startswith("pidnet") else 0.8)
    networks["fast_scnn"].options = {"dropout": "0"}
    for name in ("gcnet_s", "gcnet_m", "gcnet_l"):
        build = getattr(gcnet, name)
        networks[name] = Network(
            lambda build=build: build(CLASSES),
            with_auxiliary=lambda build=build: build(CLASSES, auxiliary=True),
            gradient_batch=(4, 128, 192), weight_gain=0.5)  # blocks add up three or four branches
    networks["swiftnet_rn18"] = Network(
        lambda: realtime.swiftnet_rn18(CLASSES), gradient_batch=(4, 128, 192), weight_gain=0.8)

    def efficientnet_b0():
        return efficientnet_pytorch.EfficientNet.from_name("efficientnet-b0")

    classifiers = {
        "vgg16": torchvision.models.vgg16,
        "resnet34": torchvision.models.resnet34,
        "efficientnet_b0": efficientnet_b0,
    }
    for name, build in classifiers.items():
        networks[f"{name}_classifier"] = Network(build, image, name, classes=1000)
    # Its own paddings, at sizes where TensorFlow's are others.
    networks["torchvision_efficientnet_b0_classifier"] = Network(
        torchvision.models.efficientnet_b0, ((64, 96), (75, 99)), "efficientnet_b0",
        {"padding": "symmetric", "norm_eps": "1e-5"}, classes=1000, reference=efficientnet_b0)

    for name, network in networks.items():
        network.name = network.name or name
        if re.search("xception|resnet101", name):
            network.weight_gain = 0.75
        elif re.search("mobilenet_v2|lite|resne[tx](?!_v2)", name):
            network.weight_gain = 0.8
        elif "v1" in name:
            network.weight_gain = 1.1  # every activation meets its bound of 6
        elif re.search("efficientnet_b[4-7]|keras_efficientnet_b[23]|v3_large", name):
            network.weight_gain = 0.9
        if re.search("inception_?v[34]", name):
            # Deep, without shortcuts: where half of all values stop at a ReLU, a disturbance by one
            # ulp changes a tenth of the gradient, in float64 too. Here most pass.
            network.norm_shift = 1.0
    networks["keras_mobilenetv2_unet"].gradient_batch = (4, 64, 96)
    return networks


NETWORKS = make_registry()


def select(pattern):
    """The networks whose whole name matches a regular expression."""
    return {name: n for name, n in NETWORKS.items() if re.fullmatch(pattern, name)}
