/** Accuracy on a split, in full precision or at the bitwidths of a strategy. */
import type {Part} from '../data/splits.ts';
import type {ForwardOptions, Network} from '../graph/network.ts';
import {evaluate, type Evaluation} from '../training/evaluate.ts';
import {openPart, type Session} from './session.ts';

/** Null when the split is empty: no validation images were held out. */
export async function evaluateOn(
  session: Session,
  network: Network,
  part: Part,
  options: Pick<ForwardOptions, 'weight' | 'activation'> = {},
): Promise<Evaluation | null> {
  if (part === 'validation' && session.config.data.validation === 0) return null;
  const source = openPart(session, part, 'evaluation', session.config.seed);
  try {
    return await evaluate(network, source, options, (done, total) => {
      session.reporter.update(`evaluating on ${part}`, done, total);
    });
  } finally {
    await source.close();
  }
}
