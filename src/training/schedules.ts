/** The learning rate over time, as a factor of its highest value: pure functions of the step. */

export interface Schedule {
  /**
   * - `constant`
   * - `cosine` to 0 (Loshchilov and Hutter, 2017, one period)
   * - `step`, times `factor` at each milestone
   * - `one-cycle`: 1/25 up to 1 over the first 30 %, then down to 1/250,000, both by a cosine (Smith and Topin, 2018,
   *   with PyTorch's defaults)
   */
  readonly name: 'constant' | 'cosine' | 'step' | 'one-cycle';
  /** Epochs of a linear rise before everything else. */
  readonly warmupEpochs: number;
  /** For `step`: fractions of the phase. */
  readonly milestones: readonly number[];
  /** For `step`. */
  readonly factor: number;
}

/** From `start` at 0 to `end` at 1 along half a cosine. */
function halfCosine(start: number, end: number, progress: number): number {
  return end + (start - end) * 0.5 * (1 + Math.cos(Math.PI * progress));
}

function oneCycle(progress: number): number {
  const [initial, peakAt, final] = [1 / 25, 0.3, 1 / 25 / 1e4];
  return progress < peakAt
    ? halfCosine(initial, 1, progress / peakAt)
    : halfCosine(1, final, (progress - peakAt) / (1 - peakAt));
}

/**
 * The learning rate's factor at `step` (0 for the first) of a phase of `steps`. During the warm-up it rises linearly and
 * reaches the schedule's first value with the last of its steps; the schedule then spans the steps that remain.
 */
export function learningRateFactor(schedule: Schedule, step: number, steps: number, stepsPerEpoch: number): number {
  const warmup = Math.min(steps, Math.round(schedule.warmupEpochs * stepsPerEpoch));
  const progress = Math.max(0, step - warmup) / Math.max(1, steps - warmup);
  const rise = step < warmup ? (step + 1) / warmup : 1;
  switch (schedule.name) {
    case 'constant':
      return rise;
    case 'cosine':
      return rise * halfCosine(1, 0, progress);
    case 'step':
      return rise * schedule.factor ** schedule.milestones.filter((milestone) => step >= milestone * steps).length;
    case 'one-cycle':
      return rise * oneCycle(progress);
  }
}
