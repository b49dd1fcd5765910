"""Training steps of a vision transformer in PyTorch: `vit_steps.py JOB.json DATA.safetensors` prints two runs as JSON.

`free` are the losses of steps from the first state. `same` begins each step at sdq's state: its losses, and for every step how far
its changes of all parameters are from sdq's, as a share of their length.

Written from the papers (ViT, LSQ, PACT) with PyTorch's own operators; gradients of rounding come from detached terms. Nothing is shared
with sdq. DATA has the weights by timm's names, the learned steps and ranges by sdq's, and the batches `images` and `labels`.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

torch.set_num_threads(1)
job = json.loads(Path(sys.argv[1]).read_text())
data = load_file(sys.argv[2])
states = [{} for _ in range(job["steps"] + 1)]
for key in [key for key in data if key.startswith("state:")]:
    _, step, name = key.split(":", 2)
    states[int(step)][name] = data[key]
P = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in states[0].items()}
grids = job["grids"]


def rounded(x, step, grid):
    """x on the grid; the gradients that its record states. Step broadcasts against x."""
    offset, rule = grid["offset"], grid["gradient"]
    with torch.no_grad():
        z = x / step - offset
        q = torch.round(z).clamp(grid["qmin"], grid["qmax"])
        above, below = z > grid["qmax"], z < grid["qmin"]
        slope = above * (grid["qmax"] + offset) + below * (grid["qmin"] + offset)
        if rule["scale"] == "lsq":
            slope = slope + ~(above | below) * (q - z)
        passes = 1.0 if rule["input"] == "identity" else ~(above | below)
    by_input = x * passes
    by_step = step * slope * rule["gradientScale"]
    return (step * (q + offset)).detach() + by_input - by_input.detach() + by_step - by_step.detach()


def activation(x, site, grid):
    if grid is None:
        return x
    value = P[f"{site}.input_range"]
    return rounded(x, value / grid["qmax"] if grid["gradient"]["scale"] == "clip" else value, grid)


def weights(name):
    w, grid = P[f"{name}.weight"], grids.get(name, {}).get("weights")
    if grid is None:
        return w
    step = P[f"{name}.weight_step"]
    return rounded(w, step.reshape(-1, *[1] * (w.dim() - 1)), grid)


def layer(name, x):
    x = activation(x, name, grids.get(name, {}).get("input"))
    if P[f"{name}.weight"].dim() == 4:
        return F.conv2d(x, weights(name), P[f"{name}.bias"], stride=job["patch"])
    return F.linear(x, weights(name), P[f"{name}.bias"])


def product(name, a, b):
    grid = grids.get(name, {})
    return activation(a, name, grid.get("input")) @ activation(b, f"{name}:1", grid.get("second"))


def norm(name, x):
    return F.layer_norm(x, x.shape[-1:], P[f"{name}.weight"], P[f"{name}.bias"], 1e-6)


def attention(name, x):
    batch, tokens, width = x.shape
    heads = job["heads"]
    q, k, v = layer(f"{name}.qkv", x).reshape(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    scores = product(f"{name}.scores", q * (width // heads) ** -0.5, k.transpose(-2, -1))
    mixed = product(f"{name}.mixed", scores.softmax(-1), v)
    return layer(f"{name}.proj", mixed.transpose(1, 2).reshape(batch, tokens, width))


def logits(images):
    x = layer("patch_embed.proj", images).flatten(2).transpose(1, 2)
    x = torch.cat([P["cls_token"].expand(len(x), -1, -1), x], 1) + P["pos_embed"]
    for index in range(job["depth"]):
        name = f"blocks.{index}"
        x = x + attention(f"{name}.attn", norm(f"{name}.norm1", x))
        y = layer(f"{name}.mlp.fc1", norm(f"{name}.norm2", x))
        x = x + layer(f"{name}.mlp.fc2", F.gelu(y))
    return layer("head", norm("norm", x)[:, 0])


decayed = set(job["decayed"])
fixed = set(job["fixed"])


def run(from_states):
    for name, parameter in P.items():
        parameter.data.copy_(states[0][name])
    trained = [name for name in P if name not in fixed]
    groups = [
        {"params": [P[name] for name in trained if name in decayed], "weight_decay": job["weightDecay"]},
        {"params": [P[name] for name in trained if name not in decayed], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=job["learningRate"], momentum=job["momentum"])
    losses, off = [], []
    batches = zip(data["images"].split(job["batch"]), data["labels"].long().split(job["batch"]))
    for step, (images, labels) in enumerate(batches):
        if from_states:
            for name, parameter in P.items():
                parameter.data.copy_(states[step][name])
        loss = F.cross_entropy(logits(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        flat = lambda values: torch.cat([values[name].detach().double().flatten() for name in trained])
        before, after, ours = flat(states[step]), flat(states[step + 1]), flat(P)
        off.append(((ours - after).norm() / (after - before).norm()).item())
    return {"losses": losses, "off": off}


print(json.dumps({"free": run(False)["losses"], "same": run(True)}))
