import {describe, expect, test} from '@jest/globals';
import * as fc from 'fast-check';

import {ExitCode, SdqError} from '../../../src/errors.ts';
import {serializeSafetensors} from '../../../src/graph/safetensors.ts';
import {decodeCheckpoint, encodeCheckpoint, type Checkpoint} from '../../../src/training/checkpoint.ts';

const file = 'x.safetensors';
const array = (shape: number[], ...values: number[]) => ({shape, data: Float32Array.from(values)});
const checkpoint: Checkpoint = {
  weights: new Map([
    ['conv1.weight', array([1, 2], 0.1, -2)],
    ['bn1.running_mean', array([1], 3)],
  ]),
  groups: {
    optimizer: new Map([['conv1.weight/velocity', array([1, 2], 1e-45, 3.4e38)]]),
    steps: new Map([['conv1', array([], 0.25)]]),
  },
  state: {theta: [0.1 + 0.2, 5e-324, 2 ** 53 - 1], phase: 'search', best: null},
};

test('what is written is read back to the same bits', () => {
  const read = decodeCheckpoint(encodeCheckpoint(checkpoint), file);
  expect(read).toEqual(checkpoint);
  expect(encodeCheckpoint(read)).toEqual(encodeCheckpoint(checkpoint));
});

test('any finite double in the state survives', () => {
  fc.assert(
    fc.property(fc.array(fc.double({noNaN: true, noDefaultInfinity: true}).filter((x) => !Object.is(x, -0))), (x) => {
      const {state} = decodeCheckpoint(encodeCheckpoint({weights: new Map(), groups: {}, state: {x}}), file);
      expect(state['x']).toEqual(x);
    }),
  );
});

test.each([NaN, Infinity])('a state that holds %p is refused when it is written', (value) => {
  expect(() => encodeCheckpoint({...checkpoint, state: {loss: value}})).toThrow('"loss"');
});

describe('reading', () => {
  const good = {format: 'sdq-checkpoint-2', state: '{}'};
  const write = (metadata: Record<string, string>, name = 'w', value = 1): Uint8Array =>
    serializeSafetensors(new Map([[name, array([1], value)]]), metadata);
  test.each<[string, Uint8Array, string]>([
    ['weights alone', write({}), '__metadata__/format is null'],
    ['another format', write({...good, format: 'pt'}), '__metadata__/format is "pt"'],
    ['no state', write({format: good.format}), '__metadata__/state is not JSON'],
    ['broken JSON', write({...good, state: '{"a":'}), '__metadata__/state is not JSON'],
    ['a state that is a list', write({...good, state: '[]'}), '__metadata__/state is not a JSON object'],
    ['a weight that is NaN', write(good, 'fc.bias', NaN), 'tensor "fc.bias" is NaN at index 0'],
    ['a cut file', encodeCheckpoint(checkpoint).subarray(0, -1), 'cut short'],
  ])('%s is refused with its place', (_, bytes, message) => {
    expect(() => decodeCheckpoint(bytes, file)).toThrow(message);
    expect(() => decodeCheckpoint(bytes, file)).toThrow(file);
  });

  test('an older format is refused with what to do, whatever else the file holds', () => {
    const older = write({...good, format: 'sdq-checkpoint-1'}, 'w', NaN);
    let error: unknown;
    try {
      decodeCheckpoint(older, file);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({code: 'checkpoint-older', oclif: {exit: ExitCode.invalidInput}});
    expect((error as SdqError).suggestions.join('\n')).toContain('model.weights');
  });

  test('names that are properties of every object are plain names', () => {
    const bytes = serializeSafetensors(
      new Map([
        ['constructor:a', array([1], 1)],
        ['__proto__:a', array([1], 1)],
      ]),
      good,
    );
    expect(Object.keys(decodeCheckpoint(bytes, file).groups).sort()).toEqual(['__proto__', 'constructor']);
  });

  test('damaged bytes give an error of exit code 3 or a checkpoint, never another exception', () => {
    const whole = encodeCheckpoint(checkpoint);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), {maxLength: 4}),
        fc.nat(whole.length),
        (edits, length) => {
          const bytes = whole.slice(0, length);
          for (const [at, value] of edits) if (at < length) bytes[at] = value;
          try {
            decodeCheckpoint(bytes, file);
          } catch (error) {
            expect(error).toBeInstanceOf(SdqError);
            expect((error as SdqError).oclif.exit).toBe(ExitCode.invalidInput);
          }
        },
      ),
      {numRuns: 1000},
    );
  });
});
