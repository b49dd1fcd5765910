import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {Allocator} from '../../../../../src/plugins/engines/wasm/allocator.ts';

/** A space that grows by exactly what is asked, up to `limit`. */
function space(limit = Infinity): {readonly allocator: Allocator; readonly size: () => number} {
  let top = 0;
  const allocator = new Allocator((bytes) => {
    if (top + bytes > limit) return null;
    const start = top;
    top += bytes;
    return {start, end: top};
  });
  return {allocator, size: () => top};
}

const requests = fc.array(fc.tuple(fc.integer({min: 0, max: 5000}), fc.nat()), {maxLength: 200});

describe('Allocator', () => {
  test('hands out aligned ranges that never overlap, whatever the order of requests and releases', () => {
    fc.assert(
      fc.property(requests, (steps) => {
        const {allocator} = space();
        const held: {start: number; bytes: number}[] = [];
        for (const [bytes, choice] of steps) {
          if (choice % 3 === 0 && held.length > 0) {
            allocator.release(held.splice(choice % held.length, 1)[0]!.start);
            continue;
          }
          const start = allocator.allocate(bytes)!;
          expect(start % 64).toBe(0);
          for (const other of held) {
            expect(start + bytes <= other.start || other.start + other.bytes <= start).toBe(true);
          }
          held.push({start, bytes: Math.max(1, bytes)});
        }
      }),
    );
  });

  test('gives everything back: after all releases one range as large as the space is free', () => {
    fc.assert(
      fc.property(requests, (steps) => {
        const {allocator, size} = space();
        const held = steps.map(([bytes]) => allocator.allocate(bytes)!);
        for (const [i, start] of held.entries()) if (i % 2 === 0) allocator.release(start);
        for (const [i, start] of held.entries()) if (i % 2 === 1) allocator.release(start);
        expect(allocator.inUse).toBe(0);
        const before = size();
        if (before > 0) expect(allocator.allocate(before)).toBe(0);
        expect(size()).toBe(before);
      }),
    );
  });

  test('does not grow when the same requests come again', () => {
    fc.assert(
      fc.property(requests, (steps) => {
        const {allocator, size} = space();
        const step = (): void => {
          const held = steps.map(([bytes]) => allocator.allocate(bytes)!);
          for (const start of held) allocator.release(start);
        };
        step();
        const before = size();
        for (let i = 0; i < 5; i++) step();
        expect(size()).toBe(before);
      }),
    );
  });

  test('returns null at the limit and serves again after a release', () => {
    const {allocator} = space(1024);
    const first = allocator.allocate(1000)!;
    expect(allocator.allocate(64)).toBeNull();
    allocator.release(first);
    expect(allocator.allocate(64)).not.toBeNull();
    expect(allocator.peak).toBe(1024);
  });

  test('refuses to release an address twice', () => {
    const {allocator} = space();
    const start = allocator.allocate(10)!;
    allocator.release(start);
    expect(() => allocator.release(start)).toThrow('not allocated');
  });
});
