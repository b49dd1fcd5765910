"""The method of docs/method.md once more, in PyTorch, for the ResNets for CIFAR-10: a check of sdq that shares no code with it.

  python3 sdq_torch.py levels   --weights W.safetensors --bits 3            the integers of each layer
  python3 sdq_torch.py evaluate --weights W.safetensors --bits 4            accuracy at uniform bits, without training
  python3 sdq_torch.py run      --weights W.safetensors --target 1.95       search, then train

One JSON object a line on standard output. --data is the folder of CIFAR-10's binary files. Random numbers are PyTorch's, so a run
agrees with sdq's in distribution, not in bits. The test file is read once, at the end of `run`, or by `evaluate --part test`.

All weights are rows of one matrix, a row an output channel, zeros behind its fan-in: a row has one step, and the quantizer, the
search and the bin regularizer are a few operators over the whole network.
"""
import argparse
import json
import math
import struct
import time

import numpy as np
import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser(description='SDQ in PyTorch')
parser.add_argument('command', choices=['levels', 'evaluate', 'run'])
parser.add_argument('--data', default='.')
parser.add_argument('--weights', required=True)
parser.add_argument('--normalization', choices=['imagenet', 'cifar10'], default='imagenet')
parser.add_argument('--part', choices=['validation', 'test'], default='validation')
parser.add_argument('--bits', type=int, default=32, help='the same for all layers that are not pinned')
parser.add_argument('--activation-bits', type=int, default=32)
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--batch', type=int, default=128)
parser.add_argument('--train-images', type=int, default=45000, help='of the first 45,000')
parser.add_argument('--device', default='cpu')
parser.add_argument('--threads', type=int, default=1)
parser.add_argument('--method', choices=['sdq', 'interpolation', 'uniform'], default='sdq')
parser.add_argument('--target', type=float, default=1.95)
parser.add_argument('--search-epochs', type=int, default=4)
parser.add_argument('--search-rate', type=float, default=0.01)
parser.add_argument('--dbp-rate', type=float, default=0.1)
parser.add_argument('--theta-init', type=float, default=2)
parser.add_argument('--beta-threshold', type=float, default=0.5)
parser.add_argument('--tau-start', type=float, default=1)
parser.add_argument('--tau-end', type=float, default=0.3)
parser.add_argument('--dual-rate', type=float, default=0.5)
parser.add_argument('--ramp-fraction', type=float, default=0.85)
parser.add_argument('--epochs', type=int, default=30)
parser.add_argument('--rate', type=float, default=0.02)
parser.add_argument('--weight-decay', type=float, default=1e-4)
parser.add_argument('--start', choices=['searched', 'full-precision'], default='searched')
parser.add_argument('--teacher', default='self', help='self, none, or the weights of another ResNet')
parser.add_argument('--hard-label-weight', type=float, default=0)
parser.add_argument('--bin-weight', type=float, default=0.1)
parser.add_argument('--bin-ramp-epochs', type=float, default=5)
parser.add_argument('--fixed-steps', action='store_true', help='steps from the statistics in phase 2 also')
a = parser.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(a.seed)

PINNED_BITS = 8
MINIMUM_STEP = 1e-8
# The step with the least squared error for a unit Gaussian, 1 to 8 bits (docs/method.md, `symmetric`).
STEPS = torch.tensor([1.59577, 1.04839, 0.60182, 0.33861, 0.18879, 0.10418, 0.056887, 0.030765], device=a.device)


def read_safetensors(file):
    with open(file, 'rb') as stream:
        length = struct.unpack('<Q', stream.read(8))[0]
        header = json.loads(stream.read(length))
        data = stream.read()
    header.pop('__metadata__', None)
    tensors = {}
    for name, entry in header.items():
        if entry['dtype'] != 'F32':
            continue
        begin, end = entry['data_offsets']
        array = np.frombuffer(data[begin:end], np.float32).reshape(entry['shape'])
        tensors[name] = torch.from_numpy(array.copy()).to(a.device)
    return tensors


