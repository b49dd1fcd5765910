import jestPlugin from 'eslint-plugin-jest';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

import {closureState} from './scripts/eslint-closure-state.js';

/**
 * Imports point downwards only:
 *   commands -> cli, config, phases -> report, plugins, tracking -> plugin-api -> runs, training, hardware -> sdq -> graph -> tensor
 * Each row lists what a folder may import beside itself. The files of `src/` itself are leaves that any folder may use; `hooks` and
 * `commands` may use everything.
 */
const mayImport = {
  tensor: [],
  data: [],
  runs: [],
  report: [],
  graph: ['tensor'],
  sdq: ['graph', 'tensor'],
  hardware: ['graph', 'sdq'],
  training: ['data', 'graph', 'sdq', 'tensor'],
  'plugin-api': ['data', 'graph', 'hardware', 'runs', 'sdq', 'tensor', 'training'],
  tracking: ['plugin-api', 'runs'],
  plugins: ['data', 'graph', 'hardware', 'plugin-api', 'sdq', 'tensor', 'tracking', 'training'],
  config: ['plugin-api'],
  sweeps: ['plugin-api', 'runs', 'tracking'],
  phases: [
    'config',
    'data',
    'graph',
    'hardware',
    'plugin-api',
    'plugins',
    'report',
    'runs',
    'sdq',
    'tensor',
    'tracking',
    'training',
  ],
  // A strategy is data that the command line shows.
  cli: [
    'config',
    'hardware',
    'hooks',
    'phases',
    'plugin-api',
    'plugins',
    'runs',
    'sdq(?=/strategy\\.ts)',
    'sweeps',
    'tracking',
  ],
};
/** Folders that any other may use, as the files of `src/` itself. */
const leaves = ['detection', 'http', 'schema'];
const folders = [...Object.keys(mayImport), ...leaves, 'commands', 'hooks'];
const pure = ['tensor', 'graph', 'sdq', 'hardware', 'report'];

const importRules = Object.entries({...mayImport, ...Object.fromEntries(leaves.map((leaf) => [leaf, []]))}).map(
  ([folder, allowed]) => ({
    files: [`src/${folder}/**/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: `^(\\.\\./)+(?!(${[folder, ...allowed, ...leaves].join('|')})/)(${folders.join('|')})/`,
              message: `Not for src/${folder}: imports point downwards only (docs/architecture.md).`,
            },
            ...(pure.includes(folder)
              ? [
                  {
                    regex:
                      '^(@oclif/core|(node:)?(fs|net|http|https|child_process)(/.*)?|(\\.\\./)+(http/.*|(files|json-file|lock)\\.ts))$',
                    message: `src/${folder} does no I/O.`,
                  },
                ]
              : []),
          ],
        },
      ],
    },
  }),
);

export default tseslint.config(
  {
    ignores: [
      'dist',
      'test-build',
      'wasm',
      'node_modules',
      'coverage',
      'src/**/assembly',
      'src/config/config-types.ts',
      // Compiled against the packed package: test/e2e/plugin-types.test.ts.
      'test/fixtures/every-kind',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: {parserOptions: {project: ['./tsconfig.test.json'], tsconfigRootDir: import.meta.dirname}},
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', {allowNumber: true, allowBoolean: true}],
      '@typescript-eslint/no-confusing-void-expression': ['error', {ignoreArrowShorthand: true}],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-unused-vars': ['error', {ignoreRestSiblings: true}],
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: 'error',
    },
  },
  ...importRules,
  {files: ['test/**/*.ts', 'bench/**/*.ts'], rules: {'@typescript-eslint/no-non-null-assertion': 'off'}},
  {
    files: ['src/**/*.ts'],
    plugins: {house: {rules: {'closure-state': closureState}}},
    rules: {
      'house/closure-state': 'error',
      'max-lines-per-function': ['error', {max: 100, skipBlankLines: true, skipComments: true}],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/plugins/engines/**'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: 'MemberExpression[property.name=/^(dataSync|arraySync)$/]',
          message: 'Reads are awaited (data(), array()): an engine on a device cannot answer at once.',
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    extends: [jestPlugin.configs['flat/recommended']],
    rules: {
      'jest/expect-expect': ['error', {assertFunctionNames: ['expect*', '**.expect*']}],
      'jest/no-conditional-expect': 'off',
      'jest/no-standalone-expect': 'off',
    },
  },
  // A suite that several test files run with their own subject.
  {files: ['test/helpers/**/*.ts'], rules: {'jest/no-export': 'off'}},
  prettier,
);
