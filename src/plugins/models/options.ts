/** Options that several built-in models have. */

/** Which images the first layers are made for. */
export interface StemOption {
  /** Default imagenet. */
  readonly stem?: 'imagenet' | 'cifar';
}

/** @param description what either choice does to this model */
export const stemSchema = (description: string) => ({enum: ['imagenet', 'cifar'], default: 'imagenet', description});

export interface WidthOption {
  /** Multiplies every number of channels. Default 1. */
  readonly width?: number;
}

export const widthSchema = {
  type: 'number',
  exclusiveMinimum: 0,
  maximum: 4,
  default: 1,
  description: 'Multiplies every number of channels.',
};
