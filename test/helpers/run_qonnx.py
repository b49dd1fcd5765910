"""Files of QONNX in the tools that read it: `run_qonnx.py execute|hls JOBS.json OUT.json`, the outputs of each job's images."""

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


def execute(model, images, folder):
    """qonnx's own executor, node by node; the outputs one after the other."""
    model = opened(model, images.shape)
    results = execute_onnx(model, {model.graph.input[0].name: images})
    return np.concatenate([results[output.name].reshape(-1) for output in model.graph.output])


def hls(model, images, folder):
    """The C++ that hls4ml writes of a perceptron for Vitis, compiled here."""
    import hls4ml
    from qonnx.transformation.gemm_to_matmul import GemmToMatMul

    model = cleanup_model(opened(model, (1, *images.shape[1:])).transform(GemmToMatMul()))
    # hls4ml's default of 16 bits is too short for the steps.
    config = hls4ml.utils.config_from_onnx_model(model, granularity="name", backend="Vitis", default_precision="fixed<32,16>")
    converted = hls4ml.converters.convert_from_onnx_model(model, hls_config=config, output_dir=str(folder), backend="Vitis")
    converted.compile()
    return converted.predict(np.ascontiguousarray(images))


def run(tool, job, folder):
    images = np.array(job["images"], np.float32).reshape(job["shape"])
    try:
        return {"outputs": np.asarray(tool(job["model"], images, folder), np.float64).reshape(-1).tolist()}
    except Exception as error:
        logging.exception(job["model"])
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    tool, jobs, out = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        results = [
            run({"execute": execute, "hls": hls}[tool], job, Path(out).parent / f"hls{i}")
            for i, job in enumerate(json.loads(Path(jobs).read_text()))
        ]
    Path(out).write_text(json.dumps(results))


main()
