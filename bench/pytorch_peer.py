"""The eager PyTorch side of step.ts: times steps of the same networks and prints one JSON object.

  python3 pytorch_peer.py [--model resnet20|resnet18|mobilenet-v2|vit|convnext-atto|yolov4-tiny] [--kind train|evaluate]
    [--batch 128] [--threads 2]
    [--weight-bits 4] [--activation-bits 4] [--steps 14] [--device cpu|cuda]
  python3 pytorch_peer.py --model convnext-atto --export network.onnx    (writes the network, in float, and ends)

Bits of 32 mean full precision; the stem and the classifier always are. Weights are quantized as in DoReFa (Zhou et al.,
2016), activations as in PACT (Choi et al., 2018). channels_last, as PyTorch recommends for convolutions on a CPU.
"""
import argparse
import json
import resource
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument('--model', default='resnet20')
parser.add_argument('--kind', default='train')
parser.add_argument('--batch', type=int, default=128)
parser.add_argument('--threads', type=int, default=2)
parser.add_argument('--weight-bits', type=int, default=4)
parser.add_argument('--activation-bits', type=int, default=4)
parser.add_argument('--steps', type=int, default=14)
parser.add_argument('--device', default='cpu')
parser.add_argument('--export')
a = parser.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(0)
torch.set_default_device(a.device)


class Round(torch.autograd.Function):
    """Rounds to n levels, straight-through."""

    @staticmethod
    def forward(ctx, x, n):
        return torch.round(x * n) / n

    @staticmethod
    def backward(ctx, g):
        return g, None


def quantized_weight(w):
    if a.weight_bits == 32:
        return w
    t = torch.tanh(w)
    return 2 * Round.apply(t / (2 * t.abs().max()) + 0.5, 2**a.weight_bits - 1) - 1


def quantized_signed(x, alpha):
    """Clipped to a learned range and rounded."""
    if a.activation_bits == 32:
        return x
    clipped = torch.maximum(torch.minimum(x, alpha), -alpha)
    return Round.apply(clipped / alpha, 2 ** (a.activation_bits - 1) - 1) * alpha


class QuantizedConv(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, quantized_weight(self.weight), self.bias, self.stride, self.padding, 1, self.groups)


class Activation(nn.Module):
    """ReLU or ReLU6, then PACT."""

    def __init__(self, relu=F.relu):
        super().__init__()
        self.relu, self.alpha = relu, nn.Parameter(torch.tensor(6.0))

    def forward(self, x):
        x = self.relu(x)
        if a.activation_bits == 32:
            return x
        return Round.apply(torch.minimum(x, self.alpha) / self.alpha, 2**a.activation_bits - 1) * self.alpha


