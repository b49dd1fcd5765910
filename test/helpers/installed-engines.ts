/** The engines that `node scripts/python-services.js tensorflow webgpu` installs with `sdq engine install`, for tests of the real ones. */
import path from 'node:path';

import {isInstalled, serviceFolder} from '../../scripts/python-service-list.js';
import {thorough} from './thorough.ts';

/** In the slow suite, where it was installed. */
export const hasTensorflow = thorough && isInstalled('tensorflow');

/** Where the tests are skipped, their name says why. */
export const withoutTensorflow = thorough ? 'TensorFlow is not installed' : 'in the slow suite';

/** Makes the engine of this process, or of a child with this environment, use that installation. */
export const tensorflowEnvironment = {SDQ_ENGINE_DIR: serviceFolder('tensorflow')};

/** In the slow suite, where it was installed with a GPU in software. */
export const hasWebgpu = thorough && isInstalled('webgpu');
export const withoutWebgpu = thorough ? 'no WebGPU with a Vulkan loader is installed' : 'in the slow suite';

const webgpuFolder = serviceFolder('webgpu');
/** Of a child process: the loader reads them when it starts. */
export const webgpuEnvironment = {
  SDQ_ENGINE_DIR: webgpuFolder,
  VK_DRIVER_FILES: path.join(webgpuFolder, 'usr/lib/chromium/vk_swiftshader_icd.json'),
  LD_LIBRARY_PATH: path.join(webgpuFolder, 'usr/lib/x86_64-linux-gnu'),
  XDG_RUNTIME_DIR: '/tmp',
};
