"""What FINN itself estimates of QONNX files of sdq: cycles, BRAM, DSP and LUT of each matrix-vector unit.

Needs the sources of FINN and of the qonnx that it names (fetch-repos.sh) on PYTHONPATH, no Vivado:
  pip install onnx==1.17.0 numpy==1.26.4 bitstring==3.1.7 onnxruntime==1.18.1 scipy==1.10.1 toposort clize sigtools psutil
  FINN_ROOT=finn PYTHONPATH=finn/src:qonnx/src python bench/finn-estimates.py NAME=FILE.onnx=FOLDING.json ... > estimates.json
FOLDING.json is that of `sdq strategy convert --format finn`. Single units of other sizes follow the networks.
"""

import contextlib
import json
import os
import sys
import types
import warnings

warnings.filterwarnings("ignore")
os.environ.setdefault("FINN_ROOT", "")
# Only RTL simulation uses PyVerilator.
for name in ("pyverilator", "pyverilator.util", "pyverilator.util.axi_utils"):
    module = sys.modules[name] = types.ModuleType(name)
    for member in ("PyVerilator", "_read_signal", "reset_rtlsim", "rtlsim_multi_io", "toggle_clk"):
        setattr(module, member, None)

import finn.transformation.fpgadataflow.convert_to_hw_layers as to_hw
import finn.transformation.streamline.absorb as absorb
from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
from finn.transformation.qonnx.convert_qonnx_to_finn import ConvertQONNXtoFINN
from finn.transformation.streamline import Streamline
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.bipolar_to_xnor import ConvertBipolarMatMulToXnorPopcount
from qonnx.transformation.fold_constants import FoldConstants
from qonnx.transformation.general import (
    ApplyConfig,
    GiveReadableTensorNames,
    GiveUniqueNodeNames,
    RemoveStaticGraphInputs,
)
from qonnx.transformation.infer_data_layouts import InferDataLayouts
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.lower_convs_to_matmul import LowerConvsToMatMul
from qonnx.util.cleanup import cleanup_model

PART = "xczu9eg-ffvb1156-2-e"  # of the ZCU102


def figures(node):
    """Sizes, folding and estimates of a unit."""
    unit = getCustomOp(node)
    get = unit.get_nodeattr
    depthwise = node.op_type.startswith("VVAU")
    size = get("Kernel") if depthwise else [get("MW")]
    vectors = 1
    for dim in get("Dim") if depthwise else get("numInputVectors"):
        vectors *= dim
    inputs = 1
    for dim in size:
        inputs *= dim
    estimate = unit.node_res_estimation(PART)
    return {
        "name": node.name,
        "inputs": int(inputs),
        "outputs": get("Channels" if depthwise else "MH"),
        "vectors": int(vectors),
        "pe": get("PE"),
        "simd": get("SIMD"),
        "weightBits": unit.get_weight_datatype().bitwidth(),
        "activationBits": unit.get_input_datatype().bitwidth(),
        "inputSigned": bool(unit.get_input_datatype().signed()),
        "memory": get("ram_style"),
        "cycles": int(unit.get_exp_cycles()),
        "bram18": int(estimate["BRAM_18K"]),
        "uram": int(estimate["URAM"]),
        "dsp": int(estimate["DSP"]),
        "lut": int(estimate["LUT"]),
    }


