import jestPlugin from 'eslint-plugin-jest';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

/**
 * Imports point downwards only:
 *   commands -> cli, config, phases -> runs, report, plugins -> training, hardware -> sdq -> graph -> tensor
 * Each row lists what a folder must not import. `src/errors.ts` and `src/random.ts` are leaves that any folder may use.
 */
const forbidden = {
  tensor: [
    'commands',
    'cli',
    'config',
    'phases',
    'runs',
    'report',
    'plugins',
    'hooks',
    'training',
    'sdq',
    'hardware',
    'graph',
    'data',
  ],
  graph: [
    'commands',
    'cli',
    'config',
    'phases',
    'runs',
    'report',
    'plugins',
    'hooks',
    'training',
    'sdq',
    'hardware',
    'data',
  ],
  sdq: ['commands', 'cli', 'config', 'phases', 'runs', 'report', 'plugins', 'hooks', 'training', 'hardware', 'data'],
  hardware: ['commands', 'cli', 'config', 'phases', 'runs', 'report', 'plugins', 'hooks', 'training', 'tensor', 'data'],
  training: ['commands', 'cli', 'config', 'phases', 'runs', 'report', 'plugins', 'hooks'],
  data: [
    'commands',
    'cli',
    'config',
    'phases',
    'runs',
    'report',
    'plugins',
    'hooks',
    'training',
    'sdq',
    'graph',
    'tensor',
  ],
  'strategy-formats': [
    'commands',
    'cli',
    'config',
    'phases',
    'runs',
    'report',
    'plugins',
    'hooks',
    'training',
    'tensor',
    'data',
  ],
  plugins: ['commands', 'cli', 'config', 'phases', 'runs', 'report', 'hooks'],
  report: [
    'commands',
    'cli',
    'config',
    'phases',
    'runs',
    'plugins',
    'hooks',
    'training',
    'sdq',
    'hardware',
    'graph',
    'tensor',
    'data',
  ],
  runs: [
    'commands',
    'cli',
    'config',
    'phases',
    'report',
    'plugins',
    'hooks',
    'training',
    'sdq',
    'graph',
    'tensor',
    'data',
  ],
  tracking: ['commands', 'cli', 'config', 'phases', 'report', 'hooks', 'training', 'sdq', 'graph', 'tensor', 'data'],
  config: ['commands', 'cli', 'phases', 'runs', 'report', 'hooks', 'training', 'sdq', 'graph', 'tensor', 'data'],
  phases: ['commands', 'cli', 'hooks', 'sweeps'],
  sweeps: ['commands', 'cli', 'hooks', 'plugins', 'training', 'sdq', 'graph', 'tensor', 'data'],
  // A strategy is data that the command line shows.
  cli: ['commands', 'training', 'sdq(?!/strategy\\.ts)', 'graph', 'tensor', 'data'],
};
const pure = ['tensor', 'graph', 'sdq', 'hardware', 'strategy-formats', 'report'];

const importRules = Object.entries(forbidden).map(([folder, targets]) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: `^(\\.\\./)+(${targets.join('|')})/`,
            message: `src/${folder} sits below this folder: imports point downwards only (docs/architecture.md).`,
          },
          ...(pure.includes(folder)
            ? [
                {
                  regex: '^(@oclif/core|(node:)?(fs|net|http|https|child_process)(/.*)?)$',
                  message: `src/${folder} does no I/O.`,
                },
              ]
            : []),
        ],
      },
    ],
  },
}));

export default tseslint.config(
  {
    ignores: [
      'dist',
      'wasm',
      'node_modules',
      'coverage',
      'src/plugins/engines/wasm/assembly',
      'src/config/config-types.ts',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: {parserOptions: {project: ['./tsconfig.test.json'], tsconfigRootDir: import.meta.dirname}},
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', {allowNumber: true, allowBoolean: true}],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', {ignoreArrowShorthand: true}],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-unused-vars': ['error', {ignoreRestSiblings: true}],
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: 'error',
    },
  },
  ...importRules,
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
