/** What this JavaScript runtime's WebAssembly can do, found out by validating the smallest module that needs it. */
import v8 from 'node:v8';

/** `(func (param v128 v128 v128) (result v128) local.get 0 local.get 1 local.get 2 <instruction>)` */
function validates(...instruction: number[]): boolean {
  const body = [0, 0x20, 0, 0x20, 1, 0x20, 2, ...instruction, 0x0b];
  return WebAssembly.validate(
    Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...[1, 8, 1, 0x60, 3, 0x7b, 0x7b, 0x7b, 1, 0x7b],
      ...[3, 2, 1, 0],
      ...[0x0a, body.length + 2, 1, body.length, ...body],
    ]),
  );
}

export interface WasmFeatures {
  readonly simd: boolean;
  /** Fused multiply-add where the machine has it. */
  readonly relaxedSimd: boolean;
}

/** Switches relaxed SIMD on where it is behind a flag (Node 20): call before the first compile. */
export function detectFeatures(): WasmFeatures {
  const simd = validates(0xfd, 0x52); // v128.bitselect
  const relaxed = (): boolean => validates(0xfd, 0x85, 0x02); // f32x4.relaxed_madd
  if (simd && !relaxed()) v8.setFlagsFromString('--experimental-wasm-relaxed-simd');
  return {simd, relaxedSimd: relaxed()};
}
