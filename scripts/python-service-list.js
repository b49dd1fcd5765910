// What the integration tests have in Python, each in a virtual environment of its own, and from npm, at the versions they were written against.
import {existsSync, readFileSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** PyTorch loads the libraries of a GPU even where there is none. Without its compiler (triton), which nothing here needs. */
const torchLibraries = [
  'nvidia-cublas==13.4.1.3',
  'nvidia-cuda-cupti==13.2.86',
  'nvidia-cuda-nvrtc==13.2.86',
  'nvidia-cuda-runtime==13.2.86',
  'nvidia-cudnn-cu13==9.26.0.51',
  'nvidia-cufft==12.2.0.57',
  'nvidia-cufile==1.17.1.22',
  'nvidia-cusparse==12.7.10.12',
  'nvidia-cusparselt-cu13==0.8.1',
  'nvidia-nccl-cu13==2.30.7',
  'nvidia-nvjitlink==13.5.37',
  'nvidia-nvshmem-cu13==3.7.2',
].map((requirement) => `${requirement}; platform_system == "Linux"`);

/**
 * What each environment holds; the first requirement names its folder. `exact`: these packages and no others, not what they
 * depend on. `base`: another environment, whose packages this one sees too; install that one first. `npm`: packages of npm, which
 * the tests want and the repository does not hold because of their size. `engine`: what `sdq engine install` makes of it. `debian`: packages whose
 * libraries are unpacked beside it.
 */
export const pythonServices = {
  mlflow: {requirements: ['mlflow[auth]==3.17.2']},
  /** What MLflow loads a logged model with, and measures the machine with. */
  'mlflow-onnx': {
    requirements: ['onnx==1.23.2', 'onnxruntime==1.32.0', 'flatbuffers==25.12.19', 'ml_dtypes==0.6.0', 'psutil==7.2.2'],
    exact: true,
    base: 'mlflow',
  },
  wandb: {requirements: ['wandb==0.30.0']},
  /** Saved views of projects, for examples/dashboards, and what the package needs for images. */
  'wandb-workspaces': {requirements: ['wandb-workspaces==0.4.13', 'pillow==13.0.0'], exact: true, base: 'wandb'},
  /** Schedulers of examples/scale-out. */
  ray: {requirements: ['ray[default,tune]==2.60.0']},
  optuna: {requirements: ['optuna==5.0.0']},
  /** The schemas of Kubernetes' API. */
  'kubernetes-models': {requirements: ['kubernetes-models==5.1.0'], npm: true},
  torch: {
    requirements: [
      'torch==2.15.0',
      'filelock==4.3.1',
      'fsspec==2026.9.0',
      'jinja2==3.1.6',
      'markupsafe==3.0.4',
      'mpmath==1.3.0',
      'networkx==3.6.1',
      'numpy==2.4.6',
      'safetensors==0.8.0',
      'sympy==1.14.0',
      'typing-extensions==4.16.0',
      ...torchLibraries,
    ],
    exact: true,
  },
  /** Networks of other people, and both of PyTorch's exporters. */
  torchvision: {
    requirements: [
      'torchvision==0.29.2',
      'ml_dtypes==0.6.0',
      'onnx==1.23.2',
      'onnx-ir==1.1.0',
      'onnxscript==0.7.2',
      'packaging==26.4',
      'pillow==13.0.0',
      'protobuf==7.36.2',
    ],
    exact: true,
    base: 'torch',
  },
  /** Tools that read strategies (docs/strategy-formats.md), and what they import for it. */
  tools: {
    requirements: [
      'torchao==0.18.0',
      'nvidia-modelopt==0.47.0',
      'brevitas==0.13.4',
      'coremltools==9.0',
      'amd-quark==0.13',
      'neural_compressor_pt==3.10',
      'accelerate==1.15.0',
      'annotated-types==0.8.0',
      'anyio==4.16.0',
      'attrs==26.1.0',
      'cattrs==26.2.1',
      'certifi==2026.10.19.post1',
      'charset-normalizer==3.5.3',
      'dependencies==2.0.1',
      'h11==0.16.0',
      'httpcore2==2.16.2',
      'httpx2==2.16.2',
      'huggingface_hub==2.4.0',
      'idna==3.20',
      'markdown-it-py==4.3.0',
      'mdurl==0.1.2',
      'ml_dtypes==0.6.0',
      'ninja==1.13.2',
      'nvidia-ml-py==13.615.71',
      'omegaconf==2.4.0',
      'onnx==1.22.0',
      'onnxslim==0.1.98',
      'packaging==26.4',
      'prettytable==3.18.0',
      'protobuf==7.36.2',
      'psutil==7.2.2',
      'pulp==3.3.2',
      'py-cpuinfo==9.0.0',
      'pydantic==2.14.4',
      'pydantic_core==2.50.5',
      'pygments==2.21.0',
      'pyyaml==6.0.4',
      'regex==2026.11.19',
      'requests==2.34.2',
      'rich==15.0.0',
      'scipy==1.17.1',
      'setuptools==80.10.2',
      'tokenizers==0.23.3',
      'tqdm==4.70.1',
      'transformers==5.24.0',
      'truststore==0.10.5',
      'typing-inspection==0.4.5',
      'urllib3==2.8.0',
      'wcwidth==0.9.4',
    ],
    exact: true,
    base: 'torch',
  },
  /** With its own versions of NumPy and networkx. */
  nncf: {
    requirements: [
      'nncf==2.19.0',
      'attrs==26.1.0',
      'jsonschema==4.26.0',
      'jsonschema-specifications==2025.9.1',
      'markdown-it-py==4.3.0',
      'mdurl==0.1.2',
      'natsort==8.4.0',
      'networkx==3.4.2',
      'ninja==1.13.2',
      'numpy==2.2.6',
      'openvino-telemetry==2025.2.0',
      'packaging==26.4',
      'pandas==2.3.3',
      'psutil==7.2.2',
      'pydot==3.0.4',
      'pygments==2.21.0',
      'pyparsing==3.3.3',
      'python-dateutil==4.0.0',
      'pytz==2026.6',
      'referencing==0.37.0',
      'rich==15.0.0',
      'rpds-py==2026.9.1',
      'scipy==1.17.1',
      'setuptools==65.5.0',
      'tabulate==0.10.0',
      'tqdm==4.70.1',
    ],
    exact: true,
    base: 'torch',
  },
  aimet: {
    requirements: [
      'aimet-onnx==2.42.0',
      'attrs==26.1.0',
      'bokeh==3.9.2',
      'charset-normalizer==3.5.3',
      'cloudpickle==3.1.3',
      'idna==3.20',
      'joblib==1.6.0',
      'jsonschema-specifications==2025.9.1',
      'jsonschema==4.26.0',
      'ml_dtypes==0.6.0',
      'narwhals==2.29.0',
      'onnx-ir==1.1.0',
      'onnx==1.23.2',
      'onnxruntime==1.32.0',
      'onnxscript==0.7.2',
      'packaging==26.4',
      'pandas==3.1.1',
      'protobuf==7.36.2',
      'psutil==7.2.2',
      'python-dateutil==4.0.0',
      'pyyaml==6.0.4',
      'referencing==0.37.0',
      'rpds-py==2026.9.1',
      'scikit-learn==1.9.1',
      'scipy==1.17.1',
      'setuptools==84.2.1',
      'threadpoolctl==3.8.0',
      'tornado==6.6.1',
      'tqdm==4.70.1',
    ],
    exact: true,
    base: 'torch',
  },
  /** With qonnx. */
  hls4ml: {
    requirements: [
      'hls4ml==1.3.0',
      'qonnx==1.0.0',
      'attrs==26.1.0',
      'bitstring==5.0.0',
      'clize==5.0.2',
      'docutils==0.23',
      'flatbuffers==25.12.19',
      'h5py==3.16.0',
      'importlib_metadata==10.2.0',
      'lazy-importer==0.1.0',
      'ml_dtypes==0.6.0',
      'mpmath==1.3.0',
      'numpy==2.4.6',
      'od==2.0.2',
      'onnx-ir==1.1.0',
      'onnx==1.20.0',
      'onnxruntime==1.32.0',
      'onnxscript==0.7.2',
      'packaging==26.4',
      'protobuf==7.36.2',
      'pyDigitalWaveTools==1.1',
      'PyYAML==6.0.4',
      'quantizers==1.2.2',
      'setuptools==65.5.0',
      'sigtools==4.0.1',
      'sympy==1.14.0',
      'tibs==2.0.2',
      'toposort==1.10',
      'typing_extensions==4.16.0',
      'zipp==4.1.2',
    ],
    exact: true,
  },
  /** The mAP of detections, as COCO's authors compute it. */
  pycocotools: {requirements: ['pycocotools==2.0.11', 'numpy==2.4.6'], exact: true},
  /** What runs exported files: docs/export.md. */
  runtimes: {requirements: ['onnxruntime==1.32.0', 'openvino==2026.4.1', 'numpy==2.4.6']},
  'onnxruntime-node': {requirements: ['onnxruntime-node==1.30.0'], npm: true},
  /** For the processor. Needs `npm run build`. */
  tensorflow: {requirements: ['tensorflow-cpu==2.21.0'], engine: 'tensorflow'},
  /** Dawn, and a GPU in software: SwiftShader, a part of Debian's Chromium, with the loader of Vulkan. */
  webgpu: {requirements: ['webgpu==0.6.2'], engine: 'webgpu', debian: ['libvulkan1', 'chromium-common']},
};

/** The virtual environment of a service: outside the repository, kept between runs. */
export function serviceFolder(name) {
  const cache = process.env.TEST_CACHE ?? path.join(os.homedir(), '.cache', 'sdq-test');
  const [first] = pythonServices[name].requirements;
  return path.join(cache, first.replace(/\[.*\]/, '').replace('==', '-'));
}

export const readyFile = (name) => path.join(serviceFolder(name), 'ready');

/** Written when a service is installed: what it was asked to hold, and what the environment that it sees too was. */
export function readyText(name) {
  const {requirements, base} = pythonServices[name];
  return `${requirements.join('\n')}\n${base === undefined ? '' : readyText(base)}`;
}

/** Whether the environment holds what the list asks for now. One of an older list does not count. */
export function isInstalled(name) {
  return existsSync(readyFile(name)) && readFileSync(readyFile(name), 'utf8') === readyText(name);
}

/** With what a process, or a child of it, uses the engine of a service; a GPU in software is told to the loader of Vulkan. */
export function engineEnvironment(name) {
  const folder = serviceFolder(name);
  if (pythonServices[name].debian === undefined) return {SDQ_ENGINE_DIR: folder};
  return {
    SDQ_ENGINE_DIR: folder,
    VK_DRIVER_FILES: path.join(folder, 'usr/lib/chromium/vk_swiftshader_icd.json'),
    LD_LIBRARY_PATH: path.join(folder, 'usr/lib/x86_64-linux-gnu'),
    XDG_RUNTIME_DIR: '/tmp',
  };
}
