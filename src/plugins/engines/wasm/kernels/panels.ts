/** Weights as the tile kernels read them (../assembly/panels.ts). */
import type {WasmBackend} from '../backend.ts';

/** Output columns of a panel. */
export const panelColumns = 8;

export function panelCount(columns: number): number {
  return Math.ceil(columns / panelColumns);
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

/** Packs weights into new scratch memory, which the caller releases. */
export function packPanels(
  backend: WasmBackend,
  w: Weights,
  threads: number,
): {readonly address: number; readonly finite: boolean} {
  const steps = w.down * w.across * w.length;
  const address = backend.allocate(4 * panelCount(w.columns) * panelColumns * (steps + 1));
  const notFinite = backend.makeTensorInfo([1], 'int32', new Int32Array(1));
  backend.run(
    'packPanels',
    [
      ...[w.source, address, w.bias, backend.pointer(notFinite), w.down, w.across, w.first, w.downStride],
      ...[w.acrossStride, w.length, w.stepStride, w.columnStride, w.columns],
    ],
    [],
    Math.min(threads, backend.threadsFor(steps * w.columns)),
  );
  const finite = backend.values(notFinite)[0] === 0;
  backend.disposeData(notFinite.dataId);
  return {address, finite};
}
