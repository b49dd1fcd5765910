"""AIMET with models and encodings of sdq: `run_aimet.py JOBS.json OUT.json`. Bits of each encoded tensor, and logits against sdq's."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from aimet_onnx.quantsim import QuantizationSimModel, load_encodings_to_sim
from safetensors.numpy import load_file


def entries(encodings):
    if encodings["version"] == "1.0.0":
        return encodings["activation_encodings"] + encodings["param_encodings"]
    return encodings["encodings"]


def run(model, encodings, data):
    sim = QuantizationSimModel(onnx.load(model), providers=["CPUExecutionProvider"])
    load_encodings_to_sim(sim, encodings, strict=False)
    # Encodings 2.0.0 behind a Flatten belong to the quantizer before it.
    found = {entry["name"]: sim._get_enabled_quantizer(entry["name"]) for entry in entries(json.loads(Path(encodings).read_text()))}
    bits = {name: None if quantizer is None else quantizer.bitwidth for name, quantizer in found.items()}
    data = load_file(data)
    (logits,) = sim.session.run(None, {sim.session.get_inputs()[0].name: data["images"]})
    expected = data["logits"]
    return {
        "bits": bits,
        "median": float(np.median(np.abs(logits - expected))),
        "largest": float(np.abs(expected).max()),
        "same": float((logits.argmax(1) == expected.argmax(1)).mean()),
    }


jobs, out = sys.argv[1:]
Path(out).write_text(json.dumps([run(**job) for job in json.loads(Path(jobs).read_text())]))
