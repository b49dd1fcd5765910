import * as tf from '@tensorflow/tfjs-core';

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

/**
 * One forward and backward pass. `apply` receives the gradients of the variables that the loss depends on, by name, and
 * is not called when the loss is not finite, so that no bad value reaches the parameters. Frees every tensor it makes.
 * @param objective runs on the gradient tape; must not await
 * @returns the loss and the reported scalars as numbers
 */
export async function descend(
  variables: readonly Named[],
  objective: () => Objective,
  apply: (gradients: ReadonlyMap<string, tf.Tensor>) => void,
): Promise<{loss: number} & Record<string, number>> {
  let reported: [string, tf.Tensor][] = [];
  const {value, grads} = tf.variableGrads(
    () => {
      const result = objective();
      reported = Object.entries(result.reported ?? {}).map(([name, scalar]) => [name, tf.keep(tf.clone(scalar))]);
      return result.loss as tf.Scalar;
    },
    variables.map(({variable}) => variable),
  );
  const gradients = new Map<string, tf.Tensor>();
  for (const {name, variable} of variables) {
    const gradient = grads[variable.name];
    if (gradient !== undefined) gradients.set(name, gradient);
  }
  try {
    const numbers: Record<string, number> = {};
    for (const [name, scalar] of reported) numbers[name] = (await scalar.data())[0]!;
    const loss = (await value.data())[0]!;
    if (Number.isFinite(loss)) apply(gradients);
    return {...numbers, loss};
  } finally {
    tf.dispose([value, ...gradients.values(), ...reported.map(([, scalar]) => scalar)]);
  }
}
