/** The fastest that a thread can multiply and add, for the benchmark: the roof of all convolution kernels. */
import {int, madd, pointer} from './task';

/** multiplyAddPeak: [address of 40 floats, steps]: 10 independent chains of `steps` multiply-adds of 4 lanes. */
export function multiplyAddPeak(task: usize, _thread: i32, _threads: i32): void {
  const target = pointer(task, 0);
  // Values from memory: the compiler must not know them.
  const factor = v128.load(target);
  let a0 = factor;
  let a1 = factor;
  let a2 = factor;
  let a3 = factor;
  let a4 = factor;
  let a5 = factor;
  let a6 = factor;
  let a7 = factor;
  let a8 = factor;
  let a9 = factor;
  for (let i = int(task, 1); i > 0; i--) {
    a0 = madd(a0, factor, factor);
    a1 = madd(a1, factor, factor);
    a2 = madd(a2, factor, factor);
    a3 = madd(a3, factor, factor);
    a4 = madd(a4, factor, factor);
    a5 = madd(a5, factor, factor);
    a6 = madd(a6, factor, factor);
    a7 = madd(a7, factor, factor);
    a8 = madd(a8, factor, factor);
    a9 = madd(a9, factor, factor);
  }
  v128.store(target, a0);
  v128.store(target, a1, 16);
  v128.store(target, a2, 32);
  v128.store(target, a3, 48);
  v128.store(target, a4, 64);
  v128.store(target, a5, 80);
  v128.store(target, a6, 96);
  v128.store(target, a7, 112);
  v128.store(target, a8, 128);
  v128.store(target, a9, 144);
}
