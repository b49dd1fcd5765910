/**
 * A Jest project: some of the test files, with what all of them need.
 * @param {string} displayName
 * @param {string[]} files globs from the repository's root
 * @param {Record<string, unknown>} globals
 */
export function project(displayName, files, globals = {}) {
  return {
    displayName,
    globals,
    testEnvironment: 'node',
    roots: ['<rootDir>/test'],
    testMatch: files.map((file) => `<rootDir>/${file}`),
    extensionsToTreatAsEsm: ['.ts'],
    // Threads run on plain Node, not in Jest: they start from a compiled copy of the sources.
    moduleNameMapper: {'/start-thread\\.ts$': '<rootDir>/test/helpers/start-thread.ts'},
    transform: {'\\.ts$|/@tensorflow/.*\\.js$': '<rootDir>/test/transform.js'},
    transformIgnorePatterns: ['/node_modules/(?!@tensorflow/)'],
  };
}
