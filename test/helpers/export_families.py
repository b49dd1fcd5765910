"""Writes one small network of each family to FOLDER, by both of PyTorch's exporters: NAME.onnx (dynamo) and NAME.script.onnx.

The classes are torchvision's own with few blocks and channels, and a U-Net's encoder under a classifier. Inputs are 32 x 32.
Each with its logits of the first image: NAME.json, {"input": [...], "logits": [...]}.
"""

import functools
import json
import logging
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import torch
from torch import nn
from torchvision.models import ConvNeXt, EfficientNet, MobileNetV3, ShuffleNetV2, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.swin_transformer import SwinTransformerBlock, SwinTransformerBlockV2, PatchMergingV2

classes = 4


class UNetEncoder(nn.Module):
    """The contracting half of Ronneberger et al. 2015, its skips pooled and joined as features."""

    def __init__(self, widths=(8, 16, 32)):
        super().__init__()
        self.stages = nn.ModuleList()
        inputs = 3
        for width in widths:
            layers = []
            for channels in (inputs, width):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            self.stages.append(nn.Sequential(*layers))
            inputs = width
        self.head = nn.Linear(sum(widths), classes)

    def forward(self, x):
        skips = []
        for index, stage in enumerate(self.stages):
            x = stage(x if index == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        return self.head(torch.cat([skip.mean((2, 3)) for skip in skips], 1))


def mobilenet_v3():
    row = functools.partial(InvertedResidualConfig, width_mult=1.0)
    rows = [
        row(16, 3, 16, 16, True, "RE", 1, 1),
        row(16, 3, 32, 24, False, "RE", 2, 1),
        row(24, 5, 48, 24, True, "HS", 1, 1),
    ]
    return MobileNetV3(rows, last_channel=64, num_classes=classes)


def efficientnet():
    row = functools.partial(MBConvConfig, width_mult=1.0, depth_mult=1.0)
    rows = [row(1, 3, 1, 16, 16, 1), row(6, 3, 2, 16, 24, 2), row(6, 5, 2, 24, 32, 1)]
    return EfficientNet(rows, dropout=0.1, stochastic_depth_prob=0.1, num_classes=classes, last_channel=64)


def swin(block, **others):
    return SwinTransformer([2, 2], 16, [2, 2], [1, 2], [4, 4], num_classes=classes, block=block, **others)


families = {
    "shufflenet": lambda: ShuffleNetV2([2, 2, 2], [8, 16, 32, 64, 64], num_classes=classes),
    "convnext": lambda: ConvNeXt([CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)], num_classes=classes),
    "vit": lambda: VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=classes),
    "swin": lambda: swin(SwinTransformerBlock),
    "swin-v2": lambda: swin(SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
    "mobilenet-v3": mobilenet_v3,
    "efficientnet": efficientnet,
    "unet-encoder": UNetEncoder,
}


def main(folder, names):
    torch.set_num_threads(1)
    # The exporter by tracing does not know the fused form of evaluation.
    torch.backends.mha.set_fastpath_enabled(False)
    for name in names or families:
        torch.manual_seed(0)
        model = families[name]().eval()
        for part in model.modules():
            # Heads that start at zero give equal logits, and statistics of 0 and 1 hide a wrong fold.
            if isinstance(part, nn.Linear) and not part.weight.any():
                nn.init.normal_(part.weight, std=0.1)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.uniform_(-0.2, 0.2)
                part.running_var.uniform_(0.6, 1.4)
        x = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            logits = model(x)
            preserve = torch.onnx.TrainingMode.PRESERVE
            script = {"training": preserve, "do_constant_folding": False, "dynamo": False}
            torch.onnx.export(model, x, folder / f"{name}.script.onnx", **script)
            torch.onnx.export(model, (x,), folder / f"{name}.onnx", dynamo=True, verbose=False)
        record = {"input": x.flatten().tolist(), "logits": logits.flatten().tolist()}
        (folder / f"{name}.json").write_text(json.dumps(record))


main(Path(sys.argv[1]), sys.argv[2:])
