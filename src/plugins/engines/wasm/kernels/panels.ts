/** Weights as the tile kernels read them (../assembly/panels.ts). */
import {tileColumns} from '../assembly/shared.ts';
import type {WasmBackend} from '../backend.ts';

export function panelCount(columns: number): number {
  return Math.ceil(columns / tileColumns);
}

/**
 * Where weights lie: element (tap y, tap x, step k, column j) of the product is at
 * source + first + y · downStride + x · acrossStride + k · stepStride + j · columnStride, all in floats.
 */
export interface Weights {
  /** Address. */
  readonly source: number;
  /** Address of a value for each column, or 0. */
  readonly bias: number;
  readonly down: number;
  readonly across: number;
  readonly first: number;
  readonly downStride: number;
  readonly acrossStride: number;
  readonly length: number;
  readonly stepStride: number;
  readonly columnStride: number;
  readonly columns: number;
}

/** @param use with the address of an integer that kernels set to 1 when they meet a NaN or an infinity @returns whether one did */
export function withFlag(backend: WasmBackend, use: (address: number) => void): boolean {
  const flag = backend.makeTensorInfo([1], 'int32', new Int32Array(1));
  use(backend.pointer(flag));
  const set = backend.values(flag)[0] !== 0;
  backend.disposeData(flag.dataId);
  return set;
}

/** Packs weights into new scratch memory, which the caller releases. */
export function packPanels(
  backend: WasmBackend,
  w: Weights,
  threads: number,
): {readonly address: number; readonly finite: boolean} {
  const steps = w.down * w.across * w.length;
  const address = backend.allocate(4 * panelCount(w.columns) * tileColumns * (steps + 1));
  const spoilt = withFlag(backend, (notFinite) =>
    backend.run(
      'packPanels',
      [
        ...[w.source, address, w.bias, notFinite, w.down, w.across, w.first, w.downStride],
        ...[w.acrossStride, w.length, w.stepStride, w.columnStride, w.columns],
      ],
      [],
      Math.min(threads, backend.threadsFor(steps * w.columns)),
    ),
  );
  return {address, finite: !spoilt};
}
