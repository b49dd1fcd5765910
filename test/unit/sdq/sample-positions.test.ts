/** Where calibration looks: all channels and places of every image, whatever the batch size. */
import {expect, test} from '@jest/globals';

import {samplePositions} from '../../../src/sdq/activation-quantizer.ts';

/** Channels, height and width of inputs as they occur; channels last. */
const shapes: readonly (readonly [channels: number, height: number, width: number])[] = [
  [3, 224, 224],
  [16, 32, 32],
  [8, 14, 14],
  [64, 56, 56],
  [100, 1, 1],
  [7, 13, 11],
];

test.each(shapes)(
  '%d channels of %d × %d: every channel and every row is met, none twice as often as another',
  (channels, height, width) => {
    const features = channels * height * width;
    const images = 256;
    const positions = samplePositions(images, features, 0);
    expect(positions).toHaveLength(images * Math.min(128, features));
    const perChannel = new Array<number>(channels).fill(0);
    const rows = new Set<number>();
    let outside = 0;
    positions.forEach((position, i) => {
      if (Math.floor(position / features) !== Math.floor((i * images) / positions.length)) outside += 1;
      perChannel[position % channels]! += 1;
      rows.add(Math.floor((position % features) / (width * channels)));
    });
    expect(outside).toBe(0);
    expect(rows.size).toBe(height);
    const mean = positions.length / channels;
    expect(Math.min(...perChannel)).toBeGreaterThan(0.7 * mean);
    expect(Math.max(...perChannel)).toBeLessThan(1.3 * mean);
  },
);

test('a sample in parts is the sample in one', () => {
  const features = 16 * 32 * 32;
  const whole = [...samplePositions(10, features, 0)];
  const parts = [
    ...samplePositions(3, features, 0),
    ...samplePositions(7, features, 3).map((position) => position + 3 * features),
  ];
  expect(parts).toEqual(whole);
});

test('an input of few values is taken whole', () => {
  expect([...samplePositions(2, 3, 5)]).toEqual([0, 1, 2, 3, 4, 5]);
});
