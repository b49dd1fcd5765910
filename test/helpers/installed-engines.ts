/** The engines that `node scripts/python-services.js tensorflow webgpu` installs with `sdq engine install`, for tests of the real ones. */
import {engineEnvironment, isInstalled} from '../../scripts/python-service-list.js';
import {thorough} from './thorough.ts';

/** In the slow suite, where it was installed. */
export const hasTensorflow = thorough && isInstalled('tensorflow');

/** Where the tests are skipped, their name says why. */
export const withoutTensorflow = thorough ? 'TensorFlow is not installed' : 'in the slow suite';

/** Makes the engine of this process, or of a child with this environment, use that installation. */
export const tensorflowEnvironment = engineEnvironment('tensorflow');

/** In the slow suite, where it was installed with a GPU in software. */
export const hasWebgpu = thorough && isInstalled('webgpu');
export const withoutWebgpu = thorough ? 'no WebGPU with a Vulkan loader is installed' : 'in the slow suite';

/** Of a child process: the loader reads it when it starts. */
export const webgpuEnvironment = engineEnvironment('webgpu');
