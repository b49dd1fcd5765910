"""Runs ONNX files for `sdq verify --python` and `sdq hardware measure --python`.

Reads requests from stdin, one JSON object a line, and answers each with one on stdout. Images and outputs pass through files of
float32 in the machine's byte order. Needs numpy and the package of the runtime: onnxruntime, openvino or qonnx.
"""

import collections
import functools
import json
import os
import sys
import time

# Answers alone go to stdout: what a library prints goes to stderr.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    def __init__(self, threads):
        import onnxruntime

        self.package = onnxruntime
        self.version = onnxruntime.__version__
        self.threads = threads
        onnxruntime.set_default_logger_severity(3)

    def open(self, file, level, optimized=None, profile=None):
        options = self.package.SessionOptions()
        options.intra_op_num_threads = self.threads
        levels = self.package.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if level == "all" else levels.ORT_DISABLE_ALL
        if optimized is not None:
            options.optimized_model_filepath = optimized
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        session = self.package.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return session, lambda images: session.run(None, {name: images})

    def kernels(self, _session):
        return None


class OpenVino:
    """OpenVINO on the CPU. Level `disabled` computes floats in float32, `all` in what OpenVINO chooses, such as bfloat16."""

    def __init__(self, threads):
        import openvino

        self.core = openvino.Core()
        self.version = openvino.__version__.split("-")[0]
        self.threads = threads

    def open(self, file, level, optimized=None):
        options = {"INFERENCE_NUM_THREADS": self.threads, "PERFORMANCE_HINT": "LATENCY"}
        if level == "disabled":
            options["INFERENCE_PRECISION_HINT"] = "f32"
        compiled = self.core.compile_model(self.core.read_model(file), "CPU", options)

        def run(images):
            results = compiled([images])
            return [results[index] for index in range(len(compiled.outputs))]

        return compiled, run

    def kernels(self, compiled):
        counts = collections.Counter()
        for node in compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            op, precision = (info[key].astype(str) if key in info else "" for key in ("layerType", "runtimePrecision"))
            if op not in ("", "Const", "Input", "Output", "Reorder"):
                counts[op, precision in ("i8", "u8") and op != "FakeQuantize"] += 1
        return [{"op": op, "integer": integer, "count": count} for (op, integer), count in counts.items()]


class Qonnx:
    """The executor of qonnx, node by node. It has no optimizations and no threads of its own."""

    def __init__(self, _threads):
        import importlib.metadata

        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.util.cleanup import cleanup_model

        self.version = importlib.metadata.version("qonnx")
        self.wrap, self.execute, self.cleanup = ModelWrapper, execute_onnx, cleanup_model

    def open(self, file, _level, optimized=None):
        model = self.wrap(file)
        name = model.graph.input[0].name
        content = model.model.SerializeToString()

        @functools.lru_cache(maxsize=2)
        def of_shape(shape):
            shaped = self.wrap(content)
            shaped.set_tensor_shape(name, list(shape))
            return self.cleanup(shaped)

        def run(images):
            shaped = of_shape(images.shape)
            results = self.execute(shaped, {name: images})
            return [results[output.name] for output in shaped.graph.output]

        return model, run

    def kernels(self, model):
        counts = collections.Counter(node.op_type for node in model.graph.node)
        return [{"op": op, "integer": False, "count": count} for op, count in counts.items()]


PACKAGES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "qonnx": Qonnx}


class Server:
    def __init__(self):
        self.runtime = None
        self.networks = {}

    def load(self, package, threads):
        global numpy
        import numpy

        self.runtime = PACKAGES[package](threads)
        return {"version": self.runtime.version}

    def open(self, id, file, level, **options):
        self.networks[id] = self.runtime.open(file, level, **options)
        return {}

    def end_profile(self, id):
        return {"file": self.networks[id][0].end_profiling()}

    def run(self, id, images, shape, output):
        outputs = self.networks[id][1](numpy.fromfile(images, numpy.float32).reshape(shape))
        numpy.concatenate([numpy.ravel(values).astype(numpy.float32) for values in outputs]).tofile(output)
        return {"sizes": [values.size for values in outputs]}

    def time(self, id, images, shape, runs):
        """Milliseconds of each of these runs in a row."""
        values = numpy.fromfile(images, numpy.float32).reshape(shape)
        run = self.networks[id][1]
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            run(values)
            times.append(1e3 * (time.perf_counter() - start))
        return {"times": times}

    def kernels(self, id):
        return {"kernels": self.runtime.kernels(self.networks[id][0])}

    def release(self, id):
        del self.networks[id]
        return {}


server = Server()
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = getattr(server, request.pop("do"))(**request)
    except ModuleNotFoundError as error:
        answer = {"error": str(error), "missing": error.name}
    except Exception as error:
        answer = {"error": str(error)}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