def read_cifar(names):
    records = np.concatenate([np.fromfile(f'{a.data}/{name}.bin', np.uint8).reshape(-1, 3073) for name in names])
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()).to(a.device)
    return images, torch.from_numpy(records[:, 0].astype(np.int64)).to(a.device)


def normalize(images):
    mean, std = {
        'imagenet': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        'cifar10': ((0.4914, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159)),
    }[a.normalization]
    column = lambda values: torch.tensor(values, device=images.device).view(1, 3, 1, 1)
    return (images.float() / 255 - column(mean)) / column(std)


def augment(images):
    """Pads the normalised image by 4 zeros, takes a random 32 × 32 of it, and mirrors half of the time."""
    n = len(images)
    at = torch.arange(32, device=images.device)
    rows = torch.randint(9, (n, 1), device=images.device) + at
    columns = torch.randint(9, (n, 1), device=images.device) + at
    columns = torch.where(torch.rand(n, 1, device=images.device) < 0.5, columns.flip(1), columns)
    padded = F.pad(images, (4, 4, 4, 4))
    each = torch.arange(n, device=images.device).view(n, 1, 1, 1)
    channels = torch.arange(3, device=images.device).view(1, 3, 1, 1)
    return padded[each, channels, rows.view(n, 1, 32, 1), columns.view(n, 1, 1, 32)]


class Network:
    """A ResNet for CIFAR-10 with shortcuts without weights (He et al., 2015)."""

    def __init__(self, tensors):
        names = [name for name, t in tensors.items() if name.endswith('weight') and t.dim() in (2, 4)]
        self.layers = [name[: -len('.weight')] for name in names]
        self.shapes = [tensors[name].shape for name in names]
        fans = [shape.numel() // shape[0] for shape in self.shapes]
        rows = torch.zeros(sum(shape[0] for shape in self.shapes), max(fans), device=a.device)
        self.mask = torch.zeros_like(rows)
        self.first = [0]
        for name, fan in zip(names, fans):
            begin = self.first[-1]
            self.first.append(begin + len(tensors[name]))
            rows[begin : self.first[-1], :fan] = tensors[name].flatten(1)
            self.mask[begin : self.first[-1], :fan] = 1
        counts = torch.tensor([shape[0] for shape in self.shapes], device=a.device)
        self.layer_of_row = torch.repeat_interleave(torch.arange(len(names), device=a.device), counts)
        self.sizes = torch.tensor([shape.numel() for shape in self.shapes], device=a.device, dtype=torch.float32)
        self.rows = rows.requires_grad_()
        self.bias = tensors['linear.bias'].clone().requires_grad_()
        norms = [name[: -len('.running_mean')] for name in tensors if name.endswith('.running_mean')]
        self.norms = {
            name: [tensors[f'{name}.{part}'].clone() for part in ('running_mean', 'running_var', 'weight', 'bias')]
            for name in norms
        }
        for _, _, weight, bias in self.norms.values():
            weight.requires_grad_(), bias.requires_grad_()

    def others(self):
        """Parameters without weight decay."""
        return [self.bias] + [p for norm in self.norms.values() for p in norm[2:]]

    def forward(self, x, weights, training=False, momentum=0.1, inputs=None):
        """@param weights quantized rows  @param inputs (layer index, x) → its quantized input"""
        inputs = inputs or (lambda layer, x: x)
        at = {name: index for index, name in enumerate(self.layers)}

        def weight(layer):
            shape = self.shapes[layer]
            return weights[self.first[layer] : self.first[layer + 1], : shape.numel() // shape[0]].reshape(shape)

        def norm(x, name):
            mean, variance, gain, bias = self.norms[name]
            return F.batch_norm(x, mean, variance, gain, bias, training, momentum)

        def conv(x, name, stride=1):
            return F.conv2d(inputs(at[name], x), weight(at[name]), None, stride, 1)

        x = F.relu(norm(conv(x, 'conv1'), 'bn1'))
        for name in self.layers:
            if not name.endswith('.conv1'):
                continue
            block = name[: -len('.conv1')]
            stride = 2 if block in ('layer2.0', 'layer3.0') else 1
            y = F.relu(norm(conv(x, name, stride), f'{block}.bn1'))
            y = norm(conv(y, f'{block}.conv2'), f'{block}.bn2')
            if stride == 2:
                more = x.shape[1] // 2
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))
            x = F.relu(y + x)
        x = x.mean((2, 3))
        last = at['linear']
        return F.linear(inputs(last, x), weight(last), self.bias)


