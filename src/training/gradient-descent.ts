import * as tf from '@tensorflow/tfjs-core';

import {item, present} from '../lookup.ts';

/** A variable whose gradient is wanted, under a name of the caller's. */
export interface Named {
  readonly name: string;
  readonly variable: tf.Variable;
}

/** What a forward pass gives: the scalar to descend, and scalars to report beside it. */
export interface Objective {
  readonly loss: tf.Tensor;
  readonly reported?: Readonly<Record<string, tf.Tensor>>;
}

/** What a step read, all of it in one transfer. */
export interface Descent {
  /** The loss and the reported scalars. */
  readonly metrics: {readonly loss: number} & Readonly<Record<string, number>>;
  /** ∂loss/∂variable of the followed scalars, in their order; 0 where the loss does not depend on one. */
  readonly followed: readonly number[];
}

/**
 * One forward and backward pass. `apply` receives the gradients of the variables that the loss depends on, by name, and
 * is not called when the loss is not finite, so that no bad value reaches the parameters. Frees every tensor it makes.
 * @param objective runs on the gradient tape; must not await
 * @param followed scalar variables whose gradients are read as numbers
 */
export async function descend(
  variables: readonly Named[],
  objective: () => Objective,
  apply: (gradients: ReadonlyMap<string, tf.Tensor>) => void,
  followed: readonly tf.Variable[] = [],
): Promise<Descent> {
  let reported: [string, tf.Tensor][] = [];
  const {value, grads} = tf.variableGrads(() => {
    const result = objective();
    reported = Object.entries(result.reported ?? {}).map(([name, scalar]) => [name, tf.keep(tf.clone(scalar))]);
    return result.loss as tf.Scalar;
  }, [...variables.map(({variable}) => variable), ...followed]);
  const gradients = new Map<string, tf.Tensor>();
  for (const {name, variable} of variables) {
    const gradient = grads[variable.name];
    if (gradient !== undefined) gradients.set(name, gradient);
  }
  const shares = followed.map((variable) => grads[variable.name]);
  const known = shares.filter((share) => share !== undefined);
  try {
    const [loss, ...others] = await readScalars([value, ...reported.map(([, scalar]) => scalar), ...known]);
    if (Number.isFinite(loss)) apply(gradients);
    const metrics = Object.fromEntries(reported.map(([name], i) => [name, item(others, i)]));
    const read = others.slice(reported.length).values();
    return {
      metrics: {...metrics, loss: present(loss, 'loss')},
      followed: shares.map((share) => (share === undefined ? 0 : present(read.next().value, 'gradient'))),
    };
  } finally {
    tf.dispose([value, ...gradients.values(), ...known, ...reported.map(([, scalar]) => scalar)]);
  }
}

/** Reads scalars in one transfer: an engine with a device of its own is waited for once, not once a scalar. */
async function readScalars(scalars: readonly tf.Tensor[]): Promise<number[]> {
  const stacked = tf.tidy(() => tf.stack(scalars.map((scalar) => tf.reshape(scalar, []))));
  try {
    return Array.from(await stacked.data());
  } finally {
    stacked.dispose();
  }
}
