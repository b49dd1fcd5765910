"""What integrations/pytorch/sdq_torch.py computes, for the tests: `run_torch.py JOBS.json` prints a JSON list, one result a job."""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[2] / "integrations" / "pytorch"))
import sdq_torch  # noqa: E402
from torch_networks import NETWORKS  # noqa: E402


def make(job):
    return NETWORKS[job["model"]](job["channels"])


def logits(job):
    """The logits of a quantized file on the images of another, and what a saved copy gives."""
    model = sdq_torch.load_quantized(make(job), job["checkpoint"]).eval()
    data = load_file(job["data"])
    with torch.no_grad():
        found = model(data["images"])
    if "save" in job:
        sdq_torch.save(model, job["save"])
    return _compared(found, data["logits"])


def applied_logits(job):
    """The logits of a strategy on the weights of a quantized file, with sdq's steps and ranges, on the images of another."""
    tensors, data = load_file(job["checkpoint"]), load_file(job["data"])
    model = make(job)
    model.load_state_dict(tensors, strict=False)
    sdq_torch.apply_strategy(model, job["strategy"], data["images"])
    with torch.no_grad():
        for name, module in sdq_torch.quantized_layers(model):
            if f"{name}.input_range" in tensors:
                # sdq's range of these images is another one than that of the least error.
                module.sdq_input.range.copy_(tensors[f"{name}.input_range"])
        found = _compared(model.eval()(data["images"]), data["logits"])
        loaded = dict(sdq_torch.quantized_layers(sdq_torch.load_quantized(make(job), job["checkpoint"])))
        pairs = [(module.weight, loaded[name].weight) for name, module in sdq_torch.quantized_layers(model)]
        # More than rounding of the step apart: on another level.
        moved = sum(((a - b).abs() > 1e-3 * b.abs().max()).sum().item() for a, b in pairs)
        return {**found, "moved": moved}


def _compared(found, expected):
    return {
        "error": (found - expected).abs().max().item(),
        "largest": expected.abs().max().item(),
        "same": (found.argmax(1) == expected.argmax(1)).double().mean().item(),
    }


def full_precision(job):
    model = make(job)
    model.load_state_dict(load_file(job["weights"]), strict=False)
    return model


def apply(job):
    """A strategy on full-precision weights, without training, saved for sdq."""
    model = full_precision(job)
    calibration = None if job["data"] is None else load_file(job["data"])["images"]
    sdq_torch.apply_strategy(model, job["strategy"], calibration, signed=job.get("signed"))
    sdq_torch.save(model, job["save"])
    return {}


def step(job):
    """The first step of an input's range, from a sample of its values."""
    sample = load_file(job["data"])["sample"]
    return {"step": sdq_torch.optimal_step(sample, sdq_torch.Grid(**job["grid"]))}


def train(job):
    """Phase 2 as docs/method.md has it: the losses of each step."""
    data = load_file(job["data"])
    batches = list(zip(data["images"].split(job["batch"]), data["labels"].split(job["batch"])))
    teacher, model = full_precision(job).eval(), full_precision(job)
    sdq_torch.apply_strategy(model, job["strategy"], batches[0][0])
    model.train()
    groups = sdq_torch.parameter_groups(model, job["lr"], 1e-4)
    optimizer = torch.optim.SGD(groups, lr=job["lr"], momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    rows, ramp = [], 5 * len(batches) / job["epochs"]
    for step, (images, _) in enumerate(batches):
        with torch.no_grad():
            soft = teacher(images).softmax(1)
        task = F.cross_entropy(model(images), soft)
        bins = sdq_torch.bin_regularization(model)
        loss = task + 0.1 * min(1, (step + 1) / ramp) * bins
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        rows.append([loss.item(), task.item(), bins.item()])
    return {"losses": rows}


def refusal(job):
    try:
        {"logits": logits, "apply": apply}[job["of"]](job)
    except sdq_torch.SdqError as error:
        return {"message": str(error)}
    return {"message": ""}


torch.set_num_threads(1)
jobs = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps([globals()[job["job"]](job) for job in jobs]))