def conv(i, o, k, s=1, groups=1):
    return QuantizedConv(i, o, k, s, k // 2, groups=groups, bias=False)


class Block(nn.Module):
    """Two 3 x 3 convolutions; the shortcut is option A (subsample and pad) or a 1 x 1 convolution."""

    def __init__(self, i, o, s, option_a):
        super().__init__()
        self.c1, self.b1, self.a1 = conv(i, o, 3, s), nn.BatchNorm2d(o), Activation()
        self.c2, self.b2, self.a2 = conv(o, o, 3), nn.BatchNorm2d(o), Activation()
        self.pad = (o - i) // 2 if option_a and s != 1 else None
        self.shortcut = None if option_a or (s == 1 and i == o) else nn.Sequential(conv(i, o, 1, s), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.b2(self.c2(self.a1(self.b1(self.c1(x)))))
        if self.pad is not None:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        elif self.shortcut is not None:
            x = self.shortcut(x)
        return self.a2(x + y)


class Inverted(nn.Module):
    """MobileNetV2's block: 1 x 1 to the hidden width, depthwise 3 x 3, 1 x 1 back without activation."""

    def __init__(self, i, o, s, expansion):
        super().__init__()
        h = i * expansion
        layers = [] if expansion == 1 else [conv(i, h, 1), nn.BatchNorm2d(h), Activation(F.relu6)]
        layers += [conv(h, h, 3, s, h), nn.BatchNorm2d(h), Activation(F.relu6), conv(h, o, 1), nn.BatchNorm2d(o)]
        self.layers, self.add = nn.Sequential(*layers), s == 1 and i == o

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.add else y


class QuantizedLinear(nn.Linear):
    """Weights as those of QuantizedConv; the signed input is clipped to a learned range and rounded."""

    def __init__(self, i, o):
        super().__init__(i, o)
        self.alpha = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return F.linear(quantized_signed(x, self.alpha), quantized_weight(self.weight), self.bias)


class Encoder(nn.Module):
    """A block of ViT: attention and an MLP, each behind a layer normalisation and around a shortcut."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.qkv, self.proj = QuantizedLinear(width, 3 * width), QuantizedLinear(width, width)
        self.fc1, self.fc2 = QuantizedLinear(width, 4 * width), QuantizedLinear(4 * width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)
        x = x + self.proj(mixed)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self, patch, width, depth, heads, tokens, classes):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, tokens + 1, width))
        self.blocks = nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


class SignedConv(QuantizedConv):
    """A convolution whose signed input is quantized."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.alpha = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return super().forward(quantized_signed(x, self.alpha))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of each pixel's channels."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    """ConvNeXt's block: depthwise 7 x 7, layer normalisation, 1 x 1 to four times the width, GELU, 1 x 1 back, a scale."""

    def __init__(self, c):
        super().__init__()
        self.depthwise, self.norm = SignedConv(c, c, 7, padding=3, groups=c), ChannelNorm(c, 1e-6)
        self.wide, self.narrow = SignedConv(c, 4 * c, 1), SignedConv(4 * c, c, 1)
        self.scale = nn.Parameter(torch.full((1, c, 1, 1), 1e-6))

    def forward(self, x):
        return x + self.scale * self.narrow(F.gelu(self.wide(self.norm(self.depthwise(x)))))


class ConvNext(nn.Module):
    """ConvNeXt as in Liu et al. (2022), its sizes those of timm."""

    def __init__(self, widths, depths, classes):
        super().__init__()
        layers = [nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0], 1e-6)]
        for stage, (width, depth) in enumerate(zip(widths, depths)):
            if stage > 0:
                before = widths[stage - 1]
                layers += [ChannelNorm(before, 1e-6), SignedConv(before, width, 2, 2)]
            layers += [NextBlock(width) for _ in range(depth)]
        self.features = nn.Sequential(*layers)
        self.norm, self.head = nn.LayerNorm(widths[-1], 1e-6), nn.Linear(widths[-1], classes)

    def forward(self, x):
        return self.head(self.norm(self.features(x).mean((2, 3))))


class Network(nn.Module):
    def __init__(self, features, width, classes):
        super().__init__()
        self.features, self.classifier = nn.Sequential(*features), nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Cell(nn.Module):
    """Convolution, batch-norm and LeakyReLU, whose signed output is rounded as QuantizedLinear's input is."""

    def __init__(self, i, o, k, s=1):
        super().__init__()
        self.conv, self.norm, self.alpha = conv(i, o, k, s), nn.BatchNorm2d(o), nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return quantized_signed(F.leaky_relu(self.norm(self.conv(x)), 0.1), self.alpha)


