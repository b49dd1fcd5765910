/** The TensorFlow that `node scripts/python-services.js tensorflow` installs with `sdq engine install`, for tests of the real engine. */
import {isInstalled, serviceFolder} from '../../scripts/python-service-list.js';
import {thorough} from './thorough.ts';

/** In the slow suite, where it was installed. */
export const hasTensorflow = thorough && isInstalled('tensorflow');

/** Where the tests are skipped, their name says why. */
export const withoutTensorflow = thorough ? 'TensorFlow is not installed' : 'in the slow suite';

/** Makes the engine of this process, or of a child with this environment, use that installation. */
export const tensorflowEnvironment = {SDQ_ENGINE_DIR: serviceFolder('tensorflow')};
