/** One pass over parameter, gradient and state for an SGD or Adam update (equations: src/tensor/kernels.ts). */
import {storeUpTo} from './rows';
import {float, int, pointer, shareStartAligned} from './task';

/** sgdUpdate: [param, grad, velocity, newParam, newVelocity, length, nesterov] (learningRate, momentum, weightDecay). */
export function sgdUpdate(task: usize, thread: i32, threads: i32): void {
  const length = int(task, 5);
  const nesterov = int(task, 6) != 0;
  const rate = f32x4.splat(float(task, 0));
  const momentum = f32x4.splat(float(task, 1));
  const decay = f32x4.splat(float(task, 2));
  const start = <usize>shareStartAligned(length, 16, thread, threads) << 2;
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const param = pointer(task, 0);
  const grad = pointer(task, 1);
  const velocity = pointer(task, 2);
  const newParam = pointer(task, 3);
  const newVelocity = pointer(task, 4);
  for (let i = start; i < end; i += 16) {
    const p = v128.load(param + i);
    const g = f32x4.add(v128.load(grad + i), f32x4.mul(decay, p));
    const v = f32x4.add(f32x4.mul(momentum, v128.load(velocity + i)), g);
    const step = nesterov ? f32x4.add(g, f32x4.mul(momentum, v)) : v;
    storeUpTo(newVelocity + i, v, end - i);
    storeUpTo(newParam + i, f32x4.sub(p, f32x4.mul(rate, step)), end - i);
  }
}

/**
 * adamUpdate: [param, grad, m, v, newParam, newM, newV, length]
 * (beta1, 1 − beta1, beta2, 1 − beta2, epsilon, L2 decay, keep = 1 − decoupled decay, learningRate / (1 − beta1^step),
 * 1 / (1 − beta2^step)).
 */
export function adamUpdate(task: usize, thread: i32, threads: i32): void {
  const length = int(task, 7);
  const beta1 = f32x4.splat(float(task, 0));
  const rest1 = f32x4.splat(float(task, 1));
  const beta2 = f32x4.splat(float(task, 2));
  const rest2 = f32x4.splat(float(task, 3));
  const epsilon = f32x4.splat(float(task, 4));
  const decay = f32x4.splat(float(task, 5));
  const keep = f32x4.splat(float(task, 6));
  const rate = f32x4.splat(float(task, 7));
  const unbias = f32x4.splat(float(task, 8));
  const start = <usize>shareStartAligned(length, 16, thread, threads) << 2;
  const end = <usize>shareStartAligned(length, 16, thread + 1, threads) << 2;
  const param = pointer(task, 0);
  const grad = pointer(task, 1);
  const first = pointer(task, 2);
  const second = pointer(task, 3);
  const newParam = pointer(task, 4);
  const newFirst = pointer(task, 5);
  const newSecond = pointer(task, 6);
  for (let i = start; i < end; i += 16) {
    const p = v128.load(param + i);
    const g = f32x4.add(v128.load(grad + i), f32x4.mul(decay, p));
    const m = f32x4.add(f32x4.mul(beta1, v128.load(first + i)), f32x4.mul(rest1, g));
    const v = f32x4.add(f32x4.mul(beta2, v128.load(second + i)), f32x4.mul(rest2, f32x4.mul(g, g)));
    const denominator = f32x4.add(f32x4.sqrt(f32x4.mul(v, unbias)), epsilon);
    const step = f32x4.div(f32x4.mul(rate, m), denominator);
    storeUpTo(newFirst + i, m, end - i);
    storeUpTo(newSecond + i, v, end - i);
    storeUpTo(newParam + i, f32x4.sub(f32x4.mul(keep, p), step), end - i);
  }
}
