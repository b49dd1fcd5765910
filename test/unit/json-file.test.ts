import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {SdqError} from '../../src/errors.ts';
import {readJsonFile} from '../../src/json-file.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const file = path.join(temporaryFolder(), 'given.json');
const limitBytes = 16 << 20;

function read(content: string | Buffer): unknown {
  writeFileSync(file, content);
  return readJsonFile(file, limitBytes, 'strategy');
}

/** What is said about a file, without its name. */
function refusal(content: string | Buffer): string {
  try {
    read(content);
  } catch (error) {
    expect(error).toBeInstanceOf(SdqError);
    const {message, code, oclif} = error as SdqError;
    expect({code, exit: oclif.exit}).toEqual({code: 'strategy-not-json', exit: 3});
    return message.replace(file, 'FILE');
  }
  throw new Error('it was read');
}

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('a JSON file', () => {
  test('is read with and without a byte order mark', () => {
    expect(read('{"a": [1, null]}')).toEqual({a: [1, null]});
    expect(read('\uFEFF{"a": 1}')).toEqual({a: 1});
  });

  test.each([
    ['UTF-16', Buffer.from('{"a": 1}', 'utf16le'), /^FILE is not JSON/],
    ['UTF-16 with its mark', Buffer.from('\uFEFF{"a": 1}', 'utf16le'), /^FILE is not text in UTF-8\.$/],
    ['Latin-1', Buffer.from('{"é": 1}', 'latin1'), /^FILE is not text in UTF-8\.$/],
    ['nothing', '', /^FILE is not JSON: Unexpected end/],
    ['NaN', '{"bits": NaN}', /^FILE is not JSON: Unexpected token/],
    ['a million levels', nested(1_000_000), /^FILE nests deeper than 32 levels\.$/],
    ['a million values', `[${'{},'.repeat(1_000_000)}{}]`, /^FILE has more than 200000 values\.$/],
  ])('%s is refused', (_, content, message) => {
    expect(refusal(content)).toMatch(message);
  });

  test('as deep and as long as is allowed is read', () => {
    expect(read(nested(33))).toEqual(JSON.parse(nested(33)));
    expect(read(`[${'1,'.repeat(199_998)}1]`)).toHaveLength(199_999);
    expect(refusal(`[${'1,'.repeat(199_999)}1]`)).toContain('200000 values');
  });
});
