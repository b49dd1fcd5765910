import {expect, test} from '@jest/globals';

import {renderError} from '../../../src/cli/errors.ts';
import {ExitCode, SdqError} from '../../../src/errors.ts';

test('an expected error is its message, its next steps and its code', () => {
  const error = new SdqError('a.yaml: /seed: found x.', {
    code: 'invalid-config',
    exit: ExitCode.invalidInput,
    suggestions: ['Do this.', 'Or that.'],
  });
  expect(renderError(error)).toBe(
    ['Error: a.yaml: /seed: found x.', '  → Do this.', '  → Or that.', '  [invalid-config]', ''].join('\n'),
  );
});

test('an expected error of another copy of sdq is one too', () => {
  const error = Object.assign(new Error('Not fetched.'), {
    name: 'SdqError',
    code: 'dataset-missing',
    suggestions: ['sdq data fetch x'],
    oclif: {exit: 6},
  });
  expect(renderError(error)).toBe('Error: Not fetched.\n  → sdq data fetch x\n  [dataset-missing]\n');
});

test("the operating system's refusal is no bug", () => {
  const error = Object.assign(new Error("EROFS: read-only file system, open '/a/b'"), {
    code: 'EROFS',
    errno: -30,
    syscall: 'open',
    path: '/a/b',
  });
  expect(renderError(error)).toContain('Error: Cannot open /a/b: read-only file system (EROFS).');
});

test('anything else is a bug, says where it should be reported and shows no stack', () => {
  const text = renderError(new TypeError('x is not a function'));
  expect(text).toContain('This is a bug in sdq. TypeError: x is not a function');
  expect(text).toContain('Please report it');
  expect(text).not.toMatch(/\n\s+at /);
});

test('who stops a command reads no error', () => {
  const error = new SdqError('Stopped by SIGINT after step 3.', {code: 'interrupted', exit: ExitCode.interrupted});
  expect(renderError(error)).toBe('Stopped by SIGINT after step 3.\n  [interrupted]\n');
});

test('a tab of a file is shown as one', () => {
  const error = new SdqError('a.yaml: found "a\tb".', {code: 'x', exit: ExitCode.invalidInput});
  expect(renderError(error)).toContain('found "a\tb".');
});

test('what a message quotes of a file cannot steer the terminal', () => {
  const error = new SdqError('a.json is not JSON: found "\u001b[2J\u0007".', {
    code: 'x',
    exit: ExitCode.invalidInput,
  });
  expect(renderError(error)).toBe('Error: a.json is not JSON: found "\ufffd[2J\ufffd".\n  [x]\n');
});