class CrossStage(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.start, self.first = Cell(c, c, 3), Cell(c // 2, c // 2, 3)
        self.second, self.last = Cell(c // 2, c // 2, 3), Cell(c, c, 1)

    def forward(self, x):
        x = self.start(x)
        first = self.first(x[:, x.shape[1] // 2 :])
        last = self.last(torch.cat((self.second(first), first), 1))
        return F.max_pool2d(torch.cat((x, last), 1), 2), last


class YoloTiny(nn.Module):
    """YOLOv4-tiny: its two grids."""

    def __init__(self, classes):
        super().__init__()
        outputs = 3 * (5 + classes)
        self.stem = nn.Sequential(Cell(3, 32, 3, 2), Cell(32, 64, 3, 2))
        self.stages = nn.ModuleList(CrossStage(c) for c in (64, 128, 256))
        self.neck = nn.Sequential(Cell(512, 512, 3), Cell(512, 256, 1))
        self.coarse = nn.Sequential(Cell(256, 512, 3), nn.Conv2d(512, outputs, 1))
        self.reduce = Cell(256, 128, 1)
        self.fine = nn.Sequential(Cell(384, 256, 3), nn.Conv2d(256, outputs, 1))

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x, last = stage(x)
        x = self.neck(x)
        joined = torch.cat((F.interpolate(self.reduce(x), scale_factor=2), last), 1)
        return self.coarse(x), self.fine(joined)


ANCHORS = torch.tensor([[10, 14], [23, 27], [37, 58], [81, 82], [135, 169], [344, 319]]) / 416
MASKS = ((3, 4, 5), (1, 2, 3))


def corners(b):
    return torch.cat((b[..., :2] - b[..., 2:4] / 2, b[..., :2] + b[..., 2:4] / 2), -1)


def ious(p, t):
    p, t = corners(p), corners(t)
    common = (torch.minimum(p[..., 2:], t[..., 2:]) - torch.maximum(p[..., :2], t[..., :2])).clamp(min=0).prod(-1)
    return common / ((p[..., 2:] - p[..., :2]).prod(-1) + (t[..., 2:] - t[..., :2]).prod(-1) - common + 1e-9), p, t


def detection_loss(outputs, truth):
    """The loss of darknet's heads, as people write it in PyTorch: objects indexed, the rest whole."""
    total = 0
    n, m, _ = truth.shape
    size = torch.minimum(truth[:, :, None, 3:5], ANCHORS).prod(-1)
    anchor = (size / (truth[:, :, None, 3:5].prod(-1) + ANCHORS.prod(-1) - size)).argmax(-1)
    image = torch.arange(n)[:, None].expand(n, m)
    for output, mask in zip(outputs, MASKS):
        _, _, rows, columns = output.shape
        raw = output.view(n, 3, -1, rows, columns).permute(0, 1, 3, 4, 2)
        place = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')[::-1], -1)
        scale, sides = torch.tensor([columns, rows]), ANCHORS[list(mask)].view(3, 1, 1, 2)
        xy = (torch.sigmoid(raw[..., :2]) * 1.05 - 0.025 + place) / scale
        boxes = torch.cat((xy, raw[..., 2:4].exp() * sides), -1)
        with torch.no_grad():
            best = ious(boxes.view(n, -1, 1, 4), truth[:, None, :, 1:5])[0].amax(-1).view(n, 3, rows, columns)
        positive, weight = torch.zeros_like(best), (best <= 0.7).float()
        slot = (anchor[..., None] == torch.tensor(mask)).float()
        own = slot.amax(-1) > 0
        cell = (truth[..., 1:3] * scale).long()
        at = image[own], slot.argmax(-1)[own], cell[..., 1][own], cell[..., 0][own]
        positive[at], weight[at] = 1, 1
        iou, p, t = ious(boxes[at], truth[own][:, 1:5])
        hull = torch.maximum(p[:, 2:], t[:, 2:]) - torch.minimum(p[:, :2], t[:, :2])
        rho = (boxes[at][:, :2] - truth[own][:, 1:3]).square().sum(-1)
        angle = [torch.atan(b[:, 2] / b[:, 3]) for b in (boxes[at], truth[own][:, 1:5])]
        v = 4 / 9.8696 * (angle[1] - angle[0]).square()
        alpha = (v / (1 - iou + v + 1e-9)).detach()
        total = total + 0.07 * (1 - iou + rho / hull.square().sum(-1) + alpha * v).sum()
        total = total + F.binary_cross_entropy_with_logits(raw[..., 4], positive, weight, reduction='sum')
        kinds = F.one_hot(truth[own][:, 0].long(), classes).float()
        total = total + F.binary_cross_entropy_with_logits(raw[at][:, 5:], kinds, reduction='sum')
    return total / n


def residual(stem, widths, blocks, option_a):
    features, i = stem, widths[0]
    for stage, o in enumerate(widths):
        for k in range(blocks):
            features.append(Block(i, o, 2 if stage > 0 and k == 0 else 1, option_a))
            i = o
    return features


def stem(o, k, s, relu=F.relu):
    return [nn.Conv2d(3, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o), Activation(relu)]


if a.model == 'resnet20':
    size, classes = 32, 10
    model = Network(residual(stem(16, 3, 1), (16, 32, 64), 3, True), 64, classes)
elif a.model == 'resnet18':
    size, classes = 224, 1000
    first = stem(64, 7, 2) + [nn.MaxPool2d(3, 2, 1)]
    model = Network(residual(first, (64, 128, 256, 512), 2, False), 512, classes)
elif a.model == 'mobilenet-v2':
    size, classes = 32, 10
    features, i = stem(32, 3, 1, F.relu6), 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, o, count, s in stages:
        for k in range(count):
            features.append(Inverted(i, o, s if k == 0 else 1, expansion))
            i = o
    features += [conv(320, 1280, 1), nn.BatchNorm2d(1280), Activation(F.relu6)]
    model = Network(features, 1280, classes)
elif a.model == 'yolov4-tiny':
    size, classes = 416, 80
    model = YoloTiny(classes)
elif a.model == 'convnext-atto':
    size, classes = 224, 1000
    model = ConvNext((40, 80, 160, 320), (2, 2, 6, 2), classes)
elif a.model == 'vit':
    size, classes = 32, 10
    model = Vit(4, 192, 12, 3, 64, classes)
else:
    raise SystemExit(f'no model "{a.model}"')

if a.export:
    a.weight_bits = a.activation_bits = 32
    image = torch.zeros(1, 3, size, size)
    axes = {'image': {0: 'batch'}, 'logits': {0: 'batch'}}
    names = {'input_names': ['image'], 'output_names': ['logits'], 'dynamic_axes': axes}
    torch.onnx.export(model.eval(), (image,), a.export, dynamo=False, **names)
    raise SystemExit

model = model.to(a.device, memory_format=torch.channels_last)
optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, weight_decay=1e-4)
x = torch.randn(a.batch, 3, size, size).to(a.device, memory_format=torch.channels_last)
y = torch.randint(0, classes, (a.batch,), device=a.device)
if a.model == 'yolov4-tiny':
    # Eight objects an image, as in src/phases/step-benchmark.ts.
    boxes = torch.rand(a.batch, 8, 4) * torch.tensor([1, 1, 0.4, 0.4]) + torch.tensor([0, 0, 0.02, 0.02])
    y = torch.cat((torch.randint(0, classes, (a.batch, 8, 1)).float(), boxes), -1)


def step():
    if a.kind == 'evaluate':
        with torch.no_grad():
            model(x)
        return
    optimizer.zero_grad()
    loss = detection_loss if a.model == 'yolov4-tiny' else F.cross_entropy
    loss(model(x), y).backward()
    optimizer.step()


model.train(a.kind == 'train')
times = []
for _ in range(a.steps + 2):
    start = time.perf_counter()
    step()
    if a.device == 'cuda':
        torch.cuda.synchronize()
    times.append(1e3 * (time.perf_counter() - start))
times = sorted(times[2:])
median = times[len(times) // 2]
print(
    json.dumps(
        {
            'peer': f'pytorch {torch.__version__}',
            'stepMs': {'min': times[0], 'median': median},
            'imagesPerSecond': {'max': 1e3 * a.batch / times[0], 'median': 1e3 * a.batch / median},
            'peakRssMiB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
)
