import {project} from './test/projects.js';

/** The suite of every day: `npm test -- --selectProjects unit` runs a part of it. What takes minutes is in jest.slow.config.js. */
/** @type {import('jest').Config} */
export default {
  projects: ['unit', 'contract', 'integration', 'e2e'].map((name) => project(name, [`test/${name}/**/*.test.ts`])),
  globalSetup: '<rootDir>/test/helpers/compile-workers.js',
  maxWorkers: 2,
  testTimeout: 120_000,
  verbose: true,
  reporters: ['default', '<rootDir>/test/helpers/closing-line-reporter.js'],
};