def network(file, folding):
    """The steps of FINN's own builder (build_dataflow_steps.py), with standalone thresholds."""
    model = ModelWrapper(file)
    # The batch is symbolic in the file, and the functions of Quant are for other runtimes.
    name = model.graph.input[0].name
    model.set_tensor_shape(name, [1] + model.get_tensor_shape(name)[1:])
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    del model.model.functions[:]
    model = cleanup_model(model)
    steps = [
        ConvertQONNXtoFINN(),
        InferShapes(),
        FoldConstants(),
        GiveUniqueNodeNames(),
        GiveReadableTensorNames(),
        InferDataTypes(),
        RemoveStaticGraphInputs(),
        absorb.AbsorbSignBiasIntoMultiThreshold(),
        Streamline(),
        LowerConvsToMatMul(),
        absorb.AbsorbTransposeIntoMultiThreshold(),
        absorb.AbsorbConsecutiveTransposes(),
        ConvertBipolarMatMulToXnorPopcount(),
        Streamline(),
        InferDataLayouts(),
        InferDataTypes(),
        to_hw.InferThresholdingLayer(),
        to_hw.InferBinaryMatrixVectorActivation(),
        to_hw.InferQuantizedMatrixVectorActivation(),
        to_hw.InferVectorVectorActivation(),
        to_hw.InferThresholdingLayer(),
        to_hw.InferConvInpGen(),
        to_hw.InferStreamingMaxPool(),
        absorb.AbsorbConsecutiveTransposes(),
        GiveUniqueNodeNames(),
        InferDataLayouts(),
        SpecializeLayers(PART),
        InferShapes(),
        InferDataTypes(),
        GiveUniqueNodeNames(),
        ApplyConfig(folding),
    ]
    for step in steps:
        model = model.transform(step)
    with open(folding) as file:
        unknown = set(json.load(file)) - {"Defaults"} - {node.name for node in model.graph.node}
    units = [node for node in model.graph.node if node.op_type.startswith(("MVAU", "VVAU"))]
    return {"unknownNames": sorted(unknown), "units": [figures(node) for node in units]}


def single(op_type, size, outputs, pe, simd, weight_bits, input_type, memory):
    """A unit by itself. @param size inputs of a dot product, or the side of a depthwise kernel"""
    sizes = (
        {"Channels": outputs, "Kernel": [size, size], "Dim": [7, 5]}
        if op_type == "VVAU_hls"
        else {"MW": size, "MH": outputs, "numInputVectors": [1, 7, 5]}
    )
    return figures(
        helper.make_node(
            op_type,
            ["x", "w"],
            ["y"],
            name=op_type,
            domain="finn.custom_op.fpgadataflow." + op_type[-3:],
            PE=pe,
            SIMD=simd,
            inputDataType=input_type,
            weightDataType="BIPOLAR" if weight_bits == 1 else f"INT{weight_bits}",
            outputDataType="INT32",
            noActivation=1,
            ram_style=memory,
            resType="dsp" if op_type.endswith("rtl") else "lut",
            **sizes,
        )
    )


def singles():
    units = []
    for memory in ("block", "distributed"):
        for weight_bits, input_type in ((1, "UINT2"), (2, "INT3"), (3, "UINT8"), (8, "UINT2"), (7, "UINT3")):
            for size, outputs, pe, simd in ((576, 64, 8, 9), (27, 16, 1, 1), (150, 12, 12, 5), (1152, 128, 2, 64)):
                units.append(single("MVAU_hls", size, outputs, pe, simd, weight_bits, input_type, memory))
        for weight_bits, input_type in ((4, "UINT4"), (5, "UINT4"), (8, "INT8")):
            for size, outputs, pe, simd in ((576, 64, 8, 9), (27, 15, 5, 3), (1152, 128, 2, 64)):
                units.append(single("MVAU_rtl", size, outputs, pe, simd, weight_bits, input_type, memory))
        for weight_bits, input_type in ((2, "UINT4"), (4, "UINT4"), (8, "INT8")):
            for size, channels, pe, simd in ((3, 960, 2, 1), (3, 32, 32, 9), (5, 672, 1, 1)):
                units.append(single("VVAU_hls", size, channels, pe, simd, weight_bits, input_type, memory))
    return units


def main():
    with contextlib.redirect_stdout(sys.stderr):
        networks = {}
        for argument in sys.argv[1:]:
            name, file, folding = argument.split("=")
            networks[name] = network(file, folding)
        result = {
            "finn": "39f0c9a6b7675f62d47390fbf9a591707bcbac9b",
            "qonnx": "fd61cfeebbdaba351abf7e9d54cd785d7776fa4f",
            "part": PART,
            "command": "bench/finn-estimates.py " + " ".join(a.split("=")[0] for a in sys.argv[1:]),
            "networks": networks,
            "singles": singles(),
        }
    print(json.dumps(result))


main()
