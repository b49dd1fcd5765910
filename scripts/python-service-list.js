// What the integration tests have in Python, each in a virtual environment of its own, at the versions they were written against.
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
 * depend on. `base`: another environment, whose packages this one sees too; install that one first.
 */
export const pythonServices = {
  mlflow: {requirements: ['mlflow[auth]==3.17.2']},
  wandb: {requirements: ['wandb==0.30.0']},
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
  /** Tools that read strategies: docs/strategy-formats.md. */
  tools: {
    requirements: [
      'torchao==0.18.0',
      'nvidia-modelopt==0.47.0',
      'brevitas==0.13.4',
      'coremltools==9.0',
      // nvidia-modelopt imports these two and does not require them.
      'requests==2.32.5',
      'huggingface-hub==2.4.0',
      'safetensors==0.8.0',
    ],
    base: 'torch',
  },
};

/** The virtual environment of a service: outside the repository, kept between runs. */
export function serviceFolder(name) {
  const cache = process.env.TEST_CACHE ?? path.join(os.homedir(), '.cache', 'sdq-test');
  const [first] = pythonServices[name].requirements;
  return path.join(cache, first.replace(/\[.*\]/, '').replace('==', '-'));
}

/** Written when a service is installed: what it was asked to hold. */
export const readyFile = (name) => path.join(serviceFolder(name), 'ready');
export const readyText = (name) => `${pythonServices[name].requirements.join('\n')}\n`;

/** Whether the environment holds what the list asks for now. One of an older list does not count. */
export function isInstalled(name) {
  return existsSync(readyFile(name)) && readFileSync(readyFile(name), 'utf8') === readyText(name);
}