class RowQuantizer(torch.autograd.Function):
    """Fake-quantizes rows to `symmetric`: straight-through in the weights, LSQ's gradient in the steps."""

    @staticmethod
    def forward(ctx, rows, steps, bits, fans, mask):
        low, high, offset = grid(bits)
        z = rows / steps - offset
        ctx.save_for_backward(z, low, high, offset, fans, mask)
        return steps * (z.round().clamp(low, high) + offset) * mask

    @staticmethod
    def backward(ctx, dy):
        z, low, high, offset, fans, mask = ctx.saved_tensors
        value = torch.where(z > high, high + offset, torch.where(z < low, low + offset, z.round() - z))
        gradient = (dy * mask * value).sum(1, keepdim=True) / (fans * high.clamp(min=1)).sqrt()
        return dy * mask, gradient, None, None, None


class Share(torch.autograd.Function):
    """share · high + (1 − share) · low, a share a layer; straight-through in the weights, exact in the share."""

    @staticmethod
    def forward(ctx, rows, share, high, low, mask, layer_of_row):
        ctx.save_for_backward(high - low, mask, layer_of_row)
        ctx.layers = len(share)
        part = share[layer_of_row][:, None]
        return part * high + (1 - part) * low

    @staticmethod
    def backward(ctx, dy):
        difference, mask, layer_of_row = ctx.saved_tensors
        gradient = torch.zeros(ctx.layers, device=dy.device)
        gradient.index_add_(0, layer_of_row, (dy * difference).sum(1))
        return dy * mask, gradient, None, None, None, None


class InputQuantizer(torch.autograd.Function):
    """Levels low … high times a learned step: PACT where the input cannot be negative, LSQ where it can."""

    @staticmethod
    def forward(ctx, x, parameter, low, high, signed):
        step = parameter if signed else parameter / high
        z = x / step
        ctx.save_for_backward(z)
        ctx.grid = (low, high, signed)
        return z.round().clamp(low, high) * step

    @staticmethod
    def backward(ctx, dy):
        (z,) = ctx.saved_tensors
        low, high, signed = ctx.grid
        inside = (z >= low) & (z <= high)
        if signed:
            value = torch.where(z > high, torch.full_like(z, high), torch.where(z < low, torch.full_like(z, low), z.round() - z))
            gradient = (dy * value).sum() / math.sqrt(z[0].numel() * max(1, high))
        else:
            gradient = (dy * (z > high)).sum()
        return dy * inside, gradient, None, None, None


def grid(bits):
    """Lowest and highest level and offset by bits; tensors."""
    half = 2.0 ** (bits - 1)
    return -half, half - 1, torch.where(bits == 1, 0.5, 0.0)


def statistic_steps(network, bits):
    """@param bits a layer  @returns [rows, 1]"""
    rows, mask = network.rows.detach(), network.mask
    rms = (rows.square().sum(1, keepdim=True) / mask.sum(1, keepdim=True)).sqrt()
    return (STEPS[bits.long() - 1][network.layer_of_row][:, None] * rms).clamp(min=MINIMUM_STEP)


def quantized(network, bits, steps=None):
    if steps is None:
        steps = statistic_steps(network, bits)
    row_bits = bits[network.layer_of_row][:, None]
    fans = network.mask.sum(1, keepdim=True)
    return RowQuantizer.apply(network.rows, steps, row_bits, fans, network.mask)


