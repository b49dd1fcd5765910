"""What other tools make of a strategy file: `load_strategy.py TOOL FILE OUT.json`, for a ResNet20 with random weights."""

import json
import os
import re
import sys
from pathlib import Path

import torch
from torch import nn

from torch_networks import NETWORKS


def layers(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}


def torchao(model, file, images):
    from torchao.core.config import config_from_dict
    from torchao.quantization import quantize_

    quantize_(model, config_from_dict(json.loads(Path(file).read_text())), filter_fn=None)
    bits = {}
    for name, module in layers(model).items():
        target = getattr(module.weight, "target_dtype", None)
        if target is not None:
            bits[name] = [int(str(target).removeprefix("torch.int")), 32]
    # Kernels of convolutions do not take this kind of tensor: they compute with its values.
    for module in layers(model).values():
        if hasattr(module.weight, "dequantize"):
            module.weight = nn.Parameter(module.weight.dequantize(), requires_grad=False)
    return model, bits


def modelopt(model, file, images):
    import modelopt.torch.quantization as mtq

    config = json.loads(Path(file).read_text())
    model = mtq.quantize(model, config, forward_loop=lambda m: m(images))
    bits = {}
    for name, module in layers(model).items():
        pair = [getattr(module, f"{kind}_quantizer") for kind in ("weight", "input")]
        if any(q.is_enabled for q in pair):
            bits[name] = [q.num_bits if q.is_enabled else 32 for q in pair]
    return model, bits


def brevitas(model, file, images):
    from brevitas.graph.calibrate import calibration_mode

    scope = {}
    exec(compile(Path(file).read_text(), file, "exec"), scope)
    model = scope["quantize"](model).eval()
    with torch.no_grad(), calibration_mode(model):
        model(images)
    bits = {}
    for name, module in layers(model).items():
        if not hasattr(module, "quant_weight"):
            continue
        weights = int(module.quant_weight().bit_width) if module.weight_quant.is_quant_enabled else 32
        inputs = int(module.input_quant.bit_width()) if module.input_quant.is_quant_enabled else 32
        bits[name] = [weights, inputs]
    return model, bits


def coremltools(model, file, images):
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    pipeline = ct.PassPipeline.DEFAULT
    pipeline.remove_passes(["common::fuse_conv_batchnorm"])
    traced = torch.jit.trace(model.eval(), images[:1])
    program = ct.convert(traced, inputs=[ct.TensorType(name="x", shape=images[:1].shape)], skip_model_load=True, pass_pipeline=pipeline,
                         minimum_deployment_target=ct.target.iOS18, compute_precision=ct.precision.FLOAT32)
    config = cto.OptimizationConfig.from_yaml(file)
    compressed = cto.palettize_weights(program, config)
    bits = {}
    for function in compressed._mil_program.functions.values():
        for op in function.operations:
            if op.op_type == "constexpr_lut_to_dense":
                bits[op.name.removesuffix("_weight_palettized")] = [int(op.lut.val.shape[-2]).bit_length() - 1, 32]
    return None, bits


def quark(model, file, images):
    from quark.torch import ModelQuantizer
    from quark.torch.quantization.config.config import QConfig

    config = QConfig.from_dict(json.loads(Path(file).read_text()))
    model = ModelQuantizer(config).quantize_model(model, [images])
    bits = {}
    for name, module in model.named_modules():
        pair = [getattr(module, f"_{kind}_quantizer", None) for kind in ("weight", "input")]
        if any(q is not None for q in pair):
            bits[name] = [32 if q is None else int(re.search(r"int(\d+)", str(q.dtype))[1]) for q in pair]
    return model, bits


def neural_compressor(model, file, images):
    from neural_compressor.torch.quantization import RTNConfig, convert, prepare

    config = RTNConfig.from_dict(json.loads(Path(file).read_text()))
    model = convert(prepare(model, config))
    return model, {name: [module.bits, 32] for name, module in model.named_modules() if hasattr(module, "bits")}


def nncf(model, file, images):
    os.environ["NNCF_TORCH_LEGACY_TRACING"] = "1"
    os.environ["NNCF_EXTENSION_LOAD_TIMEOUT"] = "0"
    from nncf import NNCFConfig
    from nncf.torch import create_compressed_model

    controller, model = create_compressed_model(model, NNCFConfig.from_json(file))
    inputs = {q.quantizer_module_ref.num_bits for q in controller.non_weight_quantizers.values()}
    assert len(inputs) == 1, inputs
    bits = {}
    for place, quantizer in controller.weight_quantizers.items():
        name = ".".join(re.findall(r"\[([^\]]+)\]", str(place)))
        bits[name] = [quantizer.quantizer_module_ref.num_bits, *inputs]
    return model, bits


def main():
    tool, file, out = sys.argv[1:]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = NETWORKS["resnet20"](3).eval()
    images = torch.randn(8, 3, 32, 32)
    model, bits = globals()[tool.replace("-", "_")](model, file, images)
    result = {"bits": bits}
    if model is not None:
        with torch.no_grad():
            result["finite"] = bool(model(images).isfinite().all())
    Path(out).write_text(json.dumps(result))


main()
