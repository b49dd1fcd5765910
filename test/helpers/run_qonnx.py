"""Files of QONNX in qonnx's own executor: `run_qonnx.py JOBS.json OUT.json`, the outputs of each job's images."""

import contextlib
import json
import logging
import sys
from pathlib import Path

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model


def opened(file, shape):
    model = ModelWrapper(file)
    model.set_tensor_shape(model.graph.input[0].name, list(shape))
    return cleanup_model(model)


def execute(model, images):
    model = opened(model, images.shape)
    return execute_onnx(model, {model.graph.input[0].name: images})[model.graph.output[0].name]


def run(job):
    images = np.array(job["images"], np.float32).reshape(job["shape"])
    try:
        return {"outputs": np.asarray(execute(job["model"], images), np.float64).reshape(-1).tolist()}
    except Exception as error:
        logging.exception(job["model"])
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    jobs, out = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        results = [run(job) for job in json.loads(Path(jobs).read_text())]
    Path(out).write_text(json.dumps(results))


main()
