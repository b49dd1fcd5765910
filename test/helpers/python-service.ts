/** Servers and clients in Python, and packages of npm, from the environments that `node scripts/python-services.js` makes. */
import {spawnSync} from 'node:child_process';
import path from 'node:path';

import {describe} from '@jest/globals';

import {isInstalled, serviceFolder} from '../../scripts/python-service-list.js';

/** Of the environment's `bin`. */
export function pythonProgram(service: string, program = 'python'): string {
  return path.join(serviceFolder(service), 'bin', program);
}

/** Of a service from npm. */
export const nodeModules = (service: string): string => path.join(serviceFolder(service), 'node_modules');

/** `describe`, or `describe.skip` where the service is not installed. */
export function describeWith(service: string): typeof describe | typeof describe.skip {
  return isInstalled(service) ? describe : describe.skip;
}

/** Whether there is a C++ compiler, which some Python packages build parts of themselves with. */
export const hasCompiler = spawnSync('c++', ['--version']).status === 0;