class InputRanges:
    """The learned ranges of all layers' inputs, from one batch in full precision."""

    def __init__(self, network, bits, images):
        self.bits = [PINNED_BITS if pinned else bits for pinned in pins(network)]
        for layer in (0, len(network.layers) - 1):
            self.bits[layer] = max(PINNED_BITS, bits)
        self.parameters = [torch.ones((), device=a.device) for _ in self.bits]

        def calibrate(layer, x):
            values = x.permute(0, 2, 3, 1).reshape(-1) if x.dim() == 4 else x.reshape(-1)
            sample = values[:: max(1, math.ceil(len(values) / 16384))]
            low, high, signed = self.grid(layer)
            largest = sample.abs().max()
            reach = max(high, -low)
            trial = largest / reach * torch.arange(1, 129, device=x.device) / 128
            error = (sample - (sample / trial[:, None]).round().clamp(low, high) * trial[:, None]).square().sum(1)
            step = trial[error.argmin()]
            self.parameters[layer] = (step if signed else step * high).clone()
            return x

        with torch.no_grad():
            network.forward(images, network.rows, inputs=calibrate)
        for parameter in self.parameters:
            parameter.requires_grad_()

    def grid(self, layer):
        """Only the image can be negative: every other input comes from a ReLU."""
        bits = self.bits[layer]
        return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, True) if layer == 0 else (0, 2**bits - 1, False)

    def __call__(self, layer, x):
        return InputQuantizer.apply(x, self.parameters[layer], *self.grid(layer))


def pins(network):
    last = len(network.layers) - 1
    return [layer in (0, last) for layer in range(last + 1)]


def uniform_bits(network, bits):
    return torch.tensor([PINNED_BITS if pinned else bits for pinned in pins(network)], device=a.device)


def mean_bits(network, bits):
    return float((network.sizes * bits).sum() / network.sizes.sum())


def accuracy(network, weights, images, labels, inputs=None):
    with torch.no_grad():
        correct = sum(
            int((network.forward(normalize(x), weights, inputs=inputs).argmax(1) == y).sum())
            for x, y in zip(images.split(500), labels.split(500))
        )
    return correct / len(images)


def batches(images, labels):
    order = torch.randperm(len(images), device=images.device)
    for index in range(len(images) // a.batch):
        chosen = order[index * a.batch : (index + 1) * a.batch]
        yield augment(normalize(images[chosen])), labels[chosen]


def search(network, images, labels, inputs):
    """Phase 1. @returns the bits of each layer and what was seen on the way"""
    per_epoch = len(images) // a.batch
    steps = a.search_epochs * per_epoch
    free = ~torch.tensor(pins(network), device=a.device)
    bits = uniform_bits(network, PINNED_BITS).float()
    weight = network.sizes / network.sizes.sum()
    start = float((weight * bits).sum())
    least = float((weight * torch.where(free, torch.ones_like(bits), bits)).sum())
    assert least <= a.target, f'the least mean bits are {least}'
    theta = torch.full_like(bits, a.theta_init)
    m, v, updates = torch.zeros_like(theta), torch.zeros_like(theta), torch.zeros_like(theta)
    price = 0.0
    groups = [{'params': [network.rows]}, {'params': network.others(), 'weight_decay': 0}]
    if inputs:
        groups.append({'params': inputs.parameters, 'weight_decay': 0})
    optimizer = torch.optim.SGD(groups, a.search_rate, momentum=0.9, nesterov=True, weight_decay=1e-4)
    losses = []
    for epoch in range(a.search_epochs):
        for x, y in batches(images, labels):
            step = len(losses)
            ramp = a.ramp_fraction * steps
            tau = a.tau_start * (a.tau_end / a.tau_start) ** min(1, step / max(1, steps - 1))
            allowed = start + (a.target - start) * min(1, step / ramp)
            open_ = free & (bits > 1)
            beta = torch.where(open_, theta.sigmoid(), torch.ones_like(theta))
            if a.method == 'interpolation':
                share, slope = beta, beta * (1 - beta)
            else:
                u = torch.rand_like(theta).clamp(1e-9, 1 - 1e-7)
                c = ((theta + u.log() - (1 - u).log()) / tau).sigmoid()
                share = torch.where(open_, (c > 0.5).float(), torch.ones_like(c))
                slope = c * (1 - c) / tau
            share = share.clone().requires_grad_()
            with torch.no_grad():
                high, low = quantized(network, bits), quantized(network, (bits - 1).clamp(min=1))
            weights = Share.apply(network.rows, share, high, low, network.mask, network.layer_of_row)
            loss = F.cross_entropy(network.forward(x, weights, True, inputs=inputs), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            keep_positive(inputs)
            losses.append(float(loss))
            committed = float((weight * bits).sum())
            expected = float((weight * torch.where(open_, bits - 1 + beta, bits)).sum())
            if step < ramp:
                price = max(0.0, price + a.dual_rate * (expected - allowed))
            else:
                price = max(0.0, price + a.dual_rate * max(1.0, price) * (committed - allowed))
            gradient = share.grad * slope + price * weight * beta * (1 - beta)
            updates = updates + 1
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient.square()
            change = m / (1 - 0.9**updates) / ((v / (1 - 0.999**updates)).sqrt() + 1e-8)
            theta = torch.where(open_, theta - a.dbp_rate * change, theta)
            beta = theta.sigmoid()
            for layer in torch.argsort(beta, stable=True).tolist():
                if open_[layer] and beta[layer] < a.beta_threshold and float((weight * bits).sum()) > a.target:
                    bits[layer] -= 1
                    theta[layer] = a.theta_init
                    m[layer] = v[layer] = updates[layer] = 0
            if float((weight * bits).sum()) <= a.target:
                return bits, losses
    return bits, losses


def keep_positive(inputs, steps=None):
    with torch.no_grad():
        for parameter in [*(inputs.parameters if inputs else []), *([] if steps is None else [steps])]:
            parameter.clamp_(min=MINIMUM_STEP)


def bin_gradient(network, bits, steps):
    """L_EBR and its gradient in the rows (docs/method.md)."""
    with torch.no_grad():
        rows, mask = network.rows, network.mask
        layer = network.layer_of_row[:, None].expand_as(rows)[mask > 0]
        s = steps.expand_as(rows)[mask > 0]
        w = rows[mask > 0]
        low, high, offset = grid(bits[layer])
        z = w / s - offset
        q = z.round().clamp(low, high)
        d = z - q
        bin_ = (layer * 256 + (q - low)).long()
        empty = torch.zeros(len(bits) * 256, device=w.device, dtype=torch.float64)
        table = lambda values: empty.index_add(0, bin_, values.double())
        count, total = table(torch.ones_like(w)), table(s**2)
        mean = table(s**2 * d) / total.clamp(min=1e-300)
        n = network.sizes[layer]
        away = d - mean[bin_]
        many = count[bin_]
        factor = torch.where(many >= 2, many / n / (many - 1).clamp(min=1), torch.zeros_like(many))
        power = torch.zeros(len(bits), device=w.device).index_add_(0, layer, w**2 / n)[layer]
        value = (s**2 * (d**2 / n + factor * away**2) / power).sum()
        gradient = torch.zeros_like(rows)
        gradient[mask > 0] = (2 * s * (d / n + factor * away) / power).float()
        return float(value), gradient


def train(network, bits, images, labels, validation, teacher, inputs):
    """Phase 2. @returns accuracy by epoch on the validation images; the best epoch's values are put back"""
    per_epoch = len(images) // a.batch
    total = a.epochs * per_epoch
    steps = None if a.fixed_steps else statistic_steps(network, bits).clone().requires_grad_()
    without = network.others() + ([] if steps is None else [steps]) + (inputs.parameters if inputs else [])
    optimizer = torch.optim.SGD(
        [{'params': [network.rows]}, {'params': without, 'weight_decay': 0}],
        a.rate, momentum=0.9, nesterov=True, weight_decay=a.weight_decay,
    )
    source = batches(images, labels)
    with torch.no_grad():
        for index, (x, _) in enumerate(source):
            if index == 50:
                break
            network.forward(x, quantized(network, bits, steps), True, 1 / (index + 1), inputs)
    seen = [accuracy(network, quantized(network, bits, steps), *validation, inputs)]
    best, kept = -1.0, None
    step = 0
    for epoch in range(a.epochs):
        for x, y in batches(images, labels):
            for group in optimizer.param_groups:
                group['lr'] = a.rate * 0.5 * (1 + math.cos(math.pi * step / total))
            logits = network.forward(x, quantized(network, bits, steps), True, inputs=inputs)
            if teacher is None:
                loss = F.cross_entropy(logits, y)
            else:
                with torch.no_grad():
                    soft = teacher.forward(x, teacher.rows).softmax(1)
                loss = -(soft * logits.log_softmax(1)).sum(1).mean() + a.hard_label_weight * F.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            step += 1
            ramp = 1 if a.bin_ramp_epochs <= 0 else min(1, step / per_epoch / a.bin_ramp_epochs)
            if a.bin_weight > 0:
                own = statistic_steps(network, bits) if steps is None else steps
                network.rows.grad += a.bin_weight * ramp * bin_gradient(network, bits, own)[1]
            optimizer.step()
            keep_positive(inputs, steps)
        seen.append(accuracy(network, quantized(network, bits, steps), *validation, inputs))
        if seen[-1] > best:
            best = seen[-1]
            state = [network.rows, *without, *(t for norm in network.norms.values() for t in norm[:2])]
            kept = [(t, t.detach().clone()) for t in state]
        print(json.dumps({'epoch': epoch + 1, 'loss': float(loss), 'validation': seen[-1]}), flush=True)
    with torch.no_grad():
        for tensor, value in kept:
            tensor.copy_(value)
    return seen, quantized(network, bits, steps).detach()


def main():
    began = time.time()
    network = Network(read_safetensors(a.weights))
    bits = uniform_bits(network, a.bits) if a.bits <= 8 else None
    if a.command == 'levels':
        steps = statistic_steps(network, bits)
        low, high, offset = grid(bits[network.layer_of_row][:, None])
        q = ((network.rows / steps - offset).round().clamp(low, high) * network.mask).detach()
        for layer, name in enumerate(network.layers):
            own = slice(network.first[layer], network.first[layer + 1])
            shape = network.shapes[layer]
            found = q[own, : shape.numel() // shape[0]].reshape(-1).int().tolist()
            print(json.dumps({'layer': name, 'steps': steps[own, 0].tolist(), 'levels': found}))
        return
    if a.command == 'evaluate':
        names = ['test_batch'] if a.part == 'test' else ['data_batch_5']
        images, labels = read_cifar(names)
        if a.part == 'validation':
            images, labels = images[-5000:], labels[-5000:]
        weights = network.rows if bits is None else quantized(network, bits)
        print(json.dumps({'bits': a.bits, 'part': a.part, 'accuracy': accuracy(network, weights, images, labels)}))
        return
    images, labels = read_cifar([f'data_batch_{index}' for index in range(1, 6)])
    validation = images[-5000:], labels[-5000:]
    images, labels = images[: a.train_images], labels[: a.train_images]

    def ranges():
        if a.activation_bits == 32:
            return None
        return InputRanges(Network(read_safetensors(a.weights)), a.activation_bits, normalize(images[: a.batch]))

    if a.method == 'uniform':
        bits, losses = uniform_bits(network, math.floor(a.target)), []
    else:
        bits, losses = search(network, images, labels, ranges())
        if a.start == 'full-precision':
            network = Network(read_safetensors(a.weights))
    bits = bits.long()
    found = {'bits': bits.tolist(), 'meanWeightBits': mean_bits(network, bits), 'searchSteps': len(losses)}
    print(json.dumps(found), flush=True)
    if losses and found['meanWeightBits'] > a.target:
        raise SystemExit(5)
    teacher = None
    if a.teacher != 'none':
        teacher = Network(read_safetensors(a.weights if a.teacher == 'self' else a.teacher))
    inputs = ranges()
    seen, weights = train(network, bits, images, labels, validation, teacher, inputs)
    test = accuracy(network, weights, *read_cifar(['test_batch']), inputs)
    half = losses[len(losses) // 2 :]
    result = {
        **found,
        'options': vars(a),
        'start': seen[0],
        'best': max(seen[1:]),
        'last': seen[-1],
        'test': test,
        'searchLossVariance': float(np.var(half)) if half else None,
        'seconds': round(time.time() - began),
    }
    print(json.dumps(result))


if __name__ == '__main__':
    main()
